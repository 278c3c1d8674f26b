use std::process::{Child, Command, Stdio};

use super::*;

/// A process in a mount namespace of its own, ended when dropped.
struct Elsewhere(Child);

impl Elsewhere {
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            cachefs_skip::skip("root", "only root makes a mount namespace");
            return None;
        }
        let child = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c"])
            .arg("echo ready; exec sleep 1000")
            .stdout(Stdio::piped())
            .spawn();
        let mut child = child.ok()?;
        let mut ready = [0; 5];
        io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
        Some(Self(child))
    }

    fn seen(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.0.id()));
        root.join(path.strip_prefix("/").unwrap())
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_directory_is_shown_there_only_and_taken_away_again() {
    let Some(other) = Elsewhere::new() else {
        return;
    };
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "shown").unwrap();
    let place = temp.path().join("deep/place");
    let link = temp.path().join("link");
    std::os::unix::fs::symlink(temp.path().join("deep"), &link).unwrap();
    fs::create_dir(temp.path().join("deep")).unwrap();

    let resolved = resolve_in_container(other.0.id(), &link.join("place")).unwrap();
    let shown =
        mount_in_process(&source, other.0.id(), Root::OfProcess, &link.join("place")).unwrap();
    assert_eq!(shown.path, resolved);
    assert_eq!(shown.path, place.canonicalize().unwrap());
    assert!(is_there(&shown));
    assert_eq!(fs::read(other.seen(&place.join("file"))).unwrap(), b"shown");
    assert!(!place.join("file").exists(), "it is mounted here as well");
    fs::write(other.seen(&place.join("back")), "written there").unwrap();
    assert!(source.join("back").exists());

    let busy = File::open(other.seen(&place.join("file"))).unwrap();
    let refused = unmount_in_process(&shown, false, Duration::ZERO).unwrap_err();
    assert!(
        matches!(refused, ForeignMountError::Busy { .. }),
        "{refused}"
    );
    drop(busy);
    assert!(unmount_in_process(&shown, false, Duration::from_secs(5)).unwrap());
    assert!(!is_there(&shown) && !unmount_in_process(&shown, false, Duration::ZERO).unwrap());
    assert!(!other.seen(&place.join("file")).exists());
}

#[test]
fn what_stands_in_the_way_is_named() {
    let missing = mount_in_process(
        Path::new("/proc"),
        u32::MAX >> 1,
        Root::OfProcess,
        Path::new("/x"),
    );
    if let Err(ForeignMountError::Source { .. }) = missing {
        return cachefs_skip::skip("root", "only root mounts");
    }
    assert!(matches!(missing, Err(ForeignMountError::NoProcess(_))));
    let Some(other) = Elsewhere::new() else {
        return;
    };
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("file");
    fs::write(&file, "x").unwrap();
    let refused = mount_in_process(temp.path(), other.0.id(), Root::OfProcess, &file).unwrap_err();
    assert!(format!("{:?}", refused.hint()).contains("use a directory"));
    let refused = mount_in_process(
        temp.path(),
        other.0.id(),
        Root::OfProcess,
        Path::new("/proc/none"),
    )
    .unwrap_err();
    assert!(
        matches!(refused, ForeignMountError::Place { .. }),
        "{refused}"
    );
}

#[test]
fn a_directory_that_went_with_its_namespace_is_gone() {
    let Some(other) = Elsewhere::new() else {
        return;
    };
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    fs::create_dir(&source).unwrap();
    let shown = mount_in_process(
        &source,
        other.0.id(),
        Root::OfProcess,
        &temp.path().join("place"),
    )
    .unwrap();
    drop(other);
    assert!(!is_there(&shown));
    assert!(!unmount_in_process(&shown, false, Duration::ZERO).unwrap());
}

