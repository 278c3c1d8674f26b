//! Benchmark reports, as text and HTML for people and as JSON for programs.

mod chart;
mod curves;
mod escape;
mod html;
mod text;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::machine::Machine;
use crate::measure::{SampleSummary, Samples, Unit};

/// Version of the JSON schema. Increment it when a field is removed or changes its meaning.
const SCHEMA: u32 = 2;

/// The results of one command.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BenchReport {
    schema: u32,
    /// The machine that the benchmark ran on.
    pub(crate) machine: Machine,
    /// Measurements in the order in which they ran.
    pub(crate) sections: Vec<ReportSection>,
}

/// One measurement with all its numbers.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ReportSection {
    /// Title of the measurement.
    pub(crate) title: String,
    /// Setup and parameters, which a reader needs to judge the numbers.
    pub(crate) facts: Vec<ReportFact>,
    /// Times and sizes.
    pub(crate) groups: Vec<RowGroup>,
    /// Quantities over time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) curves: Vec<Curves>,
    /// Tables with numbers of several units.
    pub(crate) tables: Vec<Table>,
    /// Further notes for the reader.
    pub(crate) notes: Vec<String>,
}

/// A setting or condition that is constant during a measurement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReportFact {
    /// Name, for example `runs`.
    pub(crate) name: String,
    /// Value as text.
    pub(crate) value: String,
}

/// Rows of alternatives, or of quantities with the same unit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct RowGroup {
    /// Title of the group.
    pub(crate) title: String,
    /// Unit of all numbers.
    pub(crate) unit: Unit,
    /// The rows. Ratios are relative to the first row.
    pub(crate) rows: Vec<Row>,
}

/// One quantity.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Label of the row.
    pub(crate) label: String,
    /// One sample per run.
    pub(crate) samples: Samples,
    /// Median and range of the samples.
    #[serde(flatten)]
    pub(crate) summary: SampleSummary,
    /// The median divided by the median of the group's first row.
    pub(crate) ratio: Option<f64>,
}

/// Quantities of one unit over the same period.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Curves {
    /// Title of the chart.
    pub(crate) title: String,
    /// Unit of all values.
    pub(crate) unit: Unit,
    /// Time of each sample, in seconds since the start.
    pub(crate) seconds: Vec<f64>,
    /// The quantities.
    pub(crate) curves: Vec<Curve>,
}

/// One quantity over time.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Curve {
    /// Label of the quantity.
    pub(crate) label: String,
    /// The value at each sample time.
    pub(crate) values: Vec<f64>,
}

/// A table with a label for each line and a unit for each column.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Table {
    /// Title of the table.
    pub(crate) title: String,
    /// The columns.
    pub(crate) columns: Vec<Column>,
    /// The lines in display order.
    pub(crate) lines: Vec<ReportLine>,
}

/// One column of a table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Column {
    /// Heading of the column.
    pub(crate) name: String,
    /// Unit of the numbers.
    pub(crate) unit: Unit,
}

/// One line of a table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ReportLine {
    /// Label of the line.
    pub(crate) label: String,
    /// One cell per column; `None` if there is no number.
    pub(crate) cells: Vec<Option<f64>>,
}

impl BenchReport {
    /// Creates a report with the current schema version.
    pub(crate) fn new(machine: Machine, sections: Vec<ReportSection>) -> Self {
        Self {
            schema: SCHEMA,
            machine,
            sections,
        }
    }

    /// Reads the JSON of an earlier report.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let read = || -> Result<Self> {
            let report: Self = serde_json::from_slice(&fs::read(path)?)?;
            ensure!(
                report.schema == SCHEMA,
                "it has the form {}, and this program knows {SCHEMA}",
                report.schema
            );
            Ok(report)
        };
        read().with_context(|| format!("{} cannot be read as a report", path.display()))
    }

    /// Writes the report as JSON.
    pub(crate) fn write_json(&self, path: &Path) -> Result<()> {
        write_file(path, serde_json::to_string_pretty(self)? + "\n")
    }

    /// Writes the report as a self-contained HTML page.
    pub(crate) fn write_html(&self, path: &Path) -> Result<()> {
        write_file(path, html::html_page(self))
    }

    /// Writes all curves as one SVG file, for embedding in a document.
    pub(crate) fn write_curves(&self, path: &Path) -> Result<()> {
        let all = self.sections.iter().flat_map(|section| &section.curves);
        write_file(
            path,
            curves::draw_picture(&all.cloned().collect::<Vec<_>>()),
        )
    }
}

