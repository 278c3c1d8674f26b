//! Collects the numbers of all runs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::machine::Machine;
use crate::measure::{Samples, Unit};
use crate::report::{self, Report, Subject, TrafficRow};
use crate::tools::answer::{Requests, Traffic};

/// What is compared with what: the rows of a group are ways to the same end, the first of them
/// being the reference. In the order of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Group {
    SaveFirst,
    SaveSecond,
    Stored,
    Added,
    Ready,
    FirstFile,
    Single,
    Find,
    ReadCold,
    ReadColdOne,
    ReadWarm,
    ReadWarmOne,
    Copy,
    Memory,
}

impl Group {
    fn title(self) -> &'static str {
        match self {
            Self::SaveFirst => "save v1",
            Self::SaveSecond => "save v2",
            Self::Stored => "bytes stored by v1",
            Self::Added => "bytes added by v2",
            Self::Ready => "restore until the directory can be used",
            Self::FirstFile => "restore, list the directory and read one file",
            Self::Single => "single steps after restore",
            Self::Find => "find (list every directory, lstat every entry)",
            Self::ReadCold => "restore and read everything, 2 threads",
            Self::ReadColdOne => "restore and read everything, 1 thread",
            Self::ReadWarm => "read everything again, 2 threads",
            Self::ReadWarmOne => "read everything again, 1 thread",
            Self::Copy => "restore to a plain directory",
            Self::Memory => "peak memory",
        }
    }

    fn unit(self) -> Unit {
        match self {
            Self::Stored | Self::Added | Self::Memory => Unit::Bytes,
            _ => Unit::Seconds,
        }
    }

    /// Whether the first row is what the others are alternatives to.
    fn has_reference(self) -> bool {
        !matches!(self, Self::Single | Self::Memory)
    }
}

/// The numbers so far. Rows come in the order in which they were recorded first.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    groups: BTreeMap<Group, Vec<(&'static str, Samples)>>,
    traffic: Vec<(&'static str, Vec<Traffic>)>,
    notes: BTreeSet<String>,
}

impl Recorder {
    /// Adds a time.
    pub(super) fn time(&mut self, group: Group, label: &'static str, wall: Duration) {
        self.add(group, label, wall.as_secs_f64());
    }

    /// Adds a number of bytes.
    pub(super) fn bytes(&mut self, group: Group, label: &'static str, bytes: u64) {
        self.add(group, label, bytes as f64);
    }

    /// Adds what a step asked of the remote.
    pub(super) fn traffic(&mut self, label: &'static str, traffic: Traffic) {
        match self.traffic.iter_mut().find(|(row, _)| *row == label) {
            Some((_, runs)) => runs.push(traffic),
            None => self.traffic.push((label, vec![traffic])),
        }
    }

    /// Adds something to tell the reader, once.
    pub(super) fn note(&mut self, note: String) {
        self.notes.insert(note);
    }

    fn add(&mut self, group: Group, label: &'static str, value: f64) {
        let rows = self.groups.entry(group).or_default();
        match rows.iter_mut().find(|(row, _)| *row == label) {
            Some((_, samples)) => samples.push(value),
            None => rows.push((label, Samples::from_iter([value]))),
        }
    }

    /// Sums everything up.
    pub(super) fn report(self, machine: Machine, subject: Subject) -> Report {
        let groups = self
            .groups
            .into_iter()
            .map(|(group, rows)| summed_up(group, rows));
        let traffic = self.traffic.into_iter().map(|(label, runs)| TrafficRow {
            label: label.to_owned(),
            traffic: middle(&runs),
        });
        Report::new(
            machine,
            subject,
            groups.collect(),
            traffic.collect(),
            self.notes.into_iter().collect(),
        )
    }
}

fn summed_up(group: Group, rows: Vec<(&'static str, Samples)>) -> report::Group {
    let mut reference = None;
    let mut done = Vec::new();
    for (label, samples) in rows {
        let Some(summary) = samples.summary() else {
            continue;
        };
        let ratio = reference
            .as_ref()
            .and_then(|reference| summary.ratio_to(reference));
        if group.has_reference() {
            reference.get_or_insert(summary);
        }
        done.push(report::Row {
            label: label.to_owned(),
            samples,
            summary,
            ratio,
        });
    }
    report::Group {
        title: group.title(),
        unit: group.unit(),
        rows: done,
    }
}

/// The median of each number by itself.
fn middle(runs: &[Traffic]) -> Traffic {
    let median = |number: fn(&Traffic) -> u64| {
        let samples: Samples = runs.iter().map(|run| number(run) as f64).collect();
        samples
            .summary()
            .map_or(0, |summary| summary.median.round() as u64)
    };
    Traffic {
        requests: Requests {
            get: median(|run| run.requests.get),
            put: median(|run| run.requests.put),
            head: median(|run| run.requests.head),
            list: median(|run| run.requests.list),
            delete: median(|run| run.requests.delete),
        },
        bytes_sent: median(|run| run.bytes_sent),
        bytes_received: median(|run| run.bytes_received),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_their_order_and_are_compared_with_the_first() {
        let mut recorder = Recorder::default();
        for run in [1, 2, 3] {
            recorder.bytes(Group::Memory, "daemon", 100);
            recorder.bytes(Group::Memory, "command", 50);
            recorder.time(Group::SaveFirst, "tar", Duration::from_secs(4 * run));
            recorder.time(Group::SaveFirst, "cachefs", Duration::from_secs(run));
        }
        let groups: Vec<_> = recorder
            .groups
            .into_iter()
            .map(|(g, rows)| summed_up(g, rows))
            .collect();
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].title, "save v1");
        let ratios: Vec<_> = groups[0].rows.iter().map(|row| row.ratio).collect();
        assert_eq!(ratios, [None, Some(0.25)]);
        assert_eq!(groups[0].rows[0].samples.len(), 3);
        // Peaks of different programs are no alternatives.
        assert!(groups[1].rows.iter().all(|row| row.ratio.is_none()));
        assert_eq!(groups[1].rows[0].label, "daemon");
    }

    #[test]
    fn traffic_is_the_median_by_kind() {
        let run = |get, bytes_received| Traffic {
            requests: Requests {
                get,
                ..Requests::default()
            },
            bytes_received,
            ..Traffic::default()
        };
        let middle = middle(&[run(9, 10), run(3, 30), run(4, 20)]);
        assert_eq!(middle, run(4, 20));
    }
}
