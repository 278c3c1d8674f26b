//! What came out, for people and for programs.

use std::fmt::{self, Write as _};

use serde::Serialize;

use crate::machine::Machine;
use crate::measure::{Samples, Summary, Unit, show_ratio};
use crate::tools::answer::Traffic;
use crate::work::Totals;

/// The version of the JSON form; higher when a field changes its meaning or goes away.
const SCHEMA: u32 = 1;

/// A whole comparison.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    schema: u32,
    /// Where it ran.
    pub(crate) machine: Machine,
    /// On what.
    pub(crate) subject: Subject,
    /// How long things took, and how large they became.
    pub(crate) groups: Vec<Group>,
    /// What was asked of the remote.
    pub(crate) traffic: Vec<TrafficRow>,
    /// What the reader should know besides.
    pub(crate) notes: Vec<String>,
}

/// What was compared.
#[derive(Debug, Serialize)]
pub(crate) struct Subject {
    /// What the first version holds.
    pub(crate) v1: Totals,
    /// What the second version holds.
    pub(crate) v2: Totals,
    /// The remote, with what is simulated about it.
    pub(crate) remote: String,
    /// Runs.
    pub(crate) runs: usize,
}

/// Ways to the same end, or quantities of one kind.
#[derive(Debug, Serialize)]
pub(crate) struct Group {
    /// What the rows have in common.
    pub(crate) title: &'static str,
    /// What all the numbers count.
    pub(crate) unit: Unit,
    /// The rows; where there are ratios, they are to the first.
    pub(crate) rows: Vec<Row>,
}

/// One quantity.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) label: String,
    /// What the runs gave.
    pub(crate) samples: Samples,
    /// The same, summed up.
    #[serde(flatten)]
    pub(crate) summary: Summary,
    /// The median as a multiple of that of the group's first row.
    pub(crate) ratio: Option<f64>,
}

/// What one step asked of the remote.
#[derive(Debug, Serialize)]
pub(crate) struct TrafficRow {
    /// The step.
    pub(crate) label: String,
    /// Its requests and bytes; each the median over the runs.
    #[serde(flatten)]
    pub(crate) traffic: Traffic,
}

impl Report {
    /// Puts the parts together.
    pub(crate) fn new(
        machine: Machine,
        subject: Subject,
        groups: Vec<Group>,
        traffic: Vec<TrafficRow>,
        notes: Vec<String>,
    ) -> Self {
        Self {
            schema: SCHEMA,
            machine,
            subject,
            groups,
            traffic,
            notes,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.machine, self.subject)?;
        writeln!(
            f,
            "numbers   median (least .. most), then the ratio to the first row of the group"
        )?;
        let labels = self
            .groups
            .iter()
            .flat_map(|group| &group.rows)
            .map(|row| &row.label);
        let labels = labels.chain(self.traffic.iter().map(|row| &row.label));
        let width = labels.map(|label| label.chars().count()).max().unwrap_or(0);
        for group in &self.groups {
            writeln!(f, "\n{}", group.title)?;
            for row in &group.rows {
                writeln!(f, "  {}", row.line(group.unit, width).trim_end())?;
            }
        }
        self.write_traffic(f, width)?;
        for note in &self.notes {
            writeln!(f, "\nnote: {note}")?;
        }
        Ok(())
    }
}

impl Report {
    fn write_traffic(&self, f: &mut fmt::Formatter<'_>, width: usize) -> fmt::Result {
        if self.traffic.is_empty() {
            return Ok(());
        }
        let mut heads = String::new();
        for head in ["GET", "PUT", "HEAD", "LIST", "DELETE"] {
            write!(heads, "{head:>7}")?;
        }
        writeln!(
            f,
            "\nrequests to the remote\n  {:width$}{heads}{:>11}{:>11}",
            "", "sent", "received"
        )?;
        for TrafficRow { label, traffic } in &self.traffic {
            let requests = traffic.requests;
            write!(f, "  {label:width$}")?;
            for count in [
                requests.get,
                requests.put,
                requests.head,
                requests.list,
                requests.delete,
            ] {
                write!(f, "{count:>7}")?;
            }
            let bytes = [traffic.bytes_sent, traffic.bytes_received];
            let [sent, received] = bytes.map(|bytes| Unit::Bytes.show(bytes as f64));
            writeln!(f, "{sent:>11}{received:>11}")?;
        }
        Ok(())
    }
}

