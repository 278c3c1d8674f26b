//! Concurrent saves, and saves of files that are being written.

use std::fs;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cachefs_tests::s3::{S3Options, S3Server};
use cachefs_tests::tree::{CompareOptions, assert_same};

use crate::support::{Commands, clean, machine, machine_on, sample_dir, strict_json};

#[test]
fn a_save_of_what_is_being_written_is_consistent_or_refused() {
    let Some(machine) = machine() else { return };
    let plain = machine.dir("plain");
    fs::write(plain.join("still"), "still").unwrap();
    machine.saved("v1", &plain);
    let mount = machine.dir("mount");
    machine.restored("v1", &mount);
    const LENGTH: usize = 8 << 20;
    let busy = mount.join("busy.bin");
    fs::write(&busy, vec![0; LENGTH]).unwrap();
    let stop = AtomicBool::new(false);
    let mut refused = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut generation = 1_u8;
            while !stop.load(Ordering::Relaxed) {
                fs::write(&busy, vec![generation; LENGTH]).unwrap();
                generation = generation.checked_add(1).unwrap_or(1);
            }
        });
        for round in 0..6 {
            let key = format!("while-writing-{round}");
            let mut save = strict_json(machine.save(&key, &mount));
            if round % 2 == 0 {
                save = save.arg("--strict-consistency");
            }
            let output = clean(save.run());
            if output.code() == Some(0) {
                // At any moment, the file is a prefix of the content of one round.
                let copy = machine.dir(&key);
                let restore = strict_json(machine.restore(&key, &copy));
                restore.arg("--mode").arg("copy").run().success();
                assert_eq!(fs::read(copy.join("still")).unwrap(), b"still");
                // Unless two reads agree, the save leaves the file out and prints a note.
                if let Ok(bytes) = fs::read(copy.join("busy.bin")) {
                    assert!(
                        bytes.iter().all(|byte| *byte == bytes[0]),
                        "a torn file was saved"
                    );
                }
                continue;
            }
            assert!(
                round % 2 == 0,
                "a save was refused without being strict: {output}"
            );
            let output = output.expect_code(1);
            let stderr = output.stderr();
            assert!(
                stderr.contains("busy.bin changed during the save"),
                "{output}"
            );
            assert!(stderr.contains("hint: "), "{output}");
            refused += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(refused > 0, "the writer was never noticed");
    // A refused save does no harm: the next one is complete.
    machine.saved("quiet", &mount);
    machine.umount(&mount);
    machine.restored("quiet", &mount);
    let bytes = fs::read(&busy).unwrap();
    assert!(bytes.len() == LENGTH && bytes.iter().all(|byte| *byte == bytes[0]));
}

fn concurrent_saves_unite(options: S3Options) {
    let server = S3Server::start_with(options).unwrap();
    let Some(machine) = machine_on(&server) else {
        return;
    };
    machine.saved("v1", &sample_dir(&machine));
    let machines: Vec<_> = (0..3).map(|_| machine.second_machine().unwrap()).collect();
    for (number, machine) in machines.iter().enumerate() {
        let mount = machine.dir("mount");
        machine.restored("v1", &mount);
        fs::write(mount.join(format!("of-{number}")), [b'x'; 3000]).unwrap();
        fs::write(mount.join("of-all"), format!("{number}")).unwrap();
        fs::remove_file(mount.join(format!("docs/{number}"))).unwrap();
    }
    // Long enough for each saver to read the key before any of them writes.
    server.faults().set_latency(Duration::from_millis(40));
    let saves: Vec<_> = machines
        .iter()
        .map(|machine| {
            let save = strict_json(machine.save("v2", &machine.dir("mount")));
            save.spawn(Stdio::null(), Stdio::null()).unwrap()
        })
        .collect();
    for mut save in saves {
        assert!(save.wait().unwrap().success());
    }
    server.faults().set_latency(Duration::ZERO);
    let reader = machine.second_machine().unwrap();
    let mount = reader.dir("mount");
    reader.restored("v2", &mount);
    for number in 0..3 {
        assert!(
            mount.join(format!("of-{number}")).exists(),
            "the save of {number} is lost"
        );
        assert!(
            !mount.join(format!("docs/{number}")).exists(),
            "{number} is back"
        );
    }
    let common = fs::read_to_string(mount.join("of-all")).unwrap();
    assert!(["0", "1", "2"].contains(&&*common));
    // One more save merges them into one layer with the same content.
    fs::write(mount.join("after"), "after").unwrap();
    reader.saved("v2", &mount);
    let last = machine.second_machine().unwrap();
    let there = last.dir("mount");
    last.restored("v2", &there);
    let options = CompareOptions::default();
    assert_same(&mount, &there, &options);
}

#[test]
fn concurrent_saves_of_one_key_unite() {
    concurrent_saves_unite(S3Options::default());
}

#[test]
fn concurrent_saves_unite_where_conditions_are_ignored() {
    concurrent_saves_unite(S3Options {
        ignore_conditions: true,
        ..S3Options::default()
    });
}
