//! Migration: importing and exporting tar archives, and the variables of the Drone cache plugins.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cachefs_tests::harness::{Cachefs, Invocation, Output};
use cachefs_tests::s3::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};
use cachefs_tests::tree::{CompareOptions, assert_same};

use crate::fidelity::nasty;
use crate::support::{
    Commands, clean, objects, remote_dir, sample, sample_dir, strict_json, trusting,
};

/// Runs a tool in a directory; it must succeed.
#[track_caller]
fn tool(dir: &Path, line: &str) {
    let mut shell = Command::new("sh");
    let output = shell.args(["-ec", line]).current_dir(dir).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {stderr}");
}

#[track_caller]
fn copied(machine: &Cachefs, key: &str) -> PathBuf {
    let path = machine.dir(&format!("copy of {key}"));
    let restore = strict_json(machine.restore(key, &path));
    let report = clean(restore.arg("--mode").arg("copy").run().success()).json();
    assert_eq!(report["result"], "copied", "{report}");
    path
}

#[test]
fn what_tar_packs_is_imported_in_every_way_it_packs() {
    let machine = Cachefs::new().unwrap();
    let dir = sample_dir(&machine);
    let work = machine.work();
    let long = "l".repeat(120);
    fs::create_dir(dir.join(&long)).unwrap();
    fs::write(dir.join(&long).join("ünï\ncode"), "x").unwrap();
    fs::hard_link(dir.join("settings.xml"), dir.join("another name")).unwrap();
    let sparse = fs::File::create(dir.join("sparse")).unwrap();
    sparse.set_len(50_000_000).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, b"in the middle", 20_000_000).unwrap();
    fs::create_dir(work.join("app")).unwrap();
    for (name, line, options) in [
        ("posix", "tar --posix -C sample -cf posix .", &[][..]),
        ("gnu", "tar --format=gnu -S -C sample -czf gnu .", &[]),
        (
            "sparse",
            "tar --posix -S -C sample -cf - . | zstd -q --long=30 > sparse",
            &[],
        ),
        (
            "sparse0",
            "tar --posix -S --sparse-version=0.1 -C sample -cf sparse0 .",
            &[],
        ),
        (
            "github",
            "cd app && tar --posix -P -cf ../github --use-compress-program 'zstd -T0' ../sample",
            &["--path", "sample"],
        ),
        (
            "absolute",
            "tar --posix -P -czf absolute \"$PWD/sample\"",
            &["--path", "sample"],
        ),
        (
            "prefixed",
            "tar --posix -czf prefixed sample",
            &["--path-in-archive", "sample"],
        ),
        (
            "stripped",
            "tar --posix -czf stripped ./sample",
            &["--strip-components", "1"],
        ),
    ] {
        tool(&work, line);
        let import = machine.command(["import", "--key", name]).arg(name);
        let import = options
            .iter()
            .fold(import, |import, option| import.arg(option));
        let report = clean(strict_json(import).run().success()).json();
        assert_eq!(report["result"], "imported", "{report}");
        let options = CompareOptions {
            check_allocation: !matches!(
                name,
                "posix" | "github" | "absolute" | "prefixed" | "stripped"
            ),
            ..CompareOptions::default()
        };
        // GNU's own format stores whole seconds.
        if name != "gnu" {
            assert_same(&dir, &copied(&machine, name), &options);
        } else {
            let copy = copied(&machine, name);
            assert_eq!(
                fs::read(copy.join("lib/large")).unwrap(),
                fs::read(dir.join("lib/large")).unwrap()
            );
        }
    }
    // Every import has the same files, so only the first one stored data.
    let packs = objects(&remote_dir(&machine));
    let large = packs.iter().filter(|(name, _)| name.starts_with("packs/"));
    assert!(
        large.map(|(_, size)| size).sum::<u64>() < 3_000_000,
        "{packs:?}"
    );
    let archive = fs::read(work.join("stripped")).unwrap();
    let import = machine.command(["import", "--key", "stdin", "--strip-components", "1", "-"]);
    import
        .stdin(archive)
        .run()
        .success()
        .stderr_has("imported stdin");
}