impl Row {
    fn line(&self, unit: Unit, width: usize) -> String {
        let Summary { median, min, max } = self.summary;
        let median = unit.show(median);
        let range = if self.samples.len() > 1 {
            format!("({} .. {})", unit.show(min), unit.show(max))
        } else {
            String::new()
        };
        let ratio = self.ratio.map(show_ratio).unwrap_or_default();
        format!("{:width$} {median:>9}  {range:<23} {ratio:>7}", self.label)
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, totals) in [("v1", self.v1), ("v2", self.v2)] {
            let bytes = Unit::Bytes.show(totals.bytes as f64);
            writeln!(f, "{name:<9} {} files, {bytes}", totals.files)?;
        }
        writeln!(f, "remote    {}", self.remote)?;
        writeln!(f, "runs      {}", self.runs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::answer::Requests;

    fn row(label: &str, values: &[f64], ratio: Option<f64>) -> Row {
        let samples: Samples = values.iter().copied().collect();
        Row {
            label: label.to_owned(),
            summary: samples.summary().unwrap(),
            samples,
            ratio,
        }
    }

    fn report() -> Report {
        let machine = Machine {
            cores: 2,
            processor: "CPU".into(),
            kernel: "6.18".into(),
            memory: 8 << 30,
            load: 0.1,
            directories: vec![],
            programs: vec!["tar 1".into()],
        };
        let subject = Subject {
            v1: Totals {
                entries: 4,
                files: 3,
                bytes: 5_000_000,
            },
            v2: Totals::default(),
            remote: "file:///remote".into(),
            runs: 3,
        };
        let group = Group {
            title: "save v1",
            unit: Unit::Seconds,
            rows: vec![
                row("tar", &[4.0, 2.0, 3.0], None),
                row("cachefs", &[1.5, 1.4, 1.6], Some(0.5)),
            ],
        };
        let traffic = TrafficRow {
            label: "save v1".into(),
            traffic: Traffic {
                requests: Requests {
                    put: 6,
                    ..Requests::default()
                },
                bytes_sent: 1_500_000,
                bytes_received: 0,
            },
        };
        Report::new(
            machine,
            subject,
            vec![group],
            vec![traffic],
            vec!["mind this".into()],
        )
    }

    #[test]
    fn the_table_has_every_number_under_its_head() {
        let text = report().to_string();
        let line = |start: &str| {
            let found = text
                .lines()
                .find(|line| line.trim_start().starts_with(start));
            found.unwrap().trim().to_owned()
        };
        assert_eq!(line("tar  "), "tar        3.00 s  (2.00 s .. 4.00 s)");
        assert_eq!(
            line("cachefs"),
            "cachefs    1.50 s  (1.40 s .. 1.60 s)        0.50x"
        );
        assert_eq!(line("v1"), "v1        3 files, 5.0 MB");
        let ends = |line: &str, word: &str| {
            let line = text.lines().find(|found| found.contains(line)).unwrap();
            line.find(word).unwrap() + word.len()
        };
        assert_eq!(ends("GET", "PUT"), ends("1.5 MB", " 6 ") - 1);
        assert_eq!(ends("GET", "sent"), ends("1.5 MB", "1.5 MB"));
        assert!(text.ends_with("note: mind this\n"), "{text}");
    }

    #[test]
    fn programs_get_the_samples_too() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["schema"], 1);
        let row = &json["groups"][0]["rows"][1];
        assert_eq!(row["samples"], serde_json::json!([1.5, 1.4, 1.6]));
        assert_eq!((&row["median"], &row["ratio"]), (&1.5.into(), &0.5.into()));
        assert_eq!(json["groups"][0]["unit"], "seconds");
        assert_eq!(json["traffic"][0]["requests"]["put"], 6);
    }
}
