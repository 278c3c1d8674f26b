//! Recorded runs: JSON output of `cachefs restore` and `cachefs stats`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::cost_account::Assumptions;
use crate::measure::{Samples, Unit};
use crate::report::{ReportSection, Table};

/// JSON output of either command, with the fields that we need.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RecordedAnswer {
    /// Present in the output of `restore`.
    #[serde(rename = "match")]
    matched: Option<String>,
    duration_ms: f64,
    bytes: f64,
    /// Present in the output of `stats`.
    daemon: Option<Daemon>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Daemon {
    reads: RecordedReads,
    traffic: RecordedTraffic,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RecordedReads {
    demand_bytes: f64,
    prefetch_bytes: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RecordedTraffic {
    gets: f64,
    puts: f64,
    heads: f64,
    lists: f64,
    bytes_in: f64,
    bytes_out: f64,
}

/// Sums up files of JSON output. Each file may contain any number of objects.
pub(super) fn sum_up(files: &[PathBuf], assumed: &Assumptions) -> Result<ReportSection> {
    let mut answers = Vec::new();
    for path in files {
        let found = read_answers(path);
        answers.extend(found.with_context(|| format!("{} is not understood", path.display()))?);
    }
    let mut section = ReportSection::new("hit rate of recorded runs");
    section.fact("recorded", format!("{} answers of cachefs", answers.len()));
    add_restores(&answers, &mut section);
    add_daemons(&answers, assumed, &mut section);
    ensure!(
        !section.tables.is_empty(),
        "no answer is one of `cachefs restore` or of `cachefs stats` with a daemon"
    );
    section.notes.push(
        "What the answers do not hold: which files a prefix match lacked, and which of what was \
         restored was never read. So there is no hit rate by files, and that by bytes is a bound: bytes \
         fetched against bytes restored."
            .to_owned(),
    );
    Ok(section)
}

fn read_answers(path: &Path) -> Result<Vec<RecordedAnswer>> {
    let text = fs::read_to_string(path)?;
    let answers = serde_json::Deserializer::from_str(&text).into_iter();
    Ok(answers.collect::<Result<_, _>>()?)
}

fn add_restores(answers: &[RecordedAnswer], section: &mut ReportSection) {
    let restores: Vec<_> = answers
        .iter()
        .filter_map(|answer| Some((answer.matched.as_deref()?, answer)))
        .collect();
    if restores.is_empty() {
        return;
    }
    let columns = [
        ("restores", Unit::Count),
        ("share", Unit::Share),
        ("median time", Unit::Seconds),
        ("bytes restored", Unit::Bytes),
    ];
    let mut table = Table::new("restores", &columns);
    for kind in ["exact", "prefix", "miss"] {
        let of_kind = || {
            let found = restores.iter().filter(|(matched, _)| *matched == kind);
            found.map(|(_, answer)| *answer)
        };
        let times: Samples = of_kind().map(|answer| answer.duration_ms / 1e3).collect();
        let count = times.len() as f64;
        table.line(
            kind,
            [
                Some(count),
                Some(count / restores.len() as f64),
                times.summary().map(|summary| summary.median),
                Some(of_kind().map(|answer| answer.bytes).sum()),
            ],
        );
    }
    section.tables.push(table);
}

fn add_daemons(answers: &[RecordedAnswer], assumed: &Assumptions, section: &mut ReportSection) {
    let daemons: Vec<_> = answers
        .iter()
        .filter_map(|answer| answer.daemon.as_ref())
        .collect();
    if daemons.is_empty() {
        return;
    }
    let columns = [
        ("daemons", Unit::Count),
        ("fetched on demand", Unit::Bytes),
        ("fetched ahead", Unit::Bytes),
        ("down", Unit::Bytes),
        ("up", Unit::Bytes),
        ("requests", Unit::Count),
        ("cost", Unit::Dollars),
    ];
    let sum = |of: fn(&Daemon) -> f64| daemons.iter().map(|daemon| of(daemon)).sum::<f64>();
    let reads = sum(|daemon| daemon.traffic.gets + daemon.traffic.heads);
    let writes = sum(|daemon| daemon.traffic.puts + daemon.traffic.lists);
    let down = sum(|daemon| daemon.traffic.bytes_in);
    let cost = reads / 1e3 * assumed.price_reads
        + writes / 1e3 * assumed.price_writes
        + down / 1e9 * assumed.price_transfer;
    let mut table = Table::new("daemons, from their start until they were asked", &columns);
    table.line(
        "all",
        [
            Some(daemons.len() as f64),
            Some(sum(|daemon| daemon.reads.demand_bytes)),
            Some(sum(|daemon| daemon.reads.prefetch_bytes)),
            Some(down),
            Some(sum(|daemon| daemon.traffic.bytes_out)),
            Some(reads + writes),
            Some(cost),
        ],
    );
    section.tables.push(table);
}

#[cfg(test)]
mod tests {
    use super::super::cost_account::testing::assumed;
    use super::*;

    #[test]
    fn answers_of_both_commands_are_summed_up() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("answers");
        let text = r#"{"match":"exact","duration_ms":10.0,"bytes":100,"key":"k"}
            {"match":"miss","duration_ms":2.0}
            {"match":"exact","duration_ms":30.0,"bytes":50}
            {"store":"/s","daemon":{"reads":{"demand_bytes":7,"prefetch_bytes":3},
             "traffic":{"gets":4,"lists":1000,"bytes_in":10}}}"#;
        fs::write(&path, text).unwrap();
        let section = sum_up(std::slice::from_ref(&path), &assumed()).unwrap();
        let cells = |table: usize, line: usize| section.tables[table].lines[line].cells.clone();
        let wanted = [Some(2.0), Some(2.0 / 3.0), Some(0.02), Some(150.0)];
        assert_eq!(cells(0, 0), wanted);
        assert_eq!(cells(0, 1)[2], None);
        // Listings cost as much as writes: here a dollar per 1000.
        let daemon = [1.0, 7.0, 3.0, 10.0, 0.0, 1004.0, 1.0].map(Some);
        assert_eq!(cells(1, 0), daemon);

        fs::write(&path, r#"{"daemon":null}"#).unwrap();
        sum_up(std::slice::from_ref(&path), &assumed()).unwrap_err();
        fs::write(&path, "saved").unwrap();
        sum_up(&[path], &assumed()).unwrap_err();
    }
}