#[test]
fn what_is_saved_is_exported_and_imported_again() {
    let machine = trusting(Cachefs::new().unwrap());
    let dir = machine.dir("nasty");
    let mut spec = nasty();
    // A byte-by-byte comparison takes a minute, and we cover other files with holes.
    spec.entries
        .retain(|entry| entry.path != Path::new("sparse-4g"));
    spec.build(&dir).unwrap();
    clean(machine.save("nasty", &dir).run().success());
    let work = machine.work();
    for name in ["a.tar.zst", "b.tar.zst"] {
        let export = machine.command(["export", "--key", "nasty", "--output", name]);
        clean(export.run().success());
    }
    let archive = fs::read(work.join("a.tar.zst")).unwrap();
    assert!(archive == fs::read(work.join("b.tar.zst")).unwrap());
    assert!(!work.join("a.tar.zst.part").exists());
    let unpacked = machine.dir("unpacked");
    tool(
        &work,
        "zstd -dc a.tar.zst | tar -x --xattrs --xattrs-include='*' --numeric-owner -p -C unpacked 2>&1",
    );
    let options = CompareOptions {
        check_allocation: true,
        ..CompareOptions::default()
    };
    assert_same(&dir, &unpacked, &options);

    let import = machine.command(["import", "--key", "again", "a.tar.zst"]);
    let output = clean(import.run().success());
    let devices: Vec<PathBuf> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| {
            use std::os::unix::fs::FileTypeExt;
            let kind = entry.file_type().unwrap();
            kind.is_char_device() || kind.is_block_device()
        })
        .map(|entry| entry.file_name().into())
        .collect();
    for device in &devices {
        let note = format!("skipped {} (device)", device.display());
        assert!(output.stderr().contains(&note), "{output}");
    }
    let options = CompareOptions {
        ignore: devices,
        ..options
    };
    assert_same(&dir, &copied(&machine, "again"), &options);
}

#[test]
fn archives_that_cannot_be_taken_leave_nothing() {
    let machine = Cachefs::new().unwrap();
    sample().build(&machine.dir("sample")).unwrap();
    let work = machine.work();
    tool(
        &work,
        "tar -czf good.tgz sample; head -c 900000 good.tgz > cut.tgz",
    );
    tool(
        &work,
        "ln -s /etc link; tar -cf evil.tar link; rm link; mkdir link; echo x > link/passwd; tar -rf evil.tar link/passwd",
    );
    for (file, options, code, says) in [
        ("cut.tgz", &[][..], 5, "truncated"),
        (
            "evil.tar",
            &[],
            5,
            "`link/passwd` has a parent that is not a directory",
        ),
        (
            "good.tgz",
            &["--path", "/nowhere"],
            2,
            "`sample/`, for example",
        ),
        ("good.tgz", &["--max-size", "1M"], 2, "unpacks to more than"),
        ("none.tgz", &[], 1, "none.tgz"),
    ] {
        let import = machine.command(["import", "--key", "key"]).arg(file);
        let import = options
            .iter()
            .fold(import, |import, option| import.arg(option));
        clean(import.run().expect_code(code).stderr_has(says));
    }
    clean(machine.run(["lookup", "key"]).expect_code(3));
    let export = ["export", "--key", "key", "--output", "x.tar"];
    clean(machine.run(export).expect_code(3));
    assert!(!work.join("x.tar").exists());
}

/// The command as a pipeline calls it, with the variables of the plugin.
fn plugin(machine: &Cachefs, variables: &[(&str, &str)]) -> Invocation {
    let bare = machine
        .command(std::iter::empty::<&str>())
        .without_env("CACHEFS_REMOTE")
        .env("DRONE_REPO_NAME", "app")
        .env("DRONE_COMMIT_BRANCH", "main");
    variables
        .iter()
        .fold(bare, |bare, (name, value)| bare.env(name, value))
}

fn on_s3<'a>(endpoint: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut variables = vec![
        ("PLUGIN_BUCKET", BUCKET),
        ("PLUGIN_ENDPOINT", endpoint),
        ("PLUGIN_PATH_STYLE", "true"),
        ("PLUGIN_ACCESS_KEY", ACCESS_KEY),
        ("PLUGIN_SECRET_KEY", SECRET_KEY),
        ("PLUGIN_CACHE_KEY", "v1-{{ checksum \"lock\" }}"),
    ];
    variables.extend_from_slice(more);
    variables
}

