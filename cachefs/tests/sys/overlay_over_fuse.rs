//! Overlay features that work over a FUSE lower. `docs/mounting.md` documents these results.

use std::fs;
use std::os::unix::fs::MetadataExt;

use cachefs::sys::overlay::{OverlayLower, OverlayOptions};
use cachefs::sys::upper::is_whiteout;

use crate::guard::{MountDir, down, options_here, permitted};
use crate::tinyfs::Behaviour;

fn view_behaviour() -> Behaviour {
    Behaviour {
        no_open: true,
        ..Behaviour::default()
    }
}

fn is_root(options: &OverlayOptions) -> bool {
    if options.userxattr {
        cachefs_skip::skip("root", "needs root of the machine");
    }
    !options.userxattr
}

#[test]
fn changes_go_to_the_upper_and_renames_work() {
    let temp = MountDir::new();
    let options = options_here();
    let Some(view) = temp.view("view", view_behaviour()) else {
        return;
    };
    let Some(merged) =
        permitted(temp.overlay(&[OverlayLower::Dir(&view), OverlayLower::Target], &options))
    else {
        return;
    };
    assert_eq!(fs::read(merged.join("dir/inner")).unwrap(), b"inner");
    fs::remove_file(merged.join("dir/inner")).unwrap();
    fs::write(merged.join("file"), "changed").unwrap();
    let upper = temp.dir("upper");
    assert!(is_whiteout(
        &rustix::fs::lstat(upper.join("dir/inner")).unwrap()
    ));
    assert_eq!(fs::read(view.join("file")).unwrap(), b"from the view");
    if is_root(&options) {
        fs::rename(merged.join("moved"), merged.join("renamed")).unwrap();
        assert_eq!(fs::read(merged.join("renamed/kept")).unwrap(), b"kept");
    }
}

/// Node stores inode numbers in a double, which has 53 bits: with larger numbers, two files can
/// look like one. `xino=on` would set bit 63.
#[test]
fn inode_numbers_are_the_views_own_and_stay_over_copy_up() {
    for inode_base in [0, 1 << 31, 1 << 52] {
        let temp = MountDir::new();
        let options = options_here();
        if !is_root(&options) {
            return;
        }
        let Some(view) = temp.view(
            "view",
            Behaviour {
                inode_base,
                ..view_behaviour()
            },
        ) else {
            return;
        };
        let lowers = [OverlayLower::Dir(&view), OverlayLower::Target];
        let Some(merged) = permitted(temp.overlay(&lowers, &options)) else {
            return;
        };
        let identity = || {
            let stat = fs::metadata(merged.join("file")).unwrap();
            (stat.dev(), stat.ino())
        };
        let before = identity();
        assert_eq!(before.1, inode_base + 2);
        fs::write(merged.join("file"), "changed").unwrap();
        assert_eq!(before, identity(), "base {inode_base:#x}");
        let directory = fs::metadata(merged.join("dir")).unwrap();
        assert_eq!(directory.dev(), fs::metadata(&merged).unwrap().dev());
        assert!(directory.ino() < 1 << 32);
    }
}

#[test]
fn an_upper_survives_a_new_mount_of_the_same_view() {
    for index in [false, true] {
        let temp = MountDir::new();
        let options = OverlayOptions {
            index,
            ..options_here()
        };
        if !is_root(&options) {
            return;
        }
        let mut seen = Vec::new();
        for round in 0..2 {
            let Some(view) = temp.view("view", view_behaviour()) else {
                return;
            };
            let lowers = [OverlayLower::Dir(&view), OverlayLower::Target];
            let mounted = temp.overlay(&lowers, &options);
            println!("index {index}, round {round}: {mounted:?}");
            let Some(merged) = permitted(mounted) else {
                return;
            };
            if round == 0 {
                fs::write(merged.join("link-1"), "changed").unwrap();
                fs::rename(merged.join("moved"), merged.join("renamed")).unwrap();
            }
            let read = |name: &str| fs::read_to_string(merged.join(name)).unwrap();
            seen.push((read("link-1"), read("link-2"), read("renamed/kept")));
            let nlink = fs::metadata(merged.join("link-1")).unwrap().nlink();
            println!(
                "index {index}, round {round}: {:?}, nlink {nlink}",
                seen[round]
            );
            down(&merged);
            down(&view);
        }
        let other = if index { "changed" } else { "linked" };
        for (link_1, link_2, kept) in &seen {
            assert_eq!(
                (link_1.as_str(), link_2.as_str(), kept.as_str()),
                ("changed", other, "kept")
            );
        }
    }
}
