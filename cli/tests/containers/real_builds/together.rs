//! Two containers that build at the same time, each on its own mount of the same cache.

use std::fs;
use std::path::{Path, PathBuf};

use cachefs_tests::engines::{Engine, HOST, HOST_VOLUMES, Podman};
use cachefs_tests::tools::{self, PLACE};

use super::job::Job;

/// Two mounts of the key `base`, changed concurrently by one container each: one file that only
/// that container writes, and one that both write.
fn forked() -> Option<(Job, [PathBuf; 2])> {
    let (job, podman) = (Job::new(tools::npm())?, Podman::of_root().unwrap()?);
    let mounts = ["a", "b"].map(|name| job.path(name));
    for mount in &mounts {
        job.restore("base", mount, &[]);
    }
    std::thread::scope(|scope| {
        for (name, mount) in ["a", "b"].iter().zip(&mounts) {
            let (job, podman) = (&job, &podman);
            scope.spawn(move || build(job, podman, name, mount));
        }
    });
    Some((job, mounts))
}

/// Installs from the cache in the container's own project, and writes the container's name to the
/// cache.
fn build(job: &Job, podman: &Podman<'_>, name: &str, cache: &Path) {
    let project = job.path(&format!("project-{name}"));
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(job.project.source())
        .arg(&project)
        .status();
    assert!(copied.unwrap().success());
    let volume = |host: &Path, inside: &str| format!("{}:{inside}", host.display());
    let mut arguments = HOST_VOLUMES.map(str::to_owned).to_vec();
    arguments.extend([
        "-v".to_owned(),
        volume(&project.join("project"), "/tmp/work"),
    ]);
    arguments.extend(["-v".to_owned(), volume(cache, PLACE)]);
    arguments.extend(["-w", "/tmp/work", "-e", "HOME=/tmp"].map(str::to_owned));
    let script = job.project.script(Path::new(PLACE));
    let script = format!("{script} && echo {name} > {PLACE}/by-{name} && echo {name} > {PLACE}/by");
    let output = podman.shell(arguments, HOST, &script).run();
    output.success();
    assert!(project.join("project/dist/version").exists());
}

fn names(path: &Path) -> Vec<String> {
    let own = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let entries = fs::read_dir(path).unwrap().map(|entry| own(entry.unwrap()));
    let mut names: Vec<_> = entries.filter(|name| name.starts_with("by")).collect();
    names.sort();
    names
}

#[test]
fn each_saves_a_key_of_its_own() {
    let Some((job, [a, b])) = forked() else {
        return;
    };
    job.save("a", &a);
    job.save("b", &b);
    for (key, own) in [("a", ["by", "by-a"]), ("b", ["by", "by-b"])] {
        let path = job.path(&format!("later-{key}"));
        job.restore(key, &path, &[]);
        assert_eq!(names(&path), own);
        assert_eq!(fs::read_to_string(path.join("by")).unwrap().trim(), key);
    }
    // The common base is unchanged.
    let path = job.path("later");
    job.restore("base", &path, &[]);
    assert_eq!(names(&path), [""; 0]);
}

#[test]
fn both_save_one_key_at_once_and_it_has_the_work_of_both() {
    let Some((job, mounts)) = forked() else {
        return;
    };
    std::thread::scope(|scope| {
        for mount in &mounts {
            let job = &job;
            scope.spawn(move || job.save("both", mount));
        }
    });
    let path = job.path("later");
    job.restore("both", &path, &[]);
    assert_eq!(names(&path), ["by", "by-a", "by-b"]);
    // One version of the file that both wrote is there, complete.
    let both = fs::read_to_string(path.join("by")).unwrap();
    assert!(["a\n", "b\n"].contains(&&*both), "{both:?}");
}
