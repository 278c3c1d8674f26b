//! Prints findings: the location and kind of a secret, never the secret itself.

use std::collections::BTreeMap;

use cachefs_store::save::{SaveOutcome, SaveReport};
use cachefs_store::secrets::{SecretFinding, SecretHandling};
use serde::Serialize;

use crate::output;

/// The number of findings that are listed without `--verbose`.
const LISTED: usize = 20;

/// A finding in the output of `--format json`.
#[derive(Debug, Serialize)]
pub(crate) struct PrintedSecret<'a> {
    path: String,
    line: Option<u64>,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    variable: Option<&'a str>,
    /// Whether its value is a known credential, rather than a string in the format of one.
    certain: bool,
    /// How the save treated the file.
    file: &'static str,
    /// Whether the cache has an earlier version of the file.
    replaces: bool,
}

pub(super) fn printed_secrets(findings: &[SecretFinding]) -> Vec<PrintedSecret<'_>> {
    findings.iter().map(PrintedSecret::from).collect()
}

impl<'a> From<&'a SecretFinding> for PrintedSecret<'a> {
    fn from(finding: &'a SecretFinding) -> Self {
        Self {
            path: output::format_path(&finding.path),
            line: finding.line,
            kind: finding.kind.id,
            variable: finding.variable.as_deref(),
            certain: finding.certain,
            file: match finding.fate {
                SecretHandling::LeftOut => "left_out",
                SecretHandling::Refused => "refused",
                SecretHandling::Saved => "saved",
                SecretHandling::Allowed => "allowed",
            },
            replaces: finding.replaces,
        }
    }
}

/// The messages about the findings of a save.
pub(super) fn secret_lines(report: &SaveReport, verbose: bool) -> Vec<String> {
    let of = |fate| -> Vec<&SecretFinding> {
        let findings = report.findings.iter();
        findings.filter(|finding| finding.fate == fate).collect()
    };
    let mut lines = Vec::new();
    let refused = of(SecretHandling::Refused);
    if !refused.is_empty() {
        lines.push(format!(
            "error: not saved, because secrets were found in {}:",
            files_text(&refused)
        ));
        list_findings(&mut lines, &refused, verbose);
        lines.push(findings_hint(&refused));
    }
    let left_out = of(SecretHandling::LeftOut);
    if !left_out.is_empty() {
        let would_be = match report.outcome {
            SaveOutcome::WouldSave => "would be ",
            _ => "",
        };
        lines.push(format!(
            "warning: {} {would_be}skipped, because secrets were found:",
            files_text(&left_out)
        ));
        list_findings(&mut lines, &left_out, verbose);
        lines.push(findings_hint(&left_out));
    }
    let (certain, saved): (Vec<_>, Vec<_>) = of(SecretHandling::Saved)
        .into_iter()
        .partition(|finding| finding.certain);
    if !certain.is_empty() {
        lines.push(format!(
            "warning: secrets were found in {}; anyone who restores the cache can read them:",
            files_text(&certain)
        ));
        list_findings(&mut lines, &certain, verbose);
    }
    if !saved.is_empty() {
        lines.push(format!(
            "note: {} found and saved, because packages contain many test keys; -v lists {}, and --secrets skip skips such files",
            kinds_text(&saved),
            if saved.len() == 1 { "it" } else { "them" },
        ));
        if verbose {
            list_findings(&mut lines, &saved, verbose);
        }
    }
    let allowed = of(SecretHandling::Allowed);
    if !allowed.is_empty() {
        let more = if verbose { ":" } else { "; -v lists them" };
        lines.push(format!(
            "note: {} in files that --secrets-allow matches{more}",
            kinds_text(&allowed)
        ));
        if verbose {
            list_findings(&mut lines, &allowed, verbose);
        }
    }
    lines
}

/// Formats the number of files: `2 files`.
fn files_text(findings: &[&SecretFinding]) -> String {
    let mut paths: Vec<_> = findings.iter().map(|finding| &finding.path).collect();
    paths.sort_unstable();
    paths.dedup();
    output::format_count(paths.len() as u64, "file")
}

/// Formats the kinds of secrets: `14 × private key, 1 × npm token`.
fn kinds_text(findings: &[&SecretFinding]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for finding in findings {
        *counts.entry(finding.kind.name).or_default() += 1;
    }
    let each = counts
        .iter()
        .map(|(name, count)| format!("{count} × {name}"));
    each.collect::<Vec<_>>().join(", ")
}

fn list_findings(lines: &mut Vec<String>, findings: &[&SecretFinding], verbose: bool) {
    let listed = if verbose { findings.len() } else { LISTED };
    for finding in findings.iter().take(listed) {
        let path = output::format_path(&finding.path);
        let line = finding
            .line
            .map_or_else(String::new, |line| format!(":{line}"));
        let kind = match &finding.variable {
            Some(name) => format!("value of ${name}"),
            None => finding.kind.name.to_owned(),
        };
        let stays = if finding.replaces && finding.fate == SecretHandling::LeftOut {
            " (the cache keeps its older version)"
        } else {
            ""
        };
        lines.push(format!("  {path}{line}: {kind}{stays}"));
    }
    if findings.len() > listed {
        lines.push(format!(
            "  and {} more; -v lists them",
            findings.len() - listed
        ));
    }
}

fn findings_hint(findings: &[&SecretFinding]) -> String {
    match findings.iter().find(|finding| finding.variable.is_none()) {
        Some(finding) => format!(
            "  hint: keep credentials out of cached directories, or save the file with --secrets-allow '/{}'",
            output::format_path(&finding.path)
        ),
        None => "  hint: prevent the build from writing the value, or remove it from --secret-env"
            .to_owned(),
    }
}
