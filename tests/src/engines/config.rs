//! Configuration files that keep podman and buildah inside a test directory.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::harness::Invocation;

/// The configuration of podman and buildah for one user.
#[derive(Debug, Clone)]
pub(super) struct Config {
    engine: PathBuf,
    storage: PathBuf,
}

impl Config {
    /// Writes configuration files into `dir` that keep all state there. With `rootless`, storage
    /// follows the user's home and runtime directory instead.
    pub(super) fn write(dir: &Path, rootless: bool) -> Result<Self> {
        let config = Self {
            engine: dir.join("containers.conf"),
            storage: dir.join("storage.conf"),
        };
        // Use runc, because crun does not support the hybrid of cgroups v1 and v2. Use file locks,
        // because the default shared memory would be common to all of root's engines.
        let mut engine = "[containers]\n\
             default_ulimits = [\"nofile=4096:4096\", \"nproc=4096:4096\"]\n\
             netns = \"none\"\n\
             [engine]\n\
             runtime = \"runc\"\n\
             cgroup_manager = \"cgroupfs\"\n\
             events_logger = \"file\"\n\
             lock_type = \"file\"\n"
            .to_owned();
        if !rootless {
            engine += &format!(
                "tmp_dir = {:?}\nvolume_path = {:?}\n",
                dir.join("tmp"),
                dir.join("volumes")
            );
        }
        fs::write(&config.engine, engine)?;
        let mut storage = "[storage]\ndriver = \"overlay\"\n".to_owned();
        if !rootless {
            storage += &format!(
                "graphroot = {:?}\nrunroot = {:?}\n",
                dir.join("storage"),
                dir.join("run")
            );
        }
        fs::write(&config.storage, storage)?;
        Ok(config)
    }

    /// Environment variables that name the files.
    pub(super) fn variables(&self) -> [(&'static str, &Path); 2] {
        [
            ("CONTAINERS_CONF", &self.engine),
            ("CONTAINERS_STORAGE_CONF", &self.storage),
        ]
    }

    /// Adds the variables to a command.
    pub(super) fn on(&self, command: Invocation) -> Invocation {
        self.variables()
            .into_iter()
            .fold(command, |command, (name, file)| command.env(name, file))
    }
}
