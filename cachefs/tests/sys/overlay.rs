//! Overlays of plain directories: names, the target as a lower, and rejected options.

use std::fs;
use std::os::unix::fs::MetadataExt;

use cachefs::sys::MountError;
use cachefs::sys::mountinfo::MountTable;
use cachefs::sys::overlay::{
    OverlayLower, OverlayMount, OverlayOptions, clear_volatile_marker, has_volatile_marker,
    mount_overlay,
};

use crate::guard::{MountDir, down, options_here, permitted};

#[test]
fn what_was_at_the_target_stays_visible_below() {
    let temp = MountDir::new();
    let (cache, target) = (temp.dir("cache"), temp.dir("merged"));
    fs::write(cache.join("cached"), "cache").unwrap();
    fs::write(cache.join("both"), "cache").unwrap();
    fs::write(target.join("here"), "before").unwrap();
    fs::write(target.join("both"), "before").unwrap();
    let lowers = [OverlayLower::Dir(&cache), OverlayLower::Target];
    let Some(merged) = permitted(temp.overlay(&lowers, &options_here())) else {
        return;
    };
    let read = |name| fs::read_to_string(merged.join(name)).unwrap();
    assert_eq!(
        (read("cached"), read("here"), read("both")),
        ("cache".into(), "before".into(), "cache".into())
    );
    fs::write(merged.join("here"), "changed").unwrap();
    down(&merged);
    assert_eq!(read("here"), "before");
    assert_eq!(
        fs::read_to_string(temp.dir("upper").join("here")).unwrap(),
        "changed"
    );
}

#[test]
fn names_that_are_separators_elsewhere() {
    let temp = MountDir::new();
    let lower = temp.dir("a,b:c\\d=e \"f");
    let (upper, work, target) = (temp.dir("up,per:1"), temp.dir("wo,rk:1"), temp.dir("m,e:r"));
    fs::write(lower.join("x"), "x").unwrap();
    let request = OverlayMount {
        lowers: &[OverlayLower::Dir(&lower)],
        upper: &upper,
        work: &work,
        target: &target,
        options: &options_here(),
    };
    let Some(()) = permitted(mount_overlay(&request)) else {
        return;
    };
    assert_eq!(fs::read_to_string(target.join("x")).unwrap(), "x");
    fs::write(target.join("y"), "y").unwrap();
    assert!(upper.join("y").exists());
    let table = MountTable::read().unwrap();
    let entry = table.topmost_at(&target).unwrap();
    assert!(entry.is_cachefs_overlay());
    println!(
        "shown as {:?} {:?}",
        entry.super_option("upperdir"),
        entry.super_option("lowerdir+")
    );
}

#[test]
fn many_lowers() {
    let temp = MountDir::new();
    let dirs: Vec<_> = (0..120).map(|n| temp.dir(&format!("lower-{n}"))).collect();
    for (n, dir) in dirs.iter().enumerate() {
        fs::write(dir.join(format!("file-{n}")), "x").unwrap();
        fs::write(dir.join("top"), n.to_string()).unwrap();
    }
    let lowers: Vec<_> = dirs.iter().map(|dir| OverlayLower::Dir(dir)).collect();
    let Some(merged) = permitted(temp.overlay(&lowers, &options_here())) else {
        return;
    };
    assert_eq!(fs::read_dir(&merged).unwrap().count(), 121);
    assert_eq!(fs::read_to_string(merged.join("top")).unwrap(), "0");
}

#[test]
fn inode_numbers_stay_over_copy_up() {
    let temp = MountDir::new();
    let lower = temp.dir("lower");
    fs::write(lower.join("x"), "x").unwrap();
    let Some(merged) = permitted(temp.overlay(&[OverlayLower::Dir(&lower)], &options_here()))
    else {
        return;
    };
    let before = fs::metadata(merged.join("x")).unwrap();
    fs::write(merged.join("x"), "y").unwrap();
    let after = fs::metadata(merged.join("x")).unwrap();
    assert_eq!((before.dev(), before.ino()), (after.dev(), after.ino()));
    assert_eq!(after.dev(), fs::metadata(&merged).unwrap().dev());
}

