//! `cachefs check`.

use std::collections::BTreeSet;

use cachefs_store::check::{
    CheckOptions, CheckReport, FindingKind, Repaired, check_repository, repair_keys,
};
use cachefs_store::local::LostPacks;
use cachefs_store::refs::RefName;
use clap::Args;
use serde::Serialize;

use crate::failure::not_found_error;
use crate::global::{Global, OutputFormat};
use crate::hints::word_hint;
use crate::progress::Display;
use crate::{exit, output, setup};

/// Options of `check`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cachefs check
  cachefs check npm- --read-data
  cachefs check --all-scopes --repair")]
pub(crate) struct CheckArgs {
    /// Check only keys with this prefix
    #[arg(value_name = "PREFIX", default_value = "")]
    prefix: String,
    /// Also fetch and verify all data, not only the structure
    #[arg(long)]
    read_data: bool,
    /// Check the keys of all scopes
    #[arg(long)]
    all_scopes: bool,
    /// Delete keys that need a missing or corrupt object, so that the next save stores them again
    #[arg(long)]
    repair: bool,
}

pub(crate) fn run_check(global: &Global, args: &CheckArgs) -> anyhow::Result<u8> {
    let scopes = if args.all_scopes {
        None
    } else {
        Some(vec![setup::own_scope(global)?])
    };
    let options = CheckOptions {
        scopes,
        prefix: args.prefix.clone(),
        read_data: args.read_data,
    };
    let (runtime, remote) = setup::connect_remote(global)?;
    let display = Display::start("checking")?;
    let report = runtime
        .block_on(async { check_repository(&remote.remote, &options, &display.job()).await })
        .map_err(cachefs::Error::from)?;
    drop(display);
    note_damaged(global, &report)?;
    if report.keys == 0 && report.findings.is_empty() && !args.prefix.is_empty() {
        return Err(not_found_error(
            match options.scopes.as_deref() {
                Some([scope, ..]) => {
                    format!("no key in scope {scope} begins with `{}`", args.prefix)
                }
                _ => format!("no key in any scope begins with `{}`", args.prefix),
            },
            Some("`cachefs list` shows the keys of a scope; --all-scopes checks every scope"),
        ));
    }
    let repaired = if args.repair {
        let repaired = runtime.block_on(repair_keys(&remote.remote, &report));
        repaired.map_err(cachefs::Error::from)?
    } else {
        Repaired::default()
    };
    let findings = report.findings.iter();
    let remaining = findings.filter(|it| !(args.repair && it.is_repairable()));
    let remaining = remaining.count();
    match global.format {
        OutputFormat::Json => print_json(&report, &repaired)?,
        _ => print_check(&report, args, &repaired),
    }
    Ok(match remaining {
        0 => exit::SUCCESS,
        _ => exit::INTEGRITY,
    })
}

/// Records damaged packs, so that later saves on this machine do not refer to them.
fn note_damaged(global: &Global, report: &CheckReport) -> anyhow::Result<()> {
    if report.damaged_packs.is_empty() {
        return Ok(());
    }
    let notes = LostPacks::new(setup::open_store(global)?.path());
    for pack in &report.damaged_packs {
        let id = pack.as_str().rsplit('/').next();
        if let Some(id) = id.and_then(|id| id.parse().ok()) {
            notes.add_damaged(&id);
        }
    }
    Ok(())
}

/// Output of `--format json`.
#[derive(Serialize)]
struct PrintedCheck<'a> {
    #[serde(flatten)]
    report: &'a CheckReport,
    /// The keys that `--repair` dropped.
    dropped: &'a BTreeSet<RefName>,
    /// The keys that lost a damaged save and have intact ones.
    reduced: &'a BTreeSet<RefName>,
}

fn print_json(report: &CheckReport, repaired: &Repaired) -> anyhow::Result<()> {
    let mut printed = serde_json::to_value(PrintedCheck {
        report,
        dropped: &repaired.dropped,
        reduced: &repaired.reduced,
    })?;
    for (number, finding) in report.findings.iter().enumerate() {
        printed["findings"][number]["hint"] = word_hint(&finding.hint).into();
    }
    output::print_json(&printed)
}

fn print_check(report: &CheckReport, args: &CheckArgs, repaired: &Repaired) {
    for finding in &report.findings {
        let kind = match finding.kind {
            FindingKind::Missing => "missing",
            FindingKind::Damaged => "damaged",
            FindingKind::Unreadable => "unreadable",
            FindingKind::Unsupported => "newer format",
        };
        output::print_text(&format!("{kind}: {}: {}", finding.object, finding.detail));
        for key in finding.keys.iter().take(5) {
            output::print_text(&format!("  needed by {key}"));
        }
        if finding.keys.len() > 5 {
            output::print_text(&format!("  and by {} more", finding.keys.len() - 5));
        }
        if !(args.repair && finding.is_repairable()) {
            output::print_text(&format!("  hint: {}", word_hint(&finding.hint)));
        }
    }
    for key in &repaired.dropped {
        output::print_text(&format!("dropped {key}"));
    }
    for key in &repaired.reduced {
        output::print_text(&format!(
            "removed a damaged save of {key}; intact ones remain"
        ));
    }
    if args.repair && !report.is_complete && !report.damaged_packs.is_empty() {
        output::print_text(&format!(
            "note: {} with damaged data stay, because other keys may need intact parts of them; `cachefs check --all-scopes --read-data --repair` deletes them",
            output::format_count(report.damaged_packs.len() as u64, "pack")
        ));
    }
    let data = if args.read_data {
        format!(
            "{} and {} of data verified",
            output::format_count(report.frames, "frame"),
            output::format_bytes(report.bytes)
        )
    } else {
        "structure only; --read-data verifies the data too".to_owned()
    };
    output::log_text(&format!(
        "checked {}, {}, {}, {}: {} ({data})",
        output::format_count(report.keys, "key"),
        output::format_count(report.saves, "save"),
        output::format_count(report.layers, "layer"),
        output::format_count(report.packs, "pack"),
        match report.findings.len() {
            0 if report.keys == 0 => "nothing to check".to_owned(),
            0 => "no problems".to_owned(),
            number => output::format_count(number as u64, "problem"),
        },
    ));
}
