//! Tools that mount a cache instead of unpacking it: squashfs and juicefs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::peer::{Peer, PeerRestore, PeerVersion, PeerWorkspace, run_program};
use super::rclone::{Carried, Rclone};
use crate::remote::Location;
use crate::tools::child::{self, OnSignal};
use crate::workspace;

/// A squashfs image, mounted read-only by the kernel.
pub(super) struct Squashfs<'a> {
    carried: Carried,
    seat: PeerWorkspace<'a>,
}

impl Squashfs<'_> {
    pub(super) fn make(seat: PeerWorkspace<'_>) -> Result<Box<dyn Peer + '_>> {
        let carried = Carried::new(&seat)?;
        Ok(Box::new(Squashfs { carried, seat }))
    }
}

impl Peer for Squashfs<'_> {
    fn save(&mut self, version: PeerVersion, dir: &Path) -> Result<Duration> {
        let mut command = Command::new("mksquashfs");
        command.arg(dir).arg(self.carried.dir.join(version.name()));
        command.args(["-comp", "zstd", "-Xcompression-level", "3"]);
        command.args(["-no-progress", "-noappend", "-quiet"]);
        Ok(run_program(&mut command)?.wall + self.carried.up()?)
    }

    fn stored(&self) -> Result<u64> {
        self.seat.stored()
    }

    fn restore(&mut self) -> Result<PeerRestore> {
        let path = self.seat.fresh("restored")?;
        let (files, fetched) = self.carried.down(&self.seat)?;
        let mut command = Command::new("mount");
        command.args(["-t", "squashfs", "-o", "loop,ro"]);
        command
            .arg(files.join(PeerVersion::First.name()))
            .arg(&path);
        let wall = fetched + run_program(&mut command)?.wall;
        Ok(PeerRestore { wall, path })
    }

    fn release(&mut self) -> Result<()> {
        // `remove_directory` unmounts first, and the loop device disappears with its mount.
        for name in ["restored", "fetched"] {
            workspace::remove_directory(&self.seat.local.join(name))?;
        }
        Ok(())
    }
}

/// juicefs with its metadata in SQLite. Both versions are directories in one volume.
pub(super) struct Juicefs<'a> {
    volume: String,
    mounted: Option<PathBuf>,
    seat: PeerWorkspace<'a>,
}

impl Juicefs<'_> {
    pub(super) fn make(seat: PeerWorkspace<'_>) -> Result<Box<dyn Peer + '_>> {
        let juicefs = Juicefs {
            // juicefs takes no prefix in the bucket, so the volume name must be unique.
            volume: format!("cachefs-bench-{:08x}", fastrand::u32(..)),
            mounted: None,
            seat,
        };
        let mut command = juicefs.command("format");
        match juicefs.seat.place.location() {
            Location::Directory(dir) => {
                command.args(["--storage", "file", "--bucket"]);
                command.arg(format!("{}/", dir.display()));
            }
            Location::Bucket {
                endpoint, bucket, ..
            } => {
                let server = endpoint.unwrap_or_else(|| "https://s3.amazonaws.com".to_owned());
                command.args(["--storage", "s3", "--bucket"]);
                command.arg(format!("{server}/{bucket}"));
            }
        }
        command.args(["--compress", "zstd", "--trash-days", "0"]);
        run_program(command.arg(juicefs.database()).arg(&juicefs.volume))?;
        Ok(Box::new(juicefs))
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new("juicefs");
        command.args([name, "--quiet"]);
        command.envs(self.seat.place.variables());
        // juicefs keeps logs and other state in the home directory.
        command.env("HOME", &self.seat.local);
        command
    }

    fn database(&self) -> String {
        format!("sqlite3://{}", self.seat.local.join("meta.db").display())
    }

    /// Mounts the volume with an empty local cache. Returns the mount point and the time taken.
    fn mount(&mut self) -> Result<(PathBuf, Duration)> {
        let path = self.seat.fresh("volume")?;
        let mut command = self.command("mount");
        command.args(["--background", "--no-usage-report", "--cache-dir"]);
        command.arg(self.seat.fresh("cached")?);
        command.arg("--log").arg(self.seat.local.join("log"));
        self.mounted = Some(path.clone());
        let wall = run_program(command.arg(self.database()).arg(&path))?.wall;
        Ok((path, wall))
    }

    /// Unmounts the volume. Its process exits once all writes have been uploaded.
    fn umount(&mut self) -> Result<Duration> {
        let Some(path) = &self.mounted else {
            return Ok(Duration::ZERO);
        };
        let ended = child::run_child(
            self.command("umount").arg("--flush").arg(path),
            OnSignal::Finish,
        )?;
        self.mounted = None;
        Ok(ended.wall)
    }

    fn destroy(&self) -> Result<()> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct MountStatus {
            setting: MountedSetting,
        }
        #[derive(Deserialize)]
        struct MountedSetting {
            #[serde(rename = "UUID")]
            uuid: String,
        }
        let asked = child::run_child(
            self.command("status").arg(self.database()),
            OnSignal::Finish,
        )?;
        let status: MountStatus = serde_json::from_str(&asked.stdout).context("juicefs status")?;
        let mut command = self.command("destroy");
        command.args(["--yes", "--force"]).arg(self.database());
        child::run_child(command.arg(status.setting.uuid), OnSignal::Finish).map(drop)
    }
}

impl Peer for Juicefs<'_> {
    fn save(&mut self, version: PeerVersion, dir: &Path) -> Result<Duration> {
        let (path, mut wall) = self.mount()?;
        let to = path.join(version.name());
        if version == PeerVersion::Second {
            // The clone shares unchanged data with v1.
            let mut command = self.command("clone");
            command.arg("--preserve");
            wall += run_program(command.arg(path.join(PeerVersion::First.name())).arg(&to))?.wall;
        }
        let mut command = Command::new("rsync");
        command.args(["-a", "--delete", "--inplace"]);
        wall += run_program(command.arg(dir.join("")).arg(to.join("")))?.wall;
        Ok(wall + self.umount()?)
    }

    fn stored(&self) -> Result<u64> {
        match self.seat.place.location() {
            Location::Directory(_) => self.seat.stored(),
            Location::Bucket { .. } => {
                let rclone = Rclone::new(&self.seat.place.at_root(&self.volume)?);
                rclone.size(&rclone.at(""))
            }
        }
    }

    fn restore(&mut self) -> Result<PeerRestore> {
        let (path, wall) = self.mount()?;
        let path = path.join(PeerVersion::First.name());
        Ok(PeerRestore { wall, path })
    }

    fn release(&mut self) -> Result<()> {
        self.umount().map(drop)
    }
}

impl Drop for Juicefs<'_> {
    fn drop(&mut self) {
        let ended = self.umount().map(drop);
        if let Err(error) = ended.and_then(|()| self.destroy()) {
            eprintln!("cachefs-bench: could not clean up: {error:#}");
        }
    }
}
