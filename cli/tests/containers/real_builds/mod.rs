//! Real builds in containers without a network, whose only source is a mounted cache.
//!
//! Each build runs twice. With an empty directory instead of the cache, it must fail and report
//! missing files; with the mount, it must succeed.

mod job;
mod together;

use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;

use cachefs_tests::engines::{Buildah, Docker, Podman};
use cachefs_tests::harness::Output;
use cachefs_tests::tools;

use job::{Job, WORK};

/// Files that npm writes at every run, and its records of requests that failed.
const NOTES_OF_NPM: [&str; 4] = [
    "_logs",
    "_update-notifier-last-checked",
    "_cacache/tmp",
    "_cacache/index-v5",
];

/// Lock files and usage counters of cargo.
const NOTES_OF_CARGO: [&str; 3] = [".package-cache", ".package-cache-mutate", ".global-cache"];

/// Files that Gradle writes at every run.
const NOTES_OF_GRADLE: [&str; 5] = ["caches/", "daemon", "native", "notifications", "workers"];

impl Job {
    #[track_caller]
    fn assert_fails_without_cache(&self, output: &Output) {
        let text = output.stdout() + &output.stderr();
        let complaint = self.project.complaint();
        assert!(
            !output.status.success(),
            "it builds without a cache\n{output}"
        );
        assert!(text.contains(complaint), "no {complaint:?}\n{output}");
    }

    #[track_caller]
    fn assert_built(&self, output: Output) -> Output {
        let output = output.success();
        assert!(
            self.project.product().exists(),
            "nothing was made\n{output}"
        );
        output
    }
}

#[track_caller]
fn assert_only(changed: &[String], notes: &[&str]) {
    let is_note = |path: &&String| notes.iter().any(|note| path.starts_with(note));
    let others: Vec<_> = changed.iter().filter(|path| !is_note(path)).collect();
    assert!(others.is_empty(), "changed besides notes: {others:?}");
}

#[test]
fn maven_in_podman_changes_nothing() {
    let (Some(job), Some(podman)) = (Job::new(tools::maven()), Podman::of_root().unwrap()) else {
        return;
    };
    let empty = job.path("nothing");
    job.assert_fails_without_cache(&job.run(&podman, &empty, &[]));
    let cache = job.path("m2");
    job.restore("base", &cache, &[]);
    job.assert_built(job.run(&podman, &cache, &[]));
    assert_eq!(job.changed(&cache), [""; 0]);
    assert_eq!(job.save("base", &cache)["new_bytes"], 0);
}

#[test]
fn npm_in_docker_as_a_user_on_a_cache_of_roots() {
    let Some(job) = Job::new(tools::npm()) else {
        return;
    };
    let Some(docker) = Docker::start_daemon().unwrap() else {
        return;
    };
    let source = job.project.source();
    let mut chown_all = Command::new("chown");
    let given = chown_all.args(["-R", "1000:1000"]).arg(&source).status();
    assert!(given.unwrap().success());
    let user = ["--user", "1000:1000"];

    let empty = job.path("nothing");
    chown(&empty, Some(1000), Some(1000)).unwrap();
    job.assert_fails_without_cache(&job.run(&docker, &empty, &user));
    // The user cannot write to a cache that root owns.
    let cache = job.path("npm");
    job.restore("base", &cache, &["--owner", "1000"]);
    job.assert_built(job.run(&docker, &cache, &user));
    let changed = job.changed(&cache);
    assert!(!changed.is_empty());
    assert_only(&changed, &NOTES_OF_NPM);
    job.save("after", &cache);

    let later = job.path("later");
    job.restore("after", &later, &[]);
    for path in changed.iter().map(|path| later.join(path)) {
        let metadata = path.symlink_metadata().unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (0, 0), "{path:?}");
    }
}

#[test]
fn cargo_in_bubblewrap_finds_everything_fresh() {
    let Some(job) = Job::new(tools::cargo()) else {
        return;
    };
    let target = Path::new(WORK).join("target");
    let (empty, first) = (job.path("nothing"), job.path("target-1"));
    std::fs::create_dir(job.project.source().join("target")).unwrap();
    let run = |cache: &Path, output: &Path| {
        // The mount point must exist, as in the project.
        let build = job.run_in_sandbox(cache, &[(output, &target)]);
        build.map(|output| (output.stderr(), output))
    };
    let Some((_, failed)) = run(&empty, &first) else {
        return;
    };
    job.assert_fails_without_cache(&failed);
    let home = job.path("home");
    job.restore("base", &home, &[]);
    let (said, built) = run(&home, &first).unwrap();
    built.success();
    assert_eq!(said.matches("Compiling ").count(), 4, "{said}");
    assert_only(&job.changed(&home), &NOTES_OF_CARGO);
    job.save("target", &first);

    // A second mount must not trigger a rebuild: cargo compares times to the nanosecond.
    let second = job.path("target-2");
    job.restore("target", &second, &[]);
    let (said, built) = run(&home, &second).unwrap();
    built.success();
    assert_eq!(said.matches("Fresh ").count(), 4, "{said}");
    assert!(!said.contains("Compiling "), "{said}");
    assert_only(&job.changed(&second), &[]);
}

#[test]
fn pip_in_a_step_of_buildah_changes_nothing() {
    let (Some(job), Some(buildah)) = (Job::new(tools::pip()), Buildah::new().unwrap()) else {
        return;
    };
    let empty = job.path("nothing");
    job.assert_fails_without_cache(&job.run_in_image(&buildah, &empty));
    let cache = job.path("wheels");
    job.restore("base", &cache, &[]);
    job.assert_built(job.run_in_image(&buildah, &cache));
    assert_eq!(job.changed(&cache), [""; 0]);
}

#[test]
fn gradle_in_podman() {
    let (Some(job), Some(podman)) = (Job::new(tools::gradle()), Podman::of_root().unwrap()) else {
        return;
    };
    let empty = job.path("nothing");
    job.assert_fails_without_cache(&job.run(&podman, &empty, &[]));
    let cache = job.path("gradle");
    job.restore("base", &cache, &[]);
    job.assert_built(job.run(&podman, &cache, &[]));
    assert_only(&job.changed(&cache), &NOTES_OF_GRADLE);
}
