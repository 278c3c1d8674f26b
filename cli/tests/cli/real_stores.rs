//! Tools that are rough with their directories: `npm ci` deletes `node_modules`, and some package
//! managers hard-link from their store into the project.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cachefs_tests::harness::{Cachefs, Invocation, Output};
use cachefs_tests::tools::{self, Project};

use crate::support::{Commands, machine};

/// Whether a program can be run; prints a note if not.
fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    if !found {
        cachefs_skip::skip(program, "it is not installed");
    }
    found
}

/// Runs a script with the environment of the tests, which may configure registries.
#[track_caller]
fn sh(script: &str, dir: &Path) -> Output {
    let variables = std::env::vars_os();
    let shell = Invocation::new("sh", ["-euc", script]).cwd(dir);
    let shell = variables.fold(shell, |shell, (name, value)| shell.env(name, value));
    shell.run()
}

/// A machine with an installed npm project.
fn installed() -> Option<(Cachefs, Project, PathBuf)> {
    let (tool, machine) = (tools::npm()?, machine()?);
    let project = tool.prepare(&machine.work().join("demo")).unwrap();
    let cache = project.cache();
    project.assert_builds(&cache);
    let modules = project.source().join("node_modules");
    Some((machine, project, modules))
}

#[test]
fn npm_ci_replaces_what_is_in_a_mounted_node_modules() {
    let Some((machine, project, modules)) = installed() else {
        return;
    };
    let first = machine.saved("modules", &modules);
    fs::remove_dir_all(&modules).unwrap();
    machine.restored("modules", &modules);
    // npm removes each entry but keeps the directory itself.
    project.offline_build(&project.cache()).run().success();
    let second = machine.saved("again", &modules);
    // All files are new and have the time of the installation, but no content is new.
    assert_eq!(second["new_raw_bytes"], 0, "{second}");
    assert!(second["new_bytes"].as_u64() < first["new_bytes"].as_u64());

    // Other tools also remove the directory, once it is empty. The kernel refuses that for a mount
    // point.
    let removed = sh("rm -rf node_modules", &project.source()).expect_code(1);
    removed.stderr_has("Device or resource busy");
    assert_eq!(fs::read_dir(&modules).unwrap().count(), 0);
    let renamed = fs::rename(&modules, project.source().join("old")).unwrap_err();
    assert_eq!(renamed.raw_os_error(), Some(busy()));
}

/// "Device or resource busy".
fn busy() -> i32 {
    rustix::io::Errno::BUSY.raw_os_error()
}

#[test]
fn below_a_mount_node_modules_is_a_directory_like_any_other() {
    let Some((machine, project, _)) = installed() else {
        return;
    };
    machine.saved("project", &project.source());
    fs::remove_dir_all(project.source()).unwrap();
    machine.restored("project", &project.source());
    sh(
        "mv node_modules old && rm -rf old && test ! -e node_modules",
        &project.source(),
    )
    .success();
    project.assert_builds(&project.cache());
}

/// Counts the names of regular files with several names below a directory.
fn linked(root: &Path) -> usize {
    let mut count = 0;
    let mut pending = vec![root.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let metadata = entry.metadata().unwrap();
            if metadata.is_dir() {
                pending.push(entry.path());
            } else if metadata.is_file() && metadata.nlink() > 1 {
                count += 1;
            }
        }
    }
    count
}

/// Installs online, removes the directory `installed` and saves the rest with the store. Then, on a
/// mount of both, installs again offline, from the store alone. `install` has the online and the
/// offline command.
fn links_into_its_store(files: &[(&str, &str)], store: &str, installed: &str, install: [&str; 2]) {
    let Some(first) = machine() else { return };
    let dir = first.dir("linked");
    let project = dir.join("project");
    fs::create_dir(&project).unwrap();
    for (name, content) in files {
        fs::write(project.join(name), content).unwrap();
    }
    sh(install[0], &project).success();
    fs::remove_dir_all(project.join(installed)).unwrap();
    first.saved("store", &dir);

    let second = first.second_machine().unwrap();
    let mount = second.dir("mount");
    second.restored("store", &mount);
    let before = linked(&mount);
    sh(install[1], &mount.join("project")).success();
    // The two names of a file can now be on different layers of the overlay.
    let (in_store, in_project) = (linked(&mount.join(store)), linked(&mount.join("project")));
    assert!(
        before < in_store && in_project > 0,
        "{before} {in_store} {in_project}"
    );
    let saved = second.saved("installed", &mount);
    // Only the tool's own bookkeeping is new; the linked files already existed.
    let new = saved["new_raw_bytes"].as_u64().unwrap();
    assert!(new < 20_000, "{saved}");

    let third = first.second_machine().unwrap();
    let mount = third.dir("mount");
    third.restored("installed", &mount);
    assert_eq!(linked(&mount.join(store)), in_store);
    assert_eq!(linked(&mount.join("project")), in_project);
}

#[test]
fn pnpm_links_from_a_store_on_the_same_mount() {
    if !has("pnpm") {
        return;
    }
    let files = [(
        "package.json",
        include_str!("../../../tests/data/npm/package.json"),
    )];
    let install = [
        "pnpm install --store-dir ../store",
        "pnpm install --store-dir ../store --offline --frozen-lockfile",
    ];
    links_into_its_store(&files, "store", "node_modules", install);
}

#[test]
fn uv_links_from_a_cache_on_the_same_mount() {
    if !has("uv") {
        return;
    }
    let files = [(
        "requirements.txt",
        include_str!("../../../tests/data/pip/requirements.txt"),
    )];
    let install = [
        "uv pip install --cache-dir ../cache --link-mode hardlink --target site -r requirements.txt",
        "uv pip install --cache-dir ../cache --link-mode hardlink --target site -r requirements.txt \
         --offline",
    ];
    links_into_its_store(&files, "cache", "site", install);
}
