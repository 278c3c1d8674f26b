//! The report as text for a terminal.

use std::fmt;

use super::{BenchReport, Curves, ReportSection, Row, Table};
use crate::measure::{SampleSummary, Samples, Unit, show_ratio};

impl fmt::Display for BenchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.machine)?;
        writeln!(
            f,
            "numbers   median (least .. most), then the ratio to the first row of the group"
        )?;
        for section in &self.sections {
            write!(f, "\n== {}\n{section}", section.title)?;
        }
        Ok(())
    }
}

impl fmt::Display for ReportSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.facts.iter().map(|fact| fact.name.len());
        let width = names.max().unwrap_or(0).max(9);
        for fact in &self.facts {
            writeln!(f, "{:<width$} {}", fact.name, fact.value)?;
        }
        let rows = self.groups.iter().flat_map(|group| &group.rows);
        let curves = self.curves.iter().flat_map(|drawn| &drawn.curves);
        let lines = self.tables.iter().flat_map(|table| &table.lines);
        let labels = rows
            .map(|row| &row.label)
            .chain(lines.map(|line| &line.label))
            .chain(curves.map(|curve| &curve.label));
        let width = labels.map(|label| label.chars().count()).max().unwrap_or(0);
        for group in &self.groups {
            writeln!(f, "\n{}", group.title)?;
            for row in &group.rows {
                writeln!(f, "  {}", row.line(group.unit, width).trim_end())?;
            }
        }
        for drawn in &self.curves {
            print_ends(f, drawn, width)?;
        }
        for table in &self.tables {
            table.write(f, width)?;
        }
        for note in &self.notes {
            writeln!(f, "\nnote: {note}")?;
        }
        Ok(())
    }
}

/// Prints the range of each curve, in place of a chart.
fn print_ends(f: &mut fmt::Formatter<'_>, drawn: &Curves, width: usize) -> fmt::Result {
    writeln!(f, "\n{}", drawn.title)?;
    for curve in &drawn.curves {
        let samples: Samples = curve.values.iter().copied().collect();
        let Some(SampleSummary { median, min, max }) = samples.summary() else {
            continue;
        };
        let last = curve.values.last().copied().unwrap_or_default();
        let [median, min, max, last] = [median, min, max, last].map(|value| drawn.unit.show(value));
        let label = &curve.label;
        writeln!(
            f,
            "  {label:width$} {median:>9}  ({min} .. {max}), {last} at last"
        )?;
    }
    Ok(())
}

impl Row {
    fn line(&self, unit: Unit, width: usize) -> String {
        let SampleSummary { median, min, max } = self.summary;
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

impl Table {
    fn write(&self, f: &mut fmt::Formatter<'_>, width: usize) -> fmt::Result {
        let mut widths: Vec<_> = self
            .columns
            .iter()
            .map(|column| column.name.len())
            .collect();
        for line in &self.lines {
            for (width, cell) in widths.iter_mut().zip(self.shown(line)) {
                *width = (*width).max(cell.len());
            }
        }
        writeln!(f, "\n{}", self.title)?;
        write!(f, "  {:width$}", "")?;
        for (column, width) in self.columns.iter().zip(&widths) {
            write!(f, "  {:>width$}", column.name)?;
        }
        writeln!(f)?;
        for line in &self.lines {
            write!(f, "  {:width$}", line.label)?;
            for (cell, width) in self.shown(line).zip(&widths) {
                write!(f, "  {cell:>width$}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::report;

    #[test]
    fn the_table_has_every_number_under_its_head() {
        let text = report().to_string();
        let line = |start: &str| {
            let found = text
                .lines()
                .find(|line| line.trim_start().starts_with(start));
            found.unwrap().trim().to_owned()
        };
        assert_eq!(line("tar  "), "tar         3.00 s  (2.00 s .. 4.00 s)");
        assert_eq!(
            line("cachefs"),
            "cachefs     1.50 s  (1.40 s .. 1.60 s)        0.50x"
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
}
