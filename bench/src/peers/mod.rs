//! cachefs against all other tools that can cache a directory: the steps of the comparison.
//!
//! Each run takes the peers in turn: each saves and restores v1 and has it read. Then each saves
//! v2. A peer that fails is skipped from there on, and the report states the reason.

mod archive;
mod backup;
mod cachefs_peer;
mod mounted;
mod peer;
mod peer_list;
mod rclone;

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::common::{CommonArgs, Output, Setup, print_step};
use crate::dataset::{BenchSubject, Versions, verify_totals};
use crate::interrupt;
use crate::recorder::{Quantity, RowRecorder};
use crate::report::{BenchReport, ReportSection};
use crate::work::{find, read};
use peer::{Peer, PeerKind, PeerVersion, PeerWorkspace};

const SAVE_FIRST: Quantity = Quantity::seconds("save v1");
const STORED: Quantity = Quantity::bytes("bytes stored by v1");
const SAVE_SECOND: Quantity = Quantity::seconds("save v2");
const ADDED: Quantity = Quantity::bytes("bytes added by v2");
const READY: Quantity = Quantity::seconds("restore v1 until the directory can be used");
const FIRST_FILE: Quantity = Quantity::seconds("restore, list the directory and read one file");
const FIND: Quantity = Quantity::seconds("find, first after the restore");
const FIND_AGAIN: Quantity = Quantity::seconds("find again");
const READ: Quantity = Quantity::seconds("restore, find and read everything, 2 threads");
const READ_AGAIN: Quantity = Quantity::seconds("read everything again, 2 threads");
const ORDER: [Quantity; 10] = [
    READY,
    FIRST_FILE,
    READ,
    SAVE_FIRST,
    STORED,
    SAVE_SECOND,
    ADDED,
    FIND,
    FIND_AGAIN,
    READ_AGAIN,
];

/// Maximum length of a peer's error message in the report; stderr gets the full text.
const COMPLAINT: usize = 300;

/// The directories to compare on.
#[derive(Debug, clap::Args)]
pub(crate) struct PeersOptions {
    #[command(flatten)]
    versions: Versions,
    #[command(flatten)]
    choice: PeerChoice,
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    output: Output,
}

/// Selection of peers.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct PeerChoice {
    /// Measure only these peers, for example `tar+zstd,restic,cachefs mount`; the first is the
    /// reference
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Skip these peers
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    skip: Vec<String>,
    /// Drop the machine's page cache before each restore (needs root, and slows down other programs
    /// on this machine)
    #[arg(long)]
    drop_caches: bool,
}

/// Runs the comparison and prints the report to stdout.
pub(crate) fn run_peers(options: &PeersOptions) -> Result<()> {
    let setup = Setup::open(&options.common)?;
    let machine = setup.machine(peer_versions(&setup, &options.choice)?)?;
    let section = measure_peers(&setup, &options.versions, &options.choice)?;
    options
        .output
        .write(&BenchReport::new(machine, vec![section]))
}

/// Versions of the peers' programs.
pub(crate) fn peer_versions(setup: &Setup, choice: &PeerChoice) -> Result<Vec<String>> {
    let kinds = choice.kinds()?;
    let here = kinds
        .iter()
        .filter(|kind| kind.obstacle(setup.target.is_bucket()).is_none());
    let versions: BTreeSet<_> = here.flat_map(PeerKind::versions).collect();
    Ok(versions.into_iter().collect())
}

/// Runs the comparison `setup.runs` times.
pub(crate) fn measure_peers(
    setup: &Setup,
    versions: &Versions,
    choice: &PeerChoice,
) -> Result<ReportSection> {
    let mut section = setup.section("every way to cache a directory");
    let mut recorder = RowRecorder::new(&ORDER);
    let mut kinds = Vec::new();
    for kind in choice.kinds()? {
        match kind.obstacle(setup.target.is_bucket()) {
            Some(obstacle) => recorder.note(format!("{} left out: {obstacle}", kind.name)),
            None => kinds.push(kind),
        }
    }
    let subject = BenchSubject::prepare(&setup.workspace, versions)?;
    subject.describe(&mut section);
    if choice.drop_caches {
        section.fact("caches", "page cache emptied before each restore");
    }
    for kind in &kinds {
        section.fact(kind.name, describe_kind(kind, setup.target.is_bucket()));
    }
    for number in 1..=setup.runs {
        eprintln!("peers: run {number} of {}", setup.runs);
        let mut bench = PeersBench {
            setup,
            subject: &subject,
            recorder: &mut recorder,
            drop_caches: choice.drop_caches,
        };
        bench.run(number, &mut kinds)?;
    }
    recorder.finish(&mut section);
    Ok(section)
}

fn describe_kind(kind: &PeerKind, bucket: bool) -> String {
    let carried = bucket && kind.bucket == peer::Bucket::Carried;
    let how = if carried {
        "; its files are carried to the bucket and back by rclone sync, which is counted"
    } else {
        ""
    };
    format!("{}{how}", kind.about)
}

impl PeerChoice {
    fn kinds(&self) -> Result<Vec<PeerKind>> {
        let mut kinds = Vec::from(peer_list::ALL);
        for name in self.only.iter().chain(&self.skip) {
            ensure!(
                kinds.iter().any(|kind| kind.name == name),
                "there is no {name}; there are: {}",
                peer_list::ALL.map(|kind| kind.name).join(", ")
            );
        }
        if !self.only.is_empty() {
            let wanted = |kind: &PeerKind| self.only.iter().position(|name| name == kind.name);
            kinds.retain(|kind| wanted(kind).is_some());
            kinds.sort_by_key(wanted);
        }
        kinds.retain(|kind| !self.skip.iter().any(|name| name == kind.name));
        Ok(kinds)
    }
}

