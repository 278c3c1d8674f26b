//! Collects the numbers of all runs.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::measure::{Samples, Unit};
use crate::report::{ReportSection, Row, RowGroup, Table};
use crate::tools::json_answer::{AnswerRequests, AnswerTraffic};

/// Title and unit of a group of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quantity {
    title: &'static str,
    unit: Unit,
    /// Whether the rows are alternatives; the first row is then the reference for ratios.
    compared: bool,
}

impl Quantity {
    /// Times of alternatives, compared with the first row.
    pub(crate) const fn seconds(title: &'static str) -> Self {
        Self {
            title,
            unit: Unit::Seconds,
            compared: true,
        }
    }

    /// Sizes of alternatives, compared with the first row.
    pub(crate) const fn bytes(title: &'static str) -> Self {
        Self {
            title,
            unit: Unit::Bytes,
            compared: true,
        }
    }

    /// Turns off ratios, for rows that are not alternatives.
    pub(crate) const fn apart(self) -> Self {
        Self {
            compared: false,
            ..self
        }
    }
}

/// The numbers so far. Groups keep the order given to `new`, rows the order of their first record.
#[derive(Debug)]
pub(crate) struct RowRecorder {
    groups: Vec<(Quantity, Vec<(String, Samples)>)>,
    traffic: Vec<(String, Vec<AnswerTraffic>)>,
    notes: BTreeSet<String>,
}

impl RowRecorder {
    /// An empty recorder for these quantities.
    pub(crate) fn new(order: &[Quantity]) -> Self {
        Self {
            groups: order
                .iter()
                .map(|&quantity| (quantity, Vec::new()))
                .collect(),
            traffic: Vec::new(),
            notes: BTreeSet::new(),
        }
    }

    /// Records a duration.
    pub(crate) fn time(&mut self, quantity: Quantity, label: &str, wall: Duration) {
        self.add(quantity, label, wall.as_secs_f64());
    }

    /// Records a number of bytes.
    pub(crate) fn bytes(&mut self, quantity: Quantity, label: &str, bytes: u64) {
        self.add(quantity, label, bytes as f64);
    }

    /// Records the remote traffic of a step.
    pub(crate) fn traffic(&mut self, label: &str, traffic: AnswerTraffic) {
        labelled_entry(&mut self.traffic, label).push(traffic);
    }

    /// Adds a note to the report; duplicates are ignored.
    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.insert(note.into());
    }

    fn add(&mut self, quantity: Quantity, label: &str, value: f64) {
        let known = self.groups.iter().position(|(known, _)| *known == quantity);
        let at = known.unwrap_or_else(|| {
            self.groups.push((quantity, Vec::new()));
            self.groups.len() - 1
        });
        labelled_entry(&mut self.groups[at].1, label).push(value);
    }

    /// Adds the summaries of all groups to the section.
    pub(crate) fn finish(self, section: &mut ReportSection) {
        let groups = self.groups.into_iter().filter(|(_, rows)| !rows.is_empty());
        let groups = groups.map(|(quantity, rows)| summed_up(quantity, rows));
        section.groups.extend(groups);
        if !self.traffic.is_empty() {
            section.tables.push(traffic_table(&self.traffic));
        }
        section.notes.extend(self.notes);
    }
}

/// Returns the entry with this label, inserting a default if it is new.
fn labelled_entry<'a, T: Default>(rows: &'a mut Vec<(String, T)>, label: &str) -> &'a mut T {
    let known = rows.iter().position(|(known, _)| known == label);
    let at = known.unwrap_or_else(|| {
        rows.push((label.to_owned(), T::default()));
        rows.len() - 1
    });
    &mut rows[at].1
}

fn summed_up(quantity: Quantity, rows: Vec<(String, Samples)>) -> RowGroup {
    let mut reference = None;
    let mut done = Vec::new();
    for (label, samples) in rows {
        let Some(summary) = samples.summary() else {
            continue;
        };
        let ratio = reference
            .as_ref()
            .and_then(|reference| summary.ratio_to(reference));
        if quantity.compared {
            reference.get_or_insert(summary);
        }
        done.push(Row {
            label,
            samples,
            summary,
            ratio,
        });
    }
    RowGroup {
        title: quantity.title.to_owned(),
        unit: quantity.unit,
        rows: done,
    }
}

fn traffic_table(traffic: &[(String, Vec<AnswerTraffic>)]) -> Table {
    let columns = [
        ("GET", Unit::Count),
        ("PUT", Unit::Count),
        ("HEAD", Unit::Count),
        ("LIST", Unit::Count),
        ("DELETE", Unit::Count),
        ("sent", Unit::Bytes),
        ("received", Unit::Bytes),
    ];
    let mut table = Table::new("requests to the remote", &columns);
    for (label, runs) in traffic {
        let middle = median_traffic(runs);
        let AnswerRequests {
            get,
            put,
            head,
            list,
            delete,
        } = middle.requests;
        let numbers = [
            get,
            put,
            head,
            list,
            delete,
            middle.bytes_sent,
            middle.bytes_received,
        ];
        table.line(label, numbers.map(|number| Some(number as f64)));
    }
    table
}

/// Computes the median of each counter separately.
fn median_traffic(runs: &[AnswerTraffic]) -> AnswerTraffic {
    let median = |number: fn(&AnswerTraffic) -> u64| {
        let samples: Samples = runs.iter().map(|run| number(run) as f64).collect();
        samples
            .summary()
            .map_or(0, |summary| summary.median.round() as u64)
    };
    AnswerTraffic {
        requests: AnswerRequests {
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

    const MEMORY: Quantity = Quantity::bytes("peak memory").apart();
    const SAVE: Quantity = Quantity::seconds("save v1");
    const NEVER: Quantity = Quantity::seconds("never measured");

    #[test]
    fn rows_keep_their_order_and_are_compared_with_the_first() {
        let mut recorder = RowRecorder::new(&[SAVE, NEVER, MEMORY]);
        for run in [1, 2, 3] {
            recorder.bytes(MEMORY, "daemon", 100);
            recorder.bytes(MEMORY, "command", 50);
            recorder.time(SAVE, "tar", Duration::from_secs(4 * run));
            recorder.time(SAVE, "cachefs", Duration::from_secs(run));
            recorder.note("once");
        }
        let mut section = ReportSection::new("x");
        recorder.finish(&mut section);
        let groups = section.groups;
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].title, "save v1");
        let ratios: Vec<_> = groups[0].rows.iter().map(|row| row.ratio).collect();
        assert_eq!(ratios, [None, Some(0.25)]);
        assert_eq!(groups[0].rows[0].samples.len(), 3);
        // Peak memory of different programs is not an alternative, so the rows have no ratio.
        assert!(groups[1].rows.iter().all(|row| row.ratio.is_none()));
        assert_eq!(groups[1].rows[0].label, "daemon");
        assert_eq!((section.notes.len(), section.tables.len()), (1, 0));
    }

    #[test]
    fn traffic_is_the_median_by_kind() {
        let run = |get, bytes_received| AnswerTraffic {
            requests: AnswerRequests {
                get,
                ..AnswerRequests::default()
            },
            bytes_received,
            ..AnswerTraffic::default()
        };
        let runs = [run(9, 10), run(3, 30), run(4, 20)];
        assert_eq!(median_traffic(&runs), run(4, 20));
        let table = traffic_table(&[("step".into(), runs.to_vec())]);
        assert_eq!(table.lines[0].cells[0], Some(4.0));
        assert_eq!(table.lines[0].cells.len(), table.columns.len());
    }
}
