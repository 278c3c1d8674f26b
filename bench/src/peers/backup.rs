//! Backup programs with deduplication: restic, borg and casync.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use super::peer::{Peer, PeerRestore, PeerVersion, PeerWorkspace, run_program};
use super::rclone::Carried;
use crate::remote::Location;
use crate::workspace;

/// restic. It compresses since version 0.14, and always encrypts.
pub(super) struct Restic<'a> {
    repository: String,
    seat: PeerWorkspace<'a>,
}

impl Restic<'_> {
    pub(super) fn make(seat: PeerWorkspace<'_>) -> Result<Box<dyn Peer + '_>> {
        let repository = match seat.place.location() {
            Location::Directory(dir) => dir.display().to_string(),
            Location::Bucket {
                endpoint,
                bucket,
                prefix,
                ..
            } => {
                let server = endpoint.unwrap_or_else(|| "https://s3.amazonaws.com".to_owned());
                format!("s3:{server}/{bucket}/{prefix}")
            }
        };
        let restic = Restic { repository, seat };
        run_program(restic.command("saver").arg("init"))?;
        Ok(Box::new(restic))
    }

    /// A restic command for one machine; its cache is in a directory with the machine's name.
    fn command(&self, machine: &str) -> Command {
        let mut command = Command::new("restic");
        command.env("RESTIC_REPOSITORY", &self.repository);
        command.env("RESTIC_PASSWORD", "bench");
        command.envs(self.seat.place.variables());
        if let Location::Bucket {
            endpoint, region, ..
        } = self.seat.place.location()
            // Other servers may not support region discovery, and most accept any region.
            && let Some(region) = region.or(endpoint.map(|_| "us-east-1".to_owned()))
        {
            command.env("AWS_DEFAULT_REGION", region);
        }
        command.arg("--quiet").arg("--cache-dir");
        command.arg(self.seat.local.join(machine));
        command
    }
}

impl Peer for Restic<'_> {
    fn save(&mut self, version: PeerVersion, dir: &Path) -> Result<Duration> {
        let mut command = self.command("saver");
        command.args(["backup", "--tag", version.name(), "."]);
        Ok(run_program(command.current_dir(dir))?.wall)
    }

    fn stored(&self) -> Result<u64> {
        self.seat.stored()
    }

    fn restore(&mut self) -> Result<PeerRestore> {
        let path = self.seat.fresh("restored")?;
        let mut command = self.command("restorer");
        command.args(["restore", "latest", "--tag", PeerVersion::First.name()]);
        let wall = run_program(command.arg("--target").arg(&path))?.wall;
        Ok(PeerRestore { wall, path })
    }

    fn release(&mut self) -> Result<()> {
        workspace::remove_directory(&self.seat.local.join("restorer"))?;
        workspace::remove_directory(&self.seat.local.join("restored"))
    }
}

/// borg without encryption, with the same compression as the other tools.
pub(super) struct Borg<'a> {
    carried: Carried,
    seat: PeerWorkspace<'a>,
}

impl Borg<'_> {
    pub(super) fn make(seat: PeerWorkspace<'_>) -> Result<Box<dyn Peer + '_>> {
        let carried = Carried::new(&seat)?;
        let borg = Borg { carried, seat };
        let mut command = borg.command("saver", &borg.carried.dir);
        run_program(command.args(["init", "--encryption", "none"]))?;
        Ok(Box::new(borg))
    }

    /// A borg command for one machine and repository.
    fn command(&self, machine: &str, repository: &Path) -> Command {
        let mut command = Command::new("borg");
        command.env("BORG_REPO", repository);
        command.env("BORG_BASE_DIR", self.seat.local.join(machine));
        command.env("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes");
        command.env("BORG_RELOCATED_REPO_ACCESS_IS_OK", "yes");
        command
    }
}

impl Peer for Borg<'_> {
    fn save(&mut self, version: PeerVersion, dir: &Path) -> Result<Duration> {
        let mut command = self.command("saver", &self.carried.dir);
        command.args(["create", "--compression", "zstd,3"]);
        command.arg(format!("::{}", version.name())).arg(".");
        Ok(run_program(command.current_dir(dir))?.wall + self.carried.up()?)
    }

    fn stored(&self) -> Result<u64> {
        self.seat.stored()
    }

    fn restore(&mut self) -> Result<PeerRestore> {
        let path = self.seat.fresh("restored")?;
        let (repository, fetched) = self.carried.down(&self.seat)?;
        let mut command = self.command("restorer", &repository);
        command.arg("extract").arg("::v1").current_dir(&path);
        let wall = fetched + run_program(&mut command)?.wall;
        Ok(PeerRestore { wall, path })
    }

    fn release(&mut self) -> Result<()> {
        for name in ["restorer", "fetched", "restored"] {
            workspace::remove_directory(&self.seat.local.join(name))?;
        }
        Ok(())
    }
}

/// casync, which splits files into chunks.
pub(super) struct Casync<'a> {
    carried: Carried,
    seat: PeerWorkspace<'a>,
}

impl Casync<'_> {
    pub(super) fn make(seat: PeerWorkspace<'_>) -> Result<Box<dyn Peer + '_>> {
        let carried = Carried::new(&seat)?;
        Ok(Box::new(Casync { carried, seat }))
    }

    /// A casync command with a chunk store and an index next to it.
    fn command(verb: &str, files: &Path, version: PeerVersion) -> Command {
        let mut command = Command::new("casync");
        command.arg(verb).arg("--store").arg(files.join("chunks"));
        command.arg(files.join(format!("{}.caidx", version.name())));
        command
    }
}

impl Peer for Casync<'_> {
    fn save(&mut self, version: PeerVersion, dir: &Path) -> Result<Duration> {
        let mut command = Self::command("make", &self.carried.dir, version);
        Ok(run_program(command.arg(dir))?.wall + self.carried.up()?)
    }

    fn stored(&self) -> Result<u64> {
        self.seat.stored()
    }

    fn restore(&mut self) -> Result<PeerRestore> {
        let path = self.seat.fresh("restored")?;
        let (files, fetched) = self.carried.down(&self.seat)?;
        let mut command = Self::command("extract", &files, PeerVersion::First);
        let wall = fetched + run_program(command.arg(&path))?.wall;
        Ok(PeerRestore { wall, path })
    }

    fn release(&mut self) -> Result<()> {
        for name in ["fetched", "restored"] {
            workspace::remove_directory(&self.seat.local.join(name))?;
        }
        Ok(())
    }
}
