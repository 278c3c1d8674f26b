//! What is printed about secrets: where and of what kind, never what they are.

use std::collections::BTreeMap;

use cachefs::save::{Outcome, Report};
use cachefs_store::secrets::{Fate, Finding};
use serde::Serialize;

use crate::output;

/// So many findings are listed, unless more is asked for.
const LISTED: usize = 20;

/// A finding with `--format json`.
#[derive(Debug, Serialize)]
pub(super) struct Printed<'a> {
    path: String,
    line: Option<u64>,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    variable: Option<&'a str>,
    /// What became of the file.
    file: &'static str,
    /// Whether the cache has an earlier version of it.
    replaces: bool,
}

pub(super) fn printed(findings: &[Finding]) -> Vec<Printed<'_>> {
    findings.iter().map(Printed::from).collect()
}

impl<'a> From<&'a Finding> for Printed<'a> {
    fn from(finding: &'a Finding) -> Self {
        Self {
            path: output::path(&finding.path),
            line: finding.line,
            kind: finding.kind.id,
            variable: finding.variable.as_deref(),
            file: match finding.fate {
                Fate::LeftOut => "left_out",
                Fate::Refused => "refused",
                Fate::Saved => "saved",
                Fate::Allowed => "allowed",
                Fate::Published => "published",
            },
            replaces: finding.replaces,
        }
    }
}

/// What people are told about what was found.
pub(super) fn lines(report: &Report, verbose: bool) -> Vec<String> {
    let of = |fate| -> Vec<&Finding> {
        let findings = report.findings.iter();
        findings.filter(|finding| finding.fate == fate).collect()
    };
    let mut lines = Vec::new();
    let refused = of(Fate::Refused);
    if !refused.is_empty() {
        lines.push(format!(
            "error: nothing is saved, because secrets were found in {}:",
            files(&refused)
        ));
        list(&mut lines, &refused, verbose);
        lines.push(hint(&refused));
    }
    let left_out = of(Fate::LeftOut);
    if !left_out.is_empty() {
        let would_be = match report.outcome {
            Outcome::WouldSave => "would be ",
            _ => "",
        };
        lines.push(format!(
            "warning: {} {would_be}left out of the cache, because secrets were found:",
            files(&left_out)
        ));
        list(&mut lines, &left_out, verbose);
        lines.push(hint(&left_out));
    }
    let saved = of(Fate::Saved);
    if !saved.is_empty() {
        lines.push(format!(
            "warning: secrets were found in {}, and whoever restores the cache can read them:",
            files(&saved)
        ));
        list(&mut lines, &saved, verbose);
    }
    for (fate, place) in [
        (Fate::Allowed, "files that --secrets-allow names"),
        (Fate::Published, "published packages"),
    ] {
        let kept = of(fate);
        if kept.is_empty() {
            continue;
        }
        let more = if verbose { ":" } else { "; -v lists them" };
        lines.push(format!("note: saved {} in {place}{more}", kinds(&kept)));
        if verbose {
            list(&mut lines, &kept, verbose);
        }
    }
    lines
}

/// `2 files`.
fn files(findings: &[&Finding]) -> String {
    let mut paths: Vec<_> = findings.iter().map(|finding| &finding.path).collect();
    paths.sort_unstable();
    paths.dedup();
    output::count(paths.len() as u64, "file")
}

/// `14 × private key, 1 × token of npm`.
fn kinds(findings: &[&Finding]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for finding in findings {
        *counts.entry(finding.kind.what).or_default() += 1;
    }
    let each = counts
        .iter()
        .map(|(what, count)| format!("{count} × {what}"));
    each.collect::<Vec<_>>().join(", ")
}

fn list(lines: &mut Vec<String>, findings: &[&Finding], verbose: bool) {
    let listed = if verbose { findings.len() } else { LISTED };
    for finding in findings.iter().take(listed) {
        let path = output::path(&finding.path);
        let line = finding
            .line
            .map_or_else(String::new, |line| format!(":{line}"));
        let what = match &finding.variable {
            Some(name) => format!("value of ${name}"),
            None => finding.kind.what.to_owned(),
        };
        let stays = if finding.replaces && finding.fate == Fate::LeftOut {
            " (the cache keeps the older version that it has)"
        } else {
            ""
        };
        lines.push(format!("  {path}{line}: {what}{stays}"));
    }
    if findings.len() > listed {
        lines.push(format!(
            "  and {} more; -v lists them",
            findings.len() - listed
        ));
    }
}

fn hint(findings: &[&Finding]) -> String {
    match findings.iter().find(|finding| finding.variable.is_none()) {
        Some(finding) => format!(
            "  hint: keep secrets out of what is cached; to save a file all the same, use --secrets-allow '/{}'",
            output::path(&finding.path)
        ),
        None => "  hint: have the build not write the value, or do not name it with --secret-env"
            .to_owned(),
    }
}
