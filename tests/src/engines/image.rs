//! Images built from files of this machine, without a registry.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::PATH;
use crate::harness::Invocation;

/// An image with a static busybox shell.
pub const BUSYBOX: &str = "localhost/busybox:1";

/// An image without programs; [`HOST_VOLUMES`] mounts those of this machine.
pub const HOST: &str = "localhost/host:1";

/// Arguments of `run` that mount this machine's programs into [`HOST`].
pub const HOST_VOLUMES: [&str; 6] = [
    "-v",
    "/usr:/usr:ro",
    "-v",
    "/etc:/etc:ro",
    "-v",
    "/opt:/opt:ro",
];

/// Path of the static shell in the image.
const SHELL: &str = "/bin/busybox";

/// A container root directory from which an image is built.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
}

impl Root {
    /// Creates the root of [`BUSYBOX`] at `path`.
    ///
    /// # Errors
    ///
    /// If it cannot be written, or there is no static busybox.
    pub fn busybox(path: &Path) -> Result<Self> {
        let root = Self::skeleton(path)?;
        fs::create_dir(path.join("bin"))?;
        fs::copy(SHELL, path.join("bin/busybox"))
            .context("the shell of Debian's busybox-static is missing")?;
        let listed = Invocation::new(SHELL, ["--list"]).run().stdout();
        for applet in listed.lines().filter(|applet| *applet != "busybox") {
            symlink("busybox", path.join("bin").join(applet))?;
        }
        fs::write(
            path.join("etc/passwd"),
            "root:x:0:0:root:/root:/bin/sh\nbuilder:x:1000:1000::/home:/bin/sh\n",
        )?;
        fs::write(path.join("etc/group"), "root:x:0:\nbuilder:x:1000:\n")?;
        Ok(root)
    }

    /// Creates the root of [`HOST`] at `path`.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn host(path: &Path) -> Result<Self> {
        let root = Self::skeleton(path)?;
        for dir in ["usr", "opt"] {
            fs::create_dir(path.join(dir))?;
        }
        for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
            let target = Path::new("usr").join(name);
            if Path::new("/").join(&target).exists() {
                symlink(target, path.join(name))?;
            }
        }
        Ok(root)
    }

    /// Creates the directories that every root has.
    fn skeleton(path: &Path) -> Result<Self> {
        for dir in [
            "dev", "etc", "home", "proc", "root", "run", "sys", "tmp", "var/tmp", "var/lib",
        ] {
            fs::create_dir_all(path.join(dir))?;
        }
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// The root directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Packs the root into an archive that engines can import.
    ///
    /// # Errors
    ///
    /// If tar fails; includes its output.
    pub fn pack(&self, archive: &Path) -> Result<()> {
        let output = Invocation::new("/bin/tar", ["-C"])
            .arg(&self.path)
            .arg("-cf")
            .arg(archive)
            .arg(".")
            .env("PATH", PATH)
            .run();
        ensure!(output.status.success(), "cannot pack an image\n{output}");
        Ok(())
    }
}

/// Creates the archives of both images in a directory. Returns image names and archive paths.
pub(super) fn archives(dir: &Path) -> Result<[(&'static str, PathBuf); 2]> {
    let (busybox, host) = (dir.join("busybox.tar"), dir.join("host.tar"));
    Root::busybox(&dir.join("busybox"))?.pack(&busybox)?;
    Root::host(&dir.join("host"))?.pack(&host)?;
    Ok([(BUSYBOX, busybox), (HOST, host)])
}