#[track_caller]
fn discreet(output: Output) -> Output {
    assert!(!output.stderr().contains(SECRET_KEY), "{output}");
    assert!(!output.stdout().contains(SECRET_KEY), "{output}");
    clean(output)
}

#[test]
fn a_pipeline_of_the_plugin_goes_on_warm() {
    let server = S3Server::start().unwrap();
    let endpoint = server.endpoint();
    let machine = Cachefs::new().unwrap();
    let (work, home) = (machine.work(), machine.home());
    fs::write(work.join("lock"), "one").unwrap();
    // Objects that the plugin left: an MD5 in the key, absolute paths for files outside of the
    // workspace.
    let old = server
        .bucket_dir()
        .join("app/v1-f97c5d29941bfb1b2fdab0874906ab82");
    fs::create_dir_all(old.join(home.strip_prefix("/").unwrap())).unwrap();
    fs::create_dir(home.join(".m2")).unwrap();
    sample().build(&home.join(".m2")).unwrap();
    fs::create_dir(work.join("vendor")).unwrap();
    fs::write(work.join("vendor/lib"), "lib").unwrap();
    let reference = machine.dir("reference");
    tool(
        &work,
        "cp -a vendor reference/; cp -a ../home/.m2 reference/m2",
    );
    let target = old.join(home.strip_prefix("/").unwrap()).join(".m2");
    tool(
        &work,
        &format!("tar --posix -czPf {target:?} {:?}", home.join(".m2")),
    );
    tool(
        &work,
        &format!("tar --posix -cf {:?} vendor", old.join("vendor")),
    );
    let mounts = [("PLUGIN_MOUNT", "~/.m2,vendor")];
    let clear = |machine: &Cachefs| {
        for dir in [machine.home().join(".m2"), machine.work().join("vendor")] {
            let _ = fs::remove_dir_all(dir);
        }
    };
    clear(&machine);

    let restore = [
        mounts[0],
        ("PLUGIN_RESTORE", "true"),
        ("PLUGIN_DEBUG", "true"),
    ];
    let outputs = machine.home().join("drone-output");
    let output = discreet(
        plugin(&machine, &on_s3(&endpoint, &restore))
            .env("DRONE_OUTPUT", &outputs)
            .run()
            .success(),
    );
    // Drone takes the first line of each name, so we must not write the miss before the import.
    let told = fs::read_to_string(&outputs).unwrap();
    let mut names: Vec<_> = told
        .lines()
        .map(|line| line.split_once('=').unwrap().0)
        .collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "{told}");
    assert!(told.starts_with("cache_hit=true\n"), "{told}");
    assert!(
        output.stderr().contains("an archive of the plugin"),
        "{output}"
    );
    let options = CompareOptions::default();
    assert_same(&reference.join("m2"), &home.join(".m2"), &options);
    assert_same(&reference.join("vendor"), &work.join("vendor"), &options);

    fs::write(work.join("vendor/new"), "new").unwrap();
    let rebuild = [
        mounts[0],
        ("PLUGIN_REBUILD", "true"),
        ("PLUGIN_ARCHIVE_FORMAT", "gzip"),
    ];
    let output = discreet(
        plugin(&machine, &on_s3(&endpoint, &rebuild))
            .run()
            .success(),
    );
    for text in [
        "unchanged app/v1-",
        "saved app/v1-",
        "PLUGIN_ARCHIVE_FORMAT has no effect",
    ] {
        assert!(output.stderr().contains(text), "{text}: {output}");
    }

    // Another machine, after the archives are deleted, and without `PLUGIN_MOUNT`.
    fs::remove_dir_all(server.bucket_dir().join("app")).unwrap();
    clear(&machine);
    let other = machine.second_machine().unwrap();
    fs::write(other.work().join("lock"), "one").unwrap();
    let restore = [("PLUGIN_RESTORE", "true")];
    discreet(plugin(&other, &on_s3(&endpoint, &restore)).run().success());
    assert_eq!(
        fs::read_to_string(other.work().join("vendor/new")).unwrap(),
        "new"
    );
    assert_same(&reference.join("m2"), &home.join(".m2"), &options);

    // A changed lock file is a miss; the pipeline decides whether that is an error.
    fs::write(other.work().join("lock"), "two").unwrap();
    let output = plugin(&other, &on_s3(&endpoint, &restore)).run().success();
    discreet(output.stderr_has("miss app/v1-"));
    let strict = [
        restore[0],
        ("PLUGIN_FAIL_RESTORE_IF_KEY_NOT_PRESENT", "true"),
    ];
    discreet(
        plugin(&other, &on_s3(&endpoint, &strict))
            .run()
            .expect_code(3),
    );
}

