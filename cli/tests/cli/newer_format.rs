//! A repository in a newer format must not be changed.

use std::fs;

use crate::support::{Commands, clean, machine, objects, remote_dir, sample_dir};

#[test]
fn a_repository_of_a_newer_format_is_read_and_never_changed() {
    let Some(machine) = machine() else { return };
    let dir = sample_dir(&machine);
    machine.saved("k", &dir);
    let description = remote_dir(&machine).join("cachefs.json");
    let old = fs::read(&description).unwrap();
    for newer in [
        r#"{"format": 99, "id": "another form of it"}"#.to_owned(),
        String::from_utf8(old)
            .unwrap()
            .replacen('{', r#"{"requires": ["sharding"],"#, 1),
    ] {
        fs::remove_file(&description).unwrap();
        fs::write(&description, newer).unwrap();
        let before = objects(&remote_dir(&machine));
        let path = dir.to_str().unwrap();
        let archive = machine.work().join("k.tar");
        let exported = ["export", "--key", "k", "-o", archive.to_str().unwrap()];
        machine.run(exported).success();
        for changing in [
            &["save", "--key", "k2", "--path", path][..],
            &["save", "--key", "k2", "--path", path, "--dry-run"],
            &["import", "--key", "k2", archive.to_str().unwrap()],
            &["delete", "k"],
            &["scopes", "--older-than", "1ms", "--delete"],
            &["promote", "k", "--from", "pr/1", "--to", "branch/main"],
            &["gc", "--grace", "0"],
            &["gc", "--dry-run"],
            &["check", "--repair"],
        ] {
            let output = clean(machine.run(changing)).expect_code(5);
            let stderr = output.stderr();
            assert!(stderr.contains("the repository"), "{changing:?}: {output}");
            assert!(stderr.contains("newer cachefs"), "{changing:?}: {output}");
        }
        for reading in [
            &["list"][..],
            &["lookup", "k"],
            &["check"],
            &["inspect", "k"],
        ] {
            clean(machine.run(reading).success());
        }
        let copy = machine.dir("copy");
        let restore = machine.restore("k", &copy).args(["--mode", "copy"]);
        clean(restore.run().success());
        assert_eq!(objects(&remote_dir(&machine)), before);
    }
}
