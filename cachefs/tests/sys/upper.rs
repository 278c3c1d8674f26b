//! The marks that a real overlay leaves in its upper directory.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use cachefs::sys::overlay::{OverlayLower, OverlayOptions};
use cachefs::sys::upper::{
    MarkNamespace, Marks, Redirect, SavedXattr, directory_marks, is_whiteout, is_xattr_whiteout,
    marks_at, saved_xattr,
};
use rustix::fs::{CWD, Mode, OFlags, XattrFlags};

use crate::guard::{MountDir, options_here, permitted};

fn marks(path: &Path, namespace: MarkNamespace) -> Marks {
    let open = |path: &Path, flags| rustix::fs::openat(CWD, path, flags, Mode::empty()).unwrap();
    let parent = open(path.parent().unwrap(), OFlags::RDONLY | OFlags::DIRECTORY);
    let name = path.file_name().unwrap().as_encoded_bytes();
    let found = marks_at(parent.as_fd(), name, namespace).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        // It must also work with an O_PATH descriptor.
        let dir = open(path, OFlags::PATH | OFlags::DIRECTORY);
        assert_eq!(directory_marks(dir.as_fd(), namespace).unwrap(), found);
    }
    found
}

fn lower_tree(temp: &MountDir) -> std::path::PathBuf {
    let lower = temp.dir("lower");
    for dir in ["gone/deep", "replaced/old", "moved/inner", "a/b/far"] {
        fs::create_dir_all(lower.join(dir)).unwrap();
    }
    for file in [
        "file",
        "gone/deep/x",
        "replaced/old/x",
        "moved/inner/x",
        "a/b/far/x",
        "touched",
    ] {
        fs::write(lower.join(file), "lower").unwrap();
    }
    lower
}

fn change(merged: &Path, rename: bool) {
    fs::remove_file(merged.join("file")).unwrap();
    fs::remove_dir_all(merged.join("gone")).unwrap();
    fs::remove_dir_all(merged.join("replaced")).unwrap();
    fs::create_dir(merged.join("replaced")).unwrap();
    if rename {
        fs::rename(merged.join("moved"), merged.join("renamed")).unwrap();
        fs::rename(merged.join("a/b/far"), merged.join("a/near")).unwrap();
    }
    fs::write(merged.join("touched"), "upper").unwrap();
    std::os::unix::fs::symlink("touched", merged.join("link")).unwrap();
}

fn check_removals(upper: &Path, namespace: MarkNamespace) {
    for name in ["file", "gone"] {
        assert!(
            is_whiteout(&rustix::fs::lstat(upper.join(name)).unwrap()),
            "{name}"
        );
    }
    let replaced = marks(&upper.join("replaced"), namespace);
    assert_eq!(
        replaced,
        Marks {
            opaque: true,
            ..Marks::default()
        }
    );
    for plain in ["touched", "link"] {
        assert!(!is_whiteout(&rustix::fs::lstat(upper.join(plain)).unwrap()));
        assert_eq!(marks(&upper.join(plain), namespace), Marks::default());
    }
}

#[test]
fn removed_replaced_and_renamed_entries_as_root() {
    let temp = MountDir::new();
    let lower = lower_tree(&temp);
    let options = options_here();
    let Some(merged) = permitted(temp.overlay(&[OverlayLower::Dir(&lower)], &options)) else {
        return;
    };
    if options.userxattr {
        return cachefs_skip::skip("root", "redirects need root of the machine");
    }
    change(&merged, true);
    let upper = temp.dir("upper");
    let namespace = MarkNamespace::Trusted;
    check_removals(&upper, namespace);
    let redirect = |name: &str| marks(&upper.join(name), namespace).redirect;
    assert_eq!(
        redirect("renamed"),
        Some(Redirect::Sibling(b"moved".to_vec()))
    );
    assert_eq!(
        redirect("a/near"),
        Some(Redirect::FromRoot(b"a/b/far".to_vec()))
    );
    assert!(is_whiteout(
        &rustix::fs::lstat(upper.join("moved")).unwrap()
    ));

    // The overlay's own attributes on a copied-up file are not part of the file.
    let mut list = [0u8; 4096];
    let length = rustix::fs::llistxattr(upper.join("touched"), &mut list).unwrap();
    let names: Vec<_> = list[..length]
        .split(|&b| b == 0)
        .filter(|name| !name.is_empty())
        .collect();
    assert!(names.contains(&&b"trusted.overlay.origin"[..]), "{names:?}");
    assert!(
        names
            .iter()
            .all(|name| saved_xattr(name, namespace) == SavedXattr::Strip)
    );
}