#[test]
fn the_plugin_on_a_volume() {
    let machine = Cachefs::new().unwrap();
    let work = machine.work();
    let volume = machine.dir("volume");
    let root = volume.to_str().unwrap().to_owned();
    let on_volume = |more: &[(&str, &str)]| {
        let all: Vec<(&str, &str)> = [
            ("PLUGIN_BACKEND", "filesystem"),
            ("PLUGIN_FILESYSTEM_CACHE_ROOT", &root),
        ]
        .into_iter()
        .chain(more.iter().copied())
        .collect();
        clean(plugin(&machine, &all).run())
    };
    for module in ["a", "b"] {
        fs::create_dir_all(work.join(module).join("target")).unwrap();
        fs::write(work.join(module).join("target/out"), module).unwrap();
    }
    let pattern = ("PLUGIN_MOUNT", "*/target,missing");
    let (restore, rebuild) = (("PLUGIN_RESTORE", "true"), ("PLUGIN_REBUILD", "true"));
    // Without a key, we use the branch name.
    let saved = on_volume(&[rebuild, pattern]).success();
    for text in [
        "saved app/main/a/target",
        "saved app/main/b/target",
        "missing does not exist",
    ] {
        assert!(saved.stderr().contains(text), "{text}: {saved}");
    }
    on_volume(&[rebuild, pattern, ("PLUGIN_EXIT_CODE", "true")]).expect_code(1);
    fs::write(work.join("a/target/out"), "changed").unwrap();
    on_volume(&[rebuild, pattern, ("PLUGIN_OVERRIDE", "false")])
        .success()
        .stderr_has("kept app/main/a/target: it already exists");
    for module in ["a", "b"] {
        fs::remove_dir_all(work.join(module)).unwrap();
    }
    on_volume(&[restore, ("PLUGIN_MOUNT", "a*/target")]).success();
    assert_eq!(fs::read_to_string(work.join("a/target/out")).unwrap(), "a");
    assert!(!work.join("b").exists());
    // A key with a common prefix is accepted only when not strict.
    let short = [restore, ("PLUGIN_CACHE_KEY", "ma")];
    on_volume(&short).success().stderr_has("miss app/ma");
    assert!(!work.join("b").exists());
    on_volume(&[restore, ("PLUGIN_CACHE_KEY", "")]).success();
    assert_eq!(fs::read_to_string(work.join("b/target/out")).unwrap(), "b");

    for (variables, says) in [
        (&[pattern][..], "neither PLUGIN_RESTORE nor PLUGIN_REBUILD"),
        (&[restore, rebuild, pattern], "are both true"),
        (&[rebuild], "PLUGIN_MOUNT names no path"),
        (
            &[restore, ("PLUGIN_PASSWORD", "hunter2")],
            "PLUGIN_PASSWORD is not supported",
        ),
    ] {
        let output = on_volume(variables).expect_code(2).stderr_has(says);
        assert!(!output.stderr().contains("hunter2"), "{output}");
    }
}

#[test]
fn there_is_a_manual_page_for_every_command() {
    let machine = Cachefs::new().unwrap();
    machine.run(["man"]).success().stdout_has(".TH cachefs 1");
    clean(machine.run(["man", "pages"]).success());
    for page in ["cachefs.1", "cachefs-restore.1", "cachefs-import.1"] {
        assert!(machine.work().join("pages").join(page).exists(), "{page}");
    }
    let mount = ["mount", "--key", "k", "--path", "p", "--mode", "copy"];
    machine
        .run(mount)
        .expect_code(2)
        .stderr_has("`mount` does not copy");
}
