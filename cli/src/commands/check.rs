//! `cachefs check`.

use cachefs_store::check::{CheckOptions, CheckReport, FindingKind, check};
use clap::Args;

use crate::args::{Format, Global};
use crate::progress::Display;
use crate::{exit, output, setup};

/// Options of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Only keys that start with this
    #[arg(value_name = "PREFIX", default_value = "")]
    prefix: String,
    /// Fetch and verify all data too, not only the structure
    #[arg(long)]
    read_data: bool,
    /// Check the keys of every scope
    #[arg(long)]
    all_scopes: bool,
}

pub(crate) fn run(global: &Global, args: &CheckArgs) -> anyhow::Result<u8> {
    let scopes = if args.all_scopes {
        None
    } else {
        Some(vec![setup::scope(global)?])
    };
    let options = CheckOptions {
        scopes,
        prefix: args.prefix.clone(),
        read_data: args.read_data,
    };
    let (runtime, remote) = setup::remote(global)?;
    let display = Display::start("checking")?;
    let report = runtime
        .block_on(async { check(&remote.remote, &options, &display.job()).await })
        .map_err(cachefs::Error::from)?;
    drop(display);
    match global.format {
        Format::Json => output::print_json(&report)?,
        Format::Text => print(&report, args.read_data),
    }
    Ok(if report.findings.is_empty() {
        exit::SUCCESS
    } else {
        exit::INTEGRITY
    })
}

fn print(report: &CheckReport, read_data: bool) {
    for finding in &report.findings {
        let kind = match finding.kind {
            FindingKind::Missing => "missing",
            FindingKind::Damaged => "damaged",
            FindingKind::Unreadable => "unreadable",
            FindingKind::Unsupported => "newer format",
        };
        output::print(&format!("{kind}: {}: {}", finding.object, finding.detail));
        for key in finding.keys.iter().take(5) {
            output::print(&format!("  needed by {key}"));
        }
        if finding.keys.len() > 5 {
            output::print(&format!("  and by {} more", finding.keys.len() - 5));
        }
        output::print(&format!("  hint: {}", finding.hint));
    }
    let data = if read_data {
        format!(
            "{} and {} of data verified",
            output::count(report.frames, "frame"),
            output::bytes(report.bytes)
        )
    } else {
        "structure only; --read-data verifies the data too".to_owned()
    };
    output::say(&format!(
        "checked {}, {}, {}, {}: {} ({data})",
        output::count(report.keys, "key"),
        output::count(report.saves, "save"),
        output::count(report.layers, "layer"),
        output::count(report.packs, "pack"),
        match report.findings.len() {
            0 => "nothing is wrong".to_owned(),
            number => output::count(number as u64, "problem"),
        },
    ));
}
