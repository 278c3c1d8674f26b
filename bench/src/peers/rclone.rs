//! rclone: a tree with one object per file. Also copies the files of other peers to and from
//! buckets.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::peer::{Peer, PeerRestore, PeerVersion, PeerWorkspace, run_program};
use crate::remote::{Location, RemotePrefix};
use crate::workspace;

/// Concurrent transfers. The default of 4 suits a few large files.
const AT_A_TIME: &str = "32";

/// rclone, configured for a prefix of the remote.
#[derive(Debug)]
pub(super) struct Rclone {
    variables: Vec<(String, String)>,
    /// The prefix as an rclone path, for example `bench:bucket/prefix`.
    base: String,
}

impl Rclone {
    /// Configures rclone for a prefix.
    pub(super) fn new(place: &RemotePrefix<'_>) -> Self {
        let mut variables = place.variables();
        // Ignore the user's rclone configuration.
        variables.push(("RCLONE_CONFIG".into(), "/dev/null".into()));
        let base = match place.location() {
            Location::Directory(dir) => dir.display().to_string(),
            Location::Bucket {
                endpoint,
                region,
                bucket,
                prefix,
            } => {
                let mut set = |name: &str, value: &str| {
                    variables.push((format!("RCLONE_CONFIG_BENCH_{name}"), value.to_owned()));
                };
                set("TYPE", "s3");
                set("PROVIDER", if endpoint.is_some() { "Other" } else { "AWS" });
                set("ENV_AUTH", "true");
                set("NO_CHECK_BUCKET", "true");
                // Other servers may not support version 1 of the listing API.
                set("LIST_VERSION", "2");
                if let Some(endpoint) = &endpoint {
                    set("ENDPOINT", endpoint);
                }
                if let Some(region) = &region {
                    set("REGION", region);
                }
                format!("bench:{bucket}/{prefix}")
            }
        };
        Self { variables, base }
    }

    /// The rclone path of `below`, or of the whole prefix if it is empty.
    pub(super) fn at(&self, below: &str) -> OsString {
        format!("{}/{below}", self.base).into()
    }

    /// Makes the tree at `to` a copy of the tree at `from`.
    pub(super) fn sync(&self, from: &OsString, to: &OsString) -> Result<Duration> {
        let mut command = self.command("sync");
        command.args(["--links", "--metadata", "--create-empty-src-dirs"]);
        command.args(["--transfers", AT_A_TIME, "--checkers", AT_A_TIME]);
        Ok(run_program(command.arg(from).arg(to))?.wall)
    }

    /// Total size below a path, in bytes.
    pub(super) fn size(&self, at: &OsString) -> Result<u64> {
        #[derive(Deserialize)]
        struct RcloneSize {
            bytes: u64,
        }
        let asked = run_program(self.command("size").arg("--json").arg(at))?;
        let size: RcloneSize = serde_json::from_str(&asked.stdout).context("rclone size")?;
        Ok(size.bytes)
    }

    /// Removes everything below a path.
    pub(super) fn purge(&self, at: &OsString) -> Result<()> {
        run_program(self.command("purge").arg(at)).map(drop)
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new("rclone");
        let variables = self.variables.iter();
        command.envs(variables.map(|(name, value)| (name, value)));
        command.arg(name).arg("--quiet");
        // rclone's AWS client fails on this variable, and has an equivalent flag.
        if let Some(authorities) = std::env::var_os("AWS_CA_BUNDLE") {
            command.env_remove("AWS_CA_BUNDLE");
            command.arg("--ca-cert").arg(authorities);
        }
        command
    }
}

/// A directory for the files of a tool that does not support buckets.
#[derive(Debug)]
pub(super) struct Carried {
    /// Path for the tool.
    pub(super) dir: PathBuf,
    bucket: Option<Rclone>,
}

impl Carried {
    /// Uses the prefix itself if it is a directory, otherwise a local directory to copy from.
    pub(super) fn new(seat: &PeerWorkspace<'_>) -> Result<Self> {
        Ok(match seat.place.location() {
            Location::Directory(dir) => {
                std::fs::create_dir_all(&dir)?;
                Self { dir, bucket: None }
            }
            Location::Bucket { .. } => Self {
                dir: seat.fresh("carried")?,
                bucket: Some(Rclone::new(&seat.place)),
            },
        })
    }

    /// Uploads all files to the remote.
    pub(super) fn up(&self) -> Result<Duration> {
        match &self.bucket {
            Some(rclone) => rclone.sync(&self.dir.clone().into(), &rclone.at("files")),
            None => Ok(Duration::ZERO),
        }
    }

    /// Downloads all files to an empty directory. Returns its path and the time taken.
    pub(super) fn down(&self, seat: &PeerWorkspace<'_>) -> Result<(PathBuf, Duration)> {
        let Some(rclone) = &self.bucket else {
            return Ok((self.dir.clone(), Duration::ZERO));
        };
        let dir = seat.fresh("fetched")?;
        let wall = rclone.sync(&rclone.at("files"), &dir.clone().into())?;
        Ok((dir, wall))
    }
}

/// The rclone peer.
pub(super) struct Objects<'a> {
    rclone: Rclone,
    seat: PeerWorkspace<'a>,
}

impl Objects<'_> {
    pub(super) fn make(seat: PeerWorkspace<'_>) -> Result<Box<dyn Peer + '_>> {
        let rclone = Rclone::new(&seat.place);
        Ok(Box::new(Objects { rclone, seat }))
    }
}

impl Peer for Objects<'_> {
    fn save(&mut self, _: PeerVersion, dir: &Path) -> Result<Duration> {
        self.rclone.sync(&dir.into(), &self.rclone.at("tree"))
    }

    fn stored(&self) -> Result<u64> {
        self.rclone.size(&self.rclone.at("tree"))
    }

    fn restore(&mut self) -> Result<PeerRestore> {
        let path = self.seat.fresh("restored")?;
        let to = path.clone().into();
        let wall = self.rclone.sync(&self.rclone.at("tree"), &to)?;
        Ok(PeerRestore { wall, path })
    }

    fn release(&mut self) -> Result<()> {
        workspace::remove_directory(&self.seat.local.join("restored"))
    }
}

impl Drop for Objects<'_> {
    fn drop(&mut self) {
        // Directories are removed with the seat. In a bucket, object names may not follow those of
        // cachefs.
        if let Location::Bucket { .. } = self.seat.place.location() {
            // This fails if nothing has been saved yet.
            let _ = self.rclone.purge(&self.rclone.at("tree"));
        }
    }
}