#[test]
fn one_upper_serves_one_overlay() {
    let temp = MountDir::new();
    let (lower, other) = (temp.dir("lower"), temp.dir("other"));
    let Some(merged) = permitted(temp.overlay(&[OverlayLower::Dir(&lower)], &options_here()))
    else {
        return;
    };
    let (upper, work) = (temp.dir("upper"), temp.dir("work"));
    let again = OverlayMount {
        lowers: &[OverlayLower::Dir(&lower)],
        upper: &upper,
        work: &work,
        target: &other,
        options: &options_here(),
    };
    match mount_overlay(&again) {
        Err(MountError::UpperBusy { path, mounted_at }) => {
            assert_eq!((path, mounted_at), (upper.clone(), Some(merged)));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_upper_on_an_overlay_is_refused_by_name() {
    let temp = MountDir::new();
    let (lower, other) = (temp.dir("lower"), temp.dir("other"));
    let Some(merged) = permitted(temp.overlay(&[OverlayLower::Dir(&lower)], &options_here()))
    else {
        return;
    };
    let (upper, work) = (merged.join("u"), merged.join("w"));
    fs::create_dir(&upper).unwrap();
    fs::create_dir(&work).unwrap();
    let nested = OverlayMount {
        lowers: &[OverlayLower::Dir(&lower)],
        upper: &upper,
        work: &work,
        target: &other,
        options: &options_here(),
    };
    let error = mount_overlay(&nested).unwrap_err();
    assert!(
        matches!(&error, MountError::UpperOnOverlay(path) if *path == upper),
        "{error}"
    );
    assert!(error.is_environment() && error.hint().is_some());
}

#[test]
fn the_third_level_is_too_deep() {
    let temp = MountDir::new();
    let (mut lower, options) = (temp.dir("lower"), options_here());
    for level in 1..=3 {
        let dir = |name: &str| temp.dir(&format!("{name}-{level}"));
        let (upper, work, target) = (dir("upper"), dir("work"), dir("merged"));
        let request = OverlayMount {
            lowers: &[OverlayLower::Dir(&lower)],
            upper: &upper,
            work: &work,
            target: &target,
            options: &options,
        };
        match mount_overlay(&request) {
            Ok(()) => assert!(level < 3),
            Err(MountError::TooDeep(path)) => assert!(level == 3 && path == target),
            Err(error) if level == 1 && error.is_environment() => {
                return cachefs_skip::skip("mount", error);
            }
            Err(error) => panic!("level {level}: {error}"),
        }
        lower = target;
    }
}

#[test]
fn directories_that_do_not_fit_are_named() {
    let temp = MountDir::new();
    let (lower, target) = (temp.dir("lower"), temp.dir("merged"));
    let (upper, work, inside) = (
        temp.dir("upper"),
        temp.dir("work"),
        temp.dir("upper/inside"),
    );
    let options = options_here();
    let mount = |lower, upper, work| {
        let lowers = [OverlayLower::Dir(lower)];
        mount_overlay(&OverlayMount {
            lowers: &lowers,
            upper,
            work,
            target: &target,
            options: &options,
        })
    };
    let missing = temp.path().join("missing");
    for (result, role) in [
        (mount(&missing, &upper, &work), "lower directory"),
        (mount(&lower, &missing, &work), "upper directory"),
        (mount(&lower, &upper, &missing), "work directory"),
    ] {
        assert!(matches!(result, Err(MountError::Directory { role: named, .. }) if named == role));
    }
    let overlapping = mount(&lower, &upper, &inside);
    if let Err(error) = &overlapping
        && error.is_environment()
    {
        // The kernel checks the directories only if the caller may mount.
        return cachefs_skip::skip("mount", error);
    }
    assert!(
        matches!(overlapping, Err(MountError::Overlapping(_))),
        "{overlapping:?}"
    );
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    assert!(matches!(
        mount(&lower, &upper, elsewhere.path()),
        Err(MountError::WorkElsewhere { .. })
    ));
    assert!(MountTable::read().unwrap().topmost_at(&target).is_none());
}

#[test]
fn a_volatile_upper_is_refused_until_cleared() {
    let temp = MountDir::new();
    let lower = temp.dir("lower");
    let options = OverlayOptions {
        volatile: true,
        ..options_here()
    };
    let lowers = [OverlayLower::Dir(&lower)];
    let Some(merged) = permitted(temp.overlay(&lowers, &options)) else {
        return;
    };
    fs::write(merged.join("x"), "x").unwrap();
    down(&merged);
    let work = temp.dir("work");
    assert!(has_volatile_marker(&work));
    let refused = temp.overlay(&lowers, &options).unwrap_err();
    assert!(matches!(refused, MountError::StaleVolatile(_)), "{refused}");
    clear_volatile_marker(&work).unwrap();
    clear_volatile_marker(&work).unwrap();
    let merged = temp.overlay(&lowers, &options).unwrap();
    assert_eq!(fs::read_to_string(merged.join("x")).unwrap(), "x");
}