#[test]
fn removed_and_replaced_entries_with_user_attributes() {
    let temp = MountDir::new();
    let lower = lower_tree(&temp);
    let options = OverlayOptions {
        userxattr: true,
        redirect_dir: false,
        index: false,
        volatile: false,
    };
    let Some(merged) = permitted(temp.overlay(&[OverlayLower::Dir(&lower)], &options)) else {
        return;
    };
    change(&merged, false);
    check_removals(&temp.dir("upper"), MarkNamespace::User);
    let renamed = fs::rename(merged.join("moved"), merged.join("renamed")).unwrap_err();
    assert_eq!(renamed.raw_os_error(), Some(libc::EXDEV));
}

#[test]
fn attributes_of_an_overlay_in_an_overlay_get_their_names_back() {
    let temp = MountDir::new();
    let lower = lower_tree(&temp);
    let options = options_here();
    let Some(merged) = permitted(temp.overlay(&[OverlayLower::Dir(&lower)], &options)) else {
        return;
    };
    let (name, namespace) = if options.userxattr {
        ("user.overlay.opaque", MarkNamespace::User)
    } else {
        ("trusted.overlay.opaque", MarkNamespace::Trusted)
    };
    let set = rustix::fs::setxattr(merged.join("moved"), name, b"y", XattrFlags::empty());
    if set == Err(rustix::io::Errno::OPNOTSUPP) {
        return cachefs_skip::skip(
            "nested-overlay",
            "the kernel does not nest overlay attributes",
        );
    }
    set.unwrap();
    let upper = temp.dir("upper").join("moved");
    assert!(
        !marks(&upper, namespace).opaque,
        "the mark is the user's, not the kernel's"
    );
    let mut list = [0u8; 4096];
    let length = rustix::fs::llistxattr(&upper, &mut list).unwrap();
    let renamed = list[..length]
        .split(|&b| b == 0)
        .any(|kept| saved_xattr(kept, namespace) == SavedXattr::Rename(name.as_bytes().to_vec()));
    assert!(renamed);
}

#[test]
fn whiteouts_by_attribute_are_known() {
    let temp = MountDir::new();
    let dir = temp.dir("dir");
    let file = dir.join("gone");
    fs::write(&file, "").unwrap();
    let set = |path: &Path, name: &str, value: &[u8]| {
        rustix::fs::setxattr(path, name, value, XattrFlags::empty()).unwrap();
    };
    set(&dir, "user.overlay.opaque", b"x");
    set(&file, "user.overlay.whiteout", b"");
    let directory = marks(&dir, MarkNamespace::User);
    assert!(!directory.opaque && directory.may_hold_xattr_whiteouts);
    let found = marks(&file, MarkNamespace::User);
    let stat = rustix::fs::lstat(&file).unwrap();
    assert!(is_xattr_whiteout(&stat, &found, &directory));
    assert!(
        !is_xattr_whiteout(&stat, &found, &Marks::default()),
        "the directory does not say so"
    );
    fs::write(&file, "full").unwrap();
    assert!(!is_xattr_whiteout(
        &rustix::fs::lstat(&file).unwrap(),
        &found,
        &directory
    ));
}

#[test]
fn a_metacopy_file_is_flagged() {
    let temp = MountDir::new();
    let dir = temp.dir("dir");
    fs::write(dir.join("f"), "").unwrap();
    let set = rustix::fs::setxattr(
        dir.join("f"),
        "user.overlay.metacopy",
        b"",
        XattrFlags::empty(),
    );
    set.unwrap();
    assert!(marks(&dir.join("f"), MarkNamespace::User).metacopy);
    assert!(!marks(&dir.join("f"), MarkNamespace::Trusted).metacopy);
}
