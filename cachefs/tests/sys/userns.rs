//! The same mounts in a user namespace, where the process is root only inside it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use cachefs::sys::namespace::{has_sys_admin, in_initial_user_namespace};
use cachefs::sys::overlay::{OverlayLower, OverlayOptions};
use cachefs::sys::probe::{Probe, ProbeStatus, user_namespaces};
use cachefs::sys::upper::is_whiteout;

use crate::children::{ROLE, only, role, this_binary};
use crate::guard::{MountDir, permitted};
use crate::tinyfs::Behaviour;

#[test]
fn mounts_work_in_a_user_namespace() {
    if let Err(reason) = user_namespaces() {
        return cachefs_skip::skip("userns", reason);
    }
    let run = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount"])
        .arg(this_binary())
        .args(only("userns::inside"))
        .env(ROLE, "userns")
        .output();
    let run = match run {
        Ok(run) => run,
        Err(error) => return cachefs_skip::skip("userns", error),
    };
    let text = String::from_utf8_lossy(&run.stdout);
    println!("{text}{}", String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success() && text.contains("1 passed"));
}

#[test]
#[ignore = "runs in a namespace made by mounts_work_in_a_user_namespace"]
fn inside() {
    if role().as_deref() != Some("userns") {
        return;
    }
    assert!(has_sys_admin() && !in_initial_user_namespace());
    let options = OverlayOptions::for_caller();
    assert!(options.userxattr && !options.redirect_dir);
    let temp = MountDir::new();
    let Some(view) = temp.view(
        "view",
        Behaviour {
            no_open: true,
            ..Behaviour::default()
        },
    ) else {
        return;
    };
    assert_eq!(fs::read(view.join("file")).unwrap(), b"from the view");
    let Some(merged) =
        permitted(temp.overlay(&[OverlayLower::Dir(&view), OverlayLower::Target], &options))
    else {
        return;
    };
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    assert_eq!(inode(&merged.join("file")), inode(&view.join("file")));
    fs::remove_file(merged.join("file")).unwrap();
    fs::write(merged.join("dir/inner"), "changed").unwrap();
    let upper = temp.dir("upper");
    assert!(is_whiteout(&rustix::fs::lstat(upper.join("file")).unwrap()));
    assert_eq!(
        fs::read_to_string(upper.join("dir/inner")).unwrap(),
        "changed"
    );
    let probe = Probe::run(Path::new(&temp.dir("store")));
    for finding in &probe.findings {
        println!(
            "{:?} {}: {} {:?}",
            finding.status, finding.name, finding.detail, finding.hint
        );
    }
    assert!(
        probe
            .findings
            .iter()
            .all(|finding| finding.status != ProbeStatus::Fail)
    );
}