#[test]
fn neither_a_reused_number_nor_another_boot_is_taken_for_the_namespace() {
    let Some(other) = Elsewhere::new() else {
        return;
    };
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    fs::create_dir(&source).unwrap();
    let place = temp.path().join("place");
    let shown = mount_in_process(&source, other.0.id(), Root::OfProcess, &place).unwrap();
    let noted = shown.identity.clone().unwrap();
    let (number, boot) = noted.split_once(' ').unwrap();
    let earlier_boot = format!("{number} 00000000-0000-0000-0000-000000000000");
    let earlier_namespace = format!("1 {boot}");
    for stale in [earlier_boot, earlier_namespace] {
        let stale = ForeignMount {
            identity: Some(stale),
            ..shown.clone()
        };
        assert!(!is_there(&stale), "{stale:?}");
        assert!(
            !unmount_in_process(&stale, true, Duration::ZERO).unwrap(),
            "{stale:?}"
        );
    }
    // Older versions noted less.
    let old = ForeignMount {
        identity: None,
        ..shown.clone()
    };
    assert!(is_there(&old) && is_there(&shown));
    assert!(unmount_in_process(&old, false, Duration::from_secs(5)).unwrap());
}

#[test]
fn a_link_made_in_the_meantime_takes_no_other_mount_away() {
    let Some(other) = Elsewhere::new() else {
        return;
    };
    let temp = tempfile::tempdir().unwrap();
    let source = temp.path().join("source");
    fs::create_dir(&source).unwrap();
    let at = |path: &str| temp.path().join(path);
    let show =
        |path: &str| mount_in_process(&source, other.0.id(), Root::OfProcess, &at(path)).unwrap();
    let (ours, theirs) = (show("a/place"), show("b/place"));
    // As the container can: the way to the one place leads to the other by now.
    fs::rename(at("a"), at("moved")).unwrap();
    std::os::unix::fs::symlink(at("b"), at("a")).unwrap();
    let there = Process::open(other.0.id()).unwrap();
    let refused = there.inside(|| {
        enter_above(&ours, &there)
            .map(drop)
            .map_err(|source| place_error(0, &ours.path, source))
    });
    assert!(
        matches!(refused, Err(ForeignMountError::Place { .. })),
        "{refused:?}"
    );
    let _ = unmount_in_process(&ours, true, Duration::ZERO);
    assert!(is_there(&theirs));
}

#[test]
fn a_source_that_became_a_link_is_not_shown() {
    let Some(other) = Elsewhere::new() else {
        return;
    };
    let temp = tempfile::tempdir().unwrap();
    let (secret, source) = (temp.path().join("secret"), temp.path().join("source"));
    fs::create_dir_all(secret.join("source")).unwrap();
    for (link, source) in [
        ("source", source),
        ("above", temp.path().join("above/source")),
    ] {
        std::os::unix::fs::symlink(&secret, temp.path().join(link)).unwrap();
        let place = temp.path().join("place");
        let refused = mount_in_process(&source, other.0.id(), Root::OfProcess, &place).unwrap_err();
        assert!(
            matches!(refused, ForeignMountError::Source { .. }),
            "{refused}"
        );
    }
    assert!(!temp.path().join("place").exists());
}

#[test]
fn a_root_that_is_not_entered_yet_is_not_left() {
    let Some(other) = Elsewhere::new() else {
        return;
    };
    let temp = tempfile::tempdir().unwrap();
    let (source, root) = (temp.path().join("source"), temp.path().join("rootfs"));
    fs::create_dir_all(&root).unwrap();
    fs::create_dir(&source).unwrap();
    fs::create_dir(temp.path().join("victim")).unwrap();
    let up = format!("../../../../..{}/victim", temp.path().display());
    std::os::unix::fs::symlink(up, root.join("cache")).unwrap();
    let inside = Path::new("/cache/deep");
    let shown = mount_in_process(&source, other.0.id(), Root::At(&root), inside).unwrap();
    assert!(shown.path.starts_with(&root), "{}", shown.path.display());
    let victim = temp.path().join("victim");
    assert_eq!(fs::read_dir(victim).unwrap().count(), 0);
    assert!(unmount_in_process(&shown, false, Duration::from_secs(5)).unwrap());
}
