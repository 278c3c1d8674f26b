//! The probe must report the same capabilities that the mount tests find.

use cachefs::sys::mountinfo::MountTable;
use cachefs::sys::probe::{Probe, ProbeStatus};

use crate::guard::{MountDir, down, options_here, permitted};

fn print(probe: &Probe) {
    for finding in &probe.findings {
        println!(
            "{:?} {}: {} {:?}",
            finding.status, finding.name, finding.detail, finding.hint
        );
    }
}

#[test]
fn the_probe_agrees_with_real_mounts_and_leaves_nothing() {
    let temp = MountDir::new();
    let store = temp.dir("store");
    let probe = Probe::run(&store);
    print(&probe);
    let lower = temp.dir("lower");
    let overlay = temp.overlay(
        &[cachefs::sys::overlay::OverlayLower::Dir(&lower)],
        &options_here(),
    );
    let finding = probe
        .findings
        .iter()
        .find(|finding| finding.name == "overlay-mount")
        .unwrap();
    assert_eq!(overlay.is_ok(), finding.status == ProbeStatus::Ok);
    assert_eq!(std::fs::read_dir(&store).unwrap().count(), 0);
    let table = MountTable::read().unwrap();
    assert!(
        !table
            .entries()
            .iter()
            .any(|entry| entry.mount_point.starts_with(&store))
    );
    if let Some(merged) = permitted(overlay) {
        down(&merged);
    }
}

#[test]
fn a_store_on_an_overlay_is_an_obstacle() {
    let temp = MountDir::new();
    let lower = temp.dir("lower");
    let lowers = [cachefs::sys::overlay::OverlayLower::Dir(&lower)];
    let Some(merged) = permitted(temp.overlay(&lowers, &options_here())) else {
        return;
    };
    let probe = Probe::run(&merged);
    print(&probe);
    let obstacle = probe.obstacle().unwrap();
    assert_eq!(obstacle.name, "store-filesystem");
    assert!(format!("{:?}", obstacle.hint).contains("volume"));
    let trial = probe
        .findings
        .iter()
        .find(|finding| finding.name == "overlay-mount")
        .unwrap();
    assert_eq!(trial.status, ProbeStatus::Fail);
}
