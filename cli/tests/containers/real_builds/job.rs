//! A build without a network, in each kind of container.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cachefs_tests::engines::{Buildah, Engine, HOST, HOST_VOLUMES, bubblewrap};
use cachefs_tests::harness::{Cachefs, Output};
use cachefs_tests::tools::{PLACE, Project, Tool};
use serde_json::Value;

/// Path of the project in the container.
pub(crate) const WORK: &str = "/tmp/work";
/// Timeout of a build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(240);

/// A project whose cache exists only in the remote, and a machine to build it on.
pub(crate) struct Job {
    pub(crate) project: Project,
    pub(crate) machine: Cachefs,
    empty: PathBuf,
}

impl Job {
    /// Fills a cache and saves it as `base` on one machine, then continues on another one. Skips
    /// with `None` if the tool is not installed or the machine cannot mount.
    pub(crate) fn new(tool: Option<Tool>) -> Option<Self> {
        let can = rustix::process::geteuid().is_root() && Path::new("/dev/fuse").exists();
        if !can {
            cachefs_skip::skip("mount", "mounting needs root and /dev/fuse");
            return None;
        }
        let first = Cachefs::new().unwrap();
        let project = tool?.prepare(&first.work().join("demo")).unwrap();
        cachefs(&first, "save", "base", &project.cache(), &[]);
        fs::remove_dir_all(project.cache()).unwrap();
        let machine = first.second_machine().unwrap();
        let empty = machine.work().join("empty");
        fs::create_dir(&empty).unwrap();
        Some(Self {
            project,
            machine,
            empty,
        })
    }

    /// A directory to restore to.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let path = self.machine.work().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    /// Restores a key at a path.
    #[track_caller]
    pub(crate) fn restore(&self, key: &str, path: &Path, options: &[&str]) {
        let mount = [&["--mode", "mount"], options].concat();
        cachefs(&self.machine, "restore", key, path, &mount);
    }

    /// Saves a path under a key; returns the JSON output.
    #[track_caller]
    pub(crate) fn save(&self, key: &str, path: &Path) -> Value {
        cachefs(&self.machine, "save", key, path, &[])
    }

    /// The changes of a build to the cache at a path, except those of times alone.
    #[track_caller]
    pub(crate) fn changed(&self, path: &Path) -> Vec<String> {
        let diff = self.machine.command(["diff", "--format", "json"]);
        let printed = diff.arg(path).run().success().json();
        let entries = printed["entries"].as_array().expect("a list").iter();
        entries
            .filter(|entry| entry["change"] != "times")
            .map(|entry| entry["path"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// The volumes of a container: host path, path inside, and whether it is writable.
    fn volumes(&self, cache: &Path) -> Vec<(PathBuf, PathBuf, bool)> {
        let mut volumes = vec![
            (self.project.source(), WORK.into(), true),
            (cache.to_owned(), PLACE.into(), true),
        ];
        let hidden = self.project.hidden().into_iter();
        volumes.extend(hidden.map(|hidden| (self.empty.clone(), hidden.into(), false)));
        let needs = self.project.needs().into_iter();
        volumes.extend(needs.map(|dir| (dir.clone(), dir, false)));
        volumes
    }

    fn arguments(&self, cache: &Path) -> Vec<String> {
        let own = self
            .volumes(cache)
            .into_iter()
            .flat_map(|(host, inside, writes)| {
                let option = if writes { "rw" } else { "ro" };
                let volume = format!("{}:{}:{option}", host.display(), inside.display());
                ["-v".to_owned(), volume]
            });
        HOST_VOLUMES
            .map(str::to_owned)
            .into_iter()
            .chain(own)
            .collect()
    }

    /// Builds in a podman or docker container.
    pub(crate) fn run(&self, engine: &impl Engine, cache: &Path, options: &[&str]) -> Output {
        self.project.clean().unwrap();
        let mut arguments = self.arguments(cache);
        arguments.extend(["-w", WORK, "-e", "HOME=/tmp"].map(str::to_owned));
        arguments.extend(options.iter().map(|option| (*option).to_owned()));
        let script = self.project.script(Path::new(PLACE));
        engine
            .shell(arguments, HOST, &script)
            .timeout(PATIENCE)
            .run()
    }

    /// Builds in a step of an image that buildah builds.
    pub(crate) fn run_in_image(&self, buildah: &Buildah, cache: &Path) -> Output {
        self.project.clean().unwrap();
        let context = self.path("context");
        let script = context.join("build.sh");
        fs::write(&script, self.project.script(Path::new(PLACE))).unwrap();
        let file = context.join("Containerfile");
        let run =
            format!("FROM {HOST}\nCOPY build.sh /\nRUN cd {WORK} && HOME=/tmp sh /build.sh\n");
        fs::write(&file, run).unwrap();
        let build = buildah.command(["bud", "--network", "none", "--no-cache"]);
        let build = build.args(self.arguments(cache)).arg("--file").arg(file);
        build.arg(context).timeout(PATIENCE).run()
    }

    /// Builds in bubblewrap with additional writable directories; skips with `None` if bubblewrap
    /// is not installed.
    pub(crate) fn run_in_sandbox(&self, cache: &Path, extra: &[(&Path, &Path)]) -> Option<Output> {
        let mut command = bubblewrap()?.env("HOME", "/tmp");
        for (host, inside, writes) in self.volumes(cache) {
            let bind = if writes { "--bind" } else { "--ro-bind" };
            command = command.arg(bind).arg(host).arg(inside);
        }
        for (host, inside) in extra {
            command = command.arg("--bind").arg(host).arg(inside);
        }
        let script = self.project.script(Path::new(PLACE));
        let command = command.args(["--chdir", WORK, "--", "sh", "-c", &script]);
        Some(command.timeout(PATIENCE).run())
    }
}

/// Runs `restore` or `save`, which must succeed; returns the JSON output.
#[track_caller]
fn cachefs(machine: &Cachefs, command: &str, key: &str, path: &Path, options: &[&str]) -> Value {
    let command = machine.command([command, "--key", key, "--strict-errors"]);
    let command = command.args(["--format", "json", "--path"]).arg(path);
    command.args(options).run().success().json()
}
