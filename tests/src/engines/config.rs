//! Files that keep podman and buildah to a directory of the test.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::harness::Invocation;

/// The configuration of one user of podman and buildah.
#[derive(Debug, Clone)]
pub(super) struct Config {
    engine: PathBuf,
    storage: PathBuf,
}

impl Config {
    /// Writes configuration into `dir` that keeps everything there; `rootless` is for a user, whose
    /// home and runtime directory keep the rest apart.
    pub(super) fn write(dir: &Path, rootless: bool) -> Result<Self> {
        let config = Self {
            engine: dir.join("containers.conf"),
            storage: dir.join("storage.conf"),
        };
        // runc, because crun takes no hybrid of both versions of control groups. The locks lie in
        // shared memory by default, which all of root's engines would share.
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

    /// The variables that name the files.
    pub(super) fn variables(&self) -> [(&'static str, &Path); 2] {
        [
            ("CONTAINERS_CONF", &self.engine),
            ("CONTAINERS_STORAGE_CONF", &self.storage),
        ]
    }

    /// Puts the configuration into a command's environment.
    pub(super) fn on(&self, command: Invocation) -> Invocation {
        self.variables()
            .into_iter()
            .fold(command, |command, (name, file)| command.env(name, file))
    }
}