/// The state of one run.
struct PeersBench<'a> {
    setup: &'a Setup,
    subject: &'a BenchSubject,
    recorder: &'a mut RowRecorder,
    drop_caches: bool,
}

impl<'a> PeersBench<'a> {
    fn run(&mut self, number: u16, kinds: &mut Vec<PeerKind>) -> Result<()> {
        self.subject.bring_plain_to(false)?;
        let mut peers = Vec::new();
        let mut here = Vec::new();
        for kind in kinds.drain(..) {
            let first = self.seat(number, &kind).and_then(|seat| {
                let mut peer = (kind.make)(seat)?;
                self.first(kind.name, &mut *peer)?;
                Ok(peer)
            });
            if let Some(peer) = self.unless_failed(kind.name, first)? {
                peers.push(peer);
                here.push(kind);
            }
        }
        self.subject.bring_plain_to(true)?;
        for (kind, mut peer) in here.into_iter().zip(peers) {
            let second = self.second(kind.name, &mut *peer);
            if self.unless_failed(kind.name, second)?.is_some() {
                kinds.push(kind);
            }
        }
        Ok(())
    }

    fn seat(&self, number: u16, kind: &PeerKind) -> Result<PeerWorkspace<'a>> {
        let name = kind.name.replace(' ', "-");
        Ok(PeerWorkspace {
            setup: self.setup,
            local: self.setup.workspace.fresh(&format!("peer-{name}"))?,
            place: self.setup.target.place(&format!("run-{number}-{name}"))?,
        })
    }

    /// Records the failure of a peer and returns `None`. An interrupt is returned as an error.
    fn unless_failed<T>(&mut self, name: &str, result: Result<T>) -> Result<Option<T>> {
        interrupt::check_interrupt()?;
        match result {
            Ok(value) => Ok(Some(value)),
            Err(error) => {
                eprintln!("  {name} failed: {error:#}");
                let why: String = format!("{error:#}").chars().take(COMPLAINT).collect();
                self.recorder.note(format!(
                    "{name} failed and was left out from there on: {why}"
                ));
                Ok(None)
            }
        }
    }

    /// Saves v1, restores it and reads it.
    fn first(&mut self, name: &str, peer: &mut dyn Peer) -> Result<()> {
        print_step(&format!("{name}: save v1"))?;
        let saved = peer.save(PeerVersion::First, &self.subject.plain)?;
        let stored = peer.stored()?;
        print_step(&format!("{name}: restore, find, read all, again"))?;
        if self.drop_caches {
            fs::write("/proc/sys/vm/drop_caches", "3").context("could not empty the page cache")?;
        }
        let restored = peer.restore()?;
        let used = self.used(name, &restored.path, restored.wall);
        let released = peer.release();
        used.and(released)?;
        // Record only peers that completed all steps.
        self.recorder.time(SAVE_FIRST, name, saved);
        self.recorder.bytes(STORED, name, stored);
        Ok(())
    }

    /// Lists and reads a restored directory.
    fn used(&mut self, name: &str, path: &std::path::Path, ready: Duration) -> Result<()> {
        let wanted = self.subject.v1.totals;
        let list = find::list_directory(path)?;
        let file = read::read_file(&path.join(&self.subject.typical))?;
        let (find_cold, found) = find::find_tree(path)?;
        let (read_cold, read) = read::read_all_files(path, 2)?;
        verify_totals(name, found, wanted)?;
        verify_totals(name, read, wanted)?;
        let (find_warm, _) = find::find_tree(path)?;
        let (read_warm, _) = read::read_all_files(path, 2)?;
        let recorder = &mut *self.recorder;
        let first_file = ready + list + file;
        recorder.time(READY, name, ready);
        recorder.time(FIRST_FILE, name, first_file);
        recorder.time(READ, name, first_file + find_cold + read_cold);
        recorder.time(FIND, name, find_cold);
        recorder.time(FIND_AGAIN, name, find_warm);
        recorder.time(READ_AGAIN, name, read_warm);
        Ok(())
    }

    /// Saves v2.
    fn second(&mut self, name: &str, peer: &mut dyn Peer) -> Result<()> {
        print_step(&format!("{name}: save v2"))?;
        let before = peer.stored()?;
        let saved = peer.save(PeerVersion::Second, &self.subject.plain)?;
        let added = peer.stored()?.saturating_sub(before);
        self.recorder.time(SAVE_SECOND, name, saved);
        self.recorder.bytes(ADDED, name, added);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_can_be_chosen_and_the_first_named_is_the_reference() {
        let names = |only: &[&str], skip: &[&str]| -> Vec<&str> {
            let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
            let choice = PeerChoice {
                only: owned(only),
                skip: owned(skip),
                drop_caches: false,
            };
            choice
                .kinds()
                .unwrap()
                .iter()
                .map(|kind| kind.name)
                .collect()
        };
        assert_eq!(names(&["cp", "tar+zstd"], &[]), ["cp", "tar+zstd"]);
        assert_eq!(names(&[], &[]).len(), peer_list::ALL.len());
        assert!(!names(&[], &["borg"]).contains(&"borg"));
        let wrong = PeerChoice {
            skip: vec!["rar".into()],
            ..PeerChoice::default()
        };
        assert!(
            wrong
                .kinds()
                .err()
                .unwrap()
                .to_string()
                .contains("tar+zstd")
        );
    }
}