fn write_file(path: &Path, text: String) -> Result<()> {
    fs::write(path, text).with_context(|| format!("could not write {}", path.display()))
}

impl ReportSection {
    /// Creates an empty section.
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            ..Self::default()
        }
    }

    /// Adds a fact.
    pub(crate) fn fact(&mut self, name: &str, value: impl Into<String>) {
        self.facts.push(ReportFact {
            name: name.to_owned(),
            value: value.into(),
        });
    }
}

impl Table {
    /// Creates an empty table from column headings and units.
    pub(crate) fn new(title: impl Into<String>, columns: &[(&str, Unit)]) -> Self {
        let column = |&(name, unit): &(&str, Unit)| Column {
            name: name.to_owned(),
            unit,
        };
        Self {
            title: title.into(),
            columns: columns.iter().map(column).collect(),
            lines: Vec::new(),
        }
    }

    /// Adds a line.
    pub(crate) fn line(
        &mut self,
        label: impl Into<String>,
        cells: impl IntoIterator<Item = Option<f64>>,
    ) {
        self.lines.push(ReportLine {
            label: label.into(),
            cells: cells.into_iter().collect(),
        });
    }

    /// Formats the cells of a line for people.
    fn shown<'a>(&'a self, line: &'a ReportLine) -> impl Iterator<Item = String> + 'a {
        let cells = line.cells.iter().zip(&self.columns);
        cells.map(|(cell, column)| cell.map_or(String::new(), |value| column.unit.show(value)))
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    pub(crate) fn row(label: &str, values: &[f64], ratio: Option<f64>) -> Row {
        let samples: Samples = values.iter().copied().collect();
        Row {
            label: label.to_owned(),
            summary: samples.summary().unwrap(),
            samples,
            ratio,
        }
    }

    pub(crate) fn report() -> BenchReport {
        let machine = Machine {
            cores: 2,
            processor: "CPU".into(),
            kernel: "6.18".into(),
            memory: 8 << 30,
            load: 0.1,
            directories: vec![],
            programs: vec!["tar 1".into()],
        };
        let mut section = ReportSection::new("a comparison");
        section.fact("v1", "3 files, 5.0 MB");
        section.groups.push(RowGroup {
            title: "save v1".into(),
            unit: Unit::Seconds,
            rows: vec![
                row("tar", &[4.0, 2.0, 3.0], None),
                row("cachefs", &[1.5, 1.4, 1.6], Some(0.5)),
                row("slow <&>", &[6.0], Some(2.0)),
            ],
        });
        section.curves.push(Curves {
            title: "what is held".into(),
            unit: Unit::Count,
            seconds: vec![0.0, 30.0, 60.0],
            curves: vec![Curve {
                label: "threads".into(),
                values: vec![2.0, 8.0, 4.0],
            }],
        });
        let columns = [
            ("GET", Unit::Count),
            ("PUT", Unit::Count),
            ("sent", Unit::Bytes),
        ];
        let mut table = Table::new("requests to the remote", &columns);
        table.line("save v2", [None, Some(6.0), Some(1.5e6)]);
        section.tables.push(table);
        section.notes.push("mind this".into());
        BenchReport::new(machine, vec![section])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_get_the_samples_too_and_can_read_them_back() {
        let report = testing::report();
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["schema"], SCHEMA);
        let row = &json["sections"][0]["groups"][0]["rows"][1];
        assert_eq!(row["samples"], serde_json::json!([1.5, 1.4, 1.6]));
        assert_eq!((&row["median"], &row["ratio"]), (&1.5.into(), &0.5.into()));
        let table = &json["sections"][0]["tables"][0];
        assert_eq!(table["lines"][0]["cells"][1], 6.0);

        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("report.json");
        report.write_json(&path).unwrap();
        let back = BenchReport::read(&path).unwrap();
        assert_eq!(serde_json::to_value(&back).unwrap(), json);
        let other = fs::read_to_string(&path).unwrap();
        fs::write(&path, other.replace("\"schema\": 2", "\"schema\": 1")).unwrap();
        BenchReport::read(&path).unwrap_err();
    }
}
