//! All kinds of peers, and which of them can run on this machine.

use std::env;
use std::path::Path;
use std::process::Command;

use super::archive::{CopyPeer, Tar};
use super::backup::{Borg, Casync, Restic};
use super::cachefs_peer::CachefsPeer;
use super::mounted::{Juicefs, Squashfs};
use super::peer::{Bucket, PeerKind, run_program};
use super::rclone::Objects;

/// All peers: the reference first, then the other tools, then cachefs.
pub(super) const ALL: [PeerKind; 11] = [
    PeerKind {
        name: "tar+zstd",
        about: "tar | zstd -T0 -3, as actions/cache does it; the archive is streamed to the remote \
                and back in parts of 32 MiB, four at a time",
        programs: &["tar", "zstd"],
        bucket: Bucket::Known,
        root: false,
        make: Tar::zstd,
    },
    PeerKind {
        name: "tar+gzip",
        about: "the same with gzip -6",
        programs: &["tar", "gzip"],
        bucket: Bucket::Known,
        root: false,
        make: Tar::gzip,
    },
    PeerKind {
        name: "cp",
        about: "cp -a to a directory and back",
        programs: &["cp"],
        bucket: Bucket::Instead("rclone, which copies files one by one to a bucket"),
        root: false,
        make: CopyPeer::make,
    },
    PeerKind {
        name: "rclone",
        about: "rclone sync with 32 transfers, one object for each file; the second version goes \
                over the first, so only one is kept",
        programs: &["rclone"],
        bucket: Bucket::Known,
        root: false,
        make: Objects::make,
    },
    PeerKind {
        name: "restic",
        about: "restic backup and restore; compresses and encrypts; the repository is made before",
        programs: &["restic"],
        bucket: Bucket::Known,
        root: false,
        make: Restic::make,
    },
    PeerKind {
        name: "borg",
        about: "borg create with zstd,3 and no encryption, and extract; the repository is made \
                before",
        programs: &["borg"],
        bucket: Bucket::Carried,
        root: false,
        make: Borg::make,
    },
    PeerKind {
        name: "casync",
        about: "casync make and extract of a directory, with an index and a store of chunks",
        programs: &["casync"],
        bucket: Bucket::Carried,
        root: false,
        make: Casync::make,
    },
    PeerKind {
        name: "squashfs",
        about: "mksquashfs with zstd level 3, and a read-only loop mount; the image of the second \
                version is a whole one",
        programs: &["mksquashfs", "mount"],
        bucket: Bucket::Carried,
        root: true,
        make: Squashfs::make,
    },
    PeerKind {
        name: "juicefs",
        about: "juicefs mount, rsync into it, umount; the second version starts as a juicefs clone \
                of the first; metadata is in SQLite on this machine, which is not carried to the \
                restoring one; the volume is formatted before",
        programs: &["juicefs", "rsync", "rclone"],
        bucket: Bucket::Known,
        root: true,
        make: Juicefs::make,
    },
    PeerKind {
        name: "cachefs copy",
        about: "cachefs save, and restore --mode copy with a new store; the second version is saved \
                from a plain directory by the store that saved the first",
        programs: &[],
        bucket: Bucket::Known,
        root: false,
        make: CachefsPeer::copy,
    },
    PeerKind {
        name: "cachefs mount",
        about: "cachefs save, and restore --mode mount with a new store and no daemon; the second \
                version is made and saved in a mount of the first",
        programs: &[],
        bucket: Bucket::Known,
        root: false,
        make: CachefsPeer::mount,
    },
];

impl PeerKind {
    /// Returns the reason why this peer cannot run here, if any.
    pub(super) fn obstacle(&self, bucket: bool) -> Option<String> {
        if bucket && let Bucket::Instead(other) = self.bucket {
            return Some(format!(
                "has no notion of a bucket; in its place see {other}"
            ));
        }
        let carrier = (bucket && self.bucket == Bucket::Carried).then_some(&"rclone");
        let missing = self
            .programs
            .iter()
            .chain(carrier)
            .find(|program| !is_here(program));
        if let Some(program) = missing {
            return Some(format!(
                "{program} is not installed (scripts/bench-tools installs it)"
            ));
        }
        (self.root && !rustix::process::geteuid().is_root())
            .then(|| "needs root to mount".to_owned())
    }

    /// Version lines of the peer's programs.
    pub(super) fn versions(&self) -> impl Iterator<Item = String> {
        self.programs
            .iter()
            .filter_map(|program| program_version(program))
    }
}

fn program_version(program: &str) -> Option<String> {
    // Each program accepts one of these and prints something else for the others.
    let ways = ["--version", "version", "-version"];
    let said = ways.iter().find_map(|way| {
        let asked = run_program(Command::new(program).arg(way)).ok()?;
        let line = asked.stdout.lines().next()?.trim_matches(['*', ' ']);
        line.contains(|letter: char| letter.is_ascii_digit())
            .then(|| line.to_owned())
    })?;
    Some(if said.contains(program) {
        said
    } else {
        format!("{program} {said}")
    })
}

fn is_here(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|dir| is_file(&dir.join(program)))
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        let kind = |programs, bucket| PeerKind {
            programs,
            bucket,
            ..ALL.into_iter().next().unwrap()
        };
        assert_eq!(kind(&["sh"], Bucket::Known).obstacle(true), None);
        let missing = kind(&["sh", "no-such-program"], Bucket::Known).obstacle(false);
        assert!(
            missing
                .unwrap()
                .contains("no-such-program is not installed")
        );
        let other = kind(&["sh"], Bucket::Instead("something")).obstacle(true);
        assert!(other.unwrap().contains("something"));
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::BTreeSet<_> = ALL.iter().map(|kind| kind.name).collect();
        assert_eq!(names.len(), ALL.len());
    }
}
