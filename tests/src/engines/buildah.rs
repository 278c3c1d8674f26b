//! buildah, run by root.

use anyhow::{Result, ensure};

use super::config::Config;
use super::image::archives;
use super::{PATH, installed, is_root};
use crate::harness::{Invocation, Sandbox};

/// A buildah that stores its images in a directory of its own.
#[derive(Debug)]
pub struct Buildah {
    config: Config,
    sandbox: Sandbox,
}

impl Buildah {
    /// Sets up buildah for root with both images. Returns `None` if buildah is not installed.
    ///
    /// # Errors
    ///
    /// If an image cannot be created.
    pub fn new() -> Result<Option<Self>> {
        if !is_root() || !installed("buildah", &["buildah", "runc", "busybox"]) {
            return Ok(None);
        }
        let sandbox = Sandbox::open_to_all()?;
        let config = Config::write(sandbox.path(), false)?;
        let buildah = Self { config, sandbox };
        for (name, archive) in archives(buildah.sandbox.path())? {
            let instructions = archive.with_extension("containerfile");
            let file = archive.file_name().unwrap_or_default().to_string_lossy();
            std::fs::write(&instructions, format!("FROM scratch\nADD {file} /\n"))?;
            let built = buildah
                .command(["bud", "--network", "none", "--tag", name, "--file"])
                .arg(&instructions)
                .arg(buildah.sandbox.path())
                .run();
            ensure!(built.status.success(), "no image {name}\n{built}");
        }
        Ok(Some(buildah))
    }

    /// Prepares a buildah command.
    pub fn command(
        &self,
        args: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>,
    ) -> Invocation {
        let command = Invocation::new("buildah", args)
            .env("PATH", PATH)
            .env("HOME", self.sandbox.path())
            .env("BUILDAH_ISOLATION", "oci")
            .env("BUILDAH_RUNTIME", "runc")
            .cwd(self.sandbox.path());
        self.config.on(command)
    }
}
