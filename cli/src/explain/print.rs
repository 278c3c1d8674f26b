//! Prints an explanation as text.

use super::compare::InputDifference;
use super::miss::{Explanation, Near, ScopeReport};
use crate::output;

/// Number of digits of a hash to print.
const DIGITS: usize = 12;

/// Prints an explanation to standard output.
pub(crate) fn print_explanation(explanation: &Explanation) {
    for line in explanation_lines(explanation) {
        output::print_text(&line);
    }
}

fn explanation_lines(it: &Explanation) -> Vec<String> {
    let mut lines = Vec::new();
    match (it.matched, &it.matched_key, &it.matched_scope) {
        ("exact", _, Some(scope)) => {
            lines.push(format!("hit           {} (scope {scope})", it.key))
        }
        ("prefix", Some(key), Some(scope)) => {
            lines.push(format!("miss          {}", it.key));
            lines.push(format!("would use     {key} (scope {scope}), by prefix"));
        }
        _ => lines.push(format!("miss          {}", it.key)),
    }
    if let Some(lost) = &it.lost {
        lines.push(format!("lost          {lost}"));
    }
    for prefix in &it.prefixes {
        lines.push(format!("prefix        {prefix}"));
    }
    for scope in &it.searched {
        lines.push(format!("searched      {}", scope_line(scope)));
    }
    for scope in &it.not_searched {
        lines.push(format!("not searched  {}", scope_line(scope)));
        if scope.expired {
            continue;
        }
        lines.push(format!(
            "              --fallback-scope {} would find it, if this build may use it",
            scope.scope
        ));
    }
    if let Some(why) = &it.others_unknown {
        lines.push(format!("other scopes  unknown: {why}"));
    }
    if !it.all_listed {
        lines.push("note          only a part of the keys was listed and compared".into());
    }
    for key in &it.other_platform {
        lines.push(format!("differs only by case or platform: {key}"));
    }
    if it.matched == "exact" {
        return lines;
    }
    if it.nearest.is_empty() && it.lost.is_none() {
        lines.push("nearest       no similar key".to_owned());
    }
    for (number, near) in it.nearest.iter().enumerate() {
        lines.push(String::new());
        lines.extend(near_lines(number + 1, near));
    }
    lines
}

fn scope_line(scope: &ScopeReport) -> String {
    let keys = output::format_count(scope.keys as u64, "key");
    match (&scope.matched_key, scope.saved_micros) {
        (Some(key), Some(micros)) => {
            let age = output::format_age(micros);
            let end = match scope.expires_micros {
                Some(expires) if scope.expired => {
                    format!(", expired {}", output::format_until(expires))
                }
                Some(expires) => format!(", expires {}", output::format_until(expires)),
                None => String::new(),
            };
            format!("{}: {keys}; has {key}, saved {age}{end}", scope.scope)
        }
        _ => format!("{}: {keys}, no match", scope.scope),
    }
}

fn near_lines(number: usize, near: &Near) -> Vec<String> {
    let by = match &near.job {
        Some(job) => format!("job {job} on {}", near.host),
        None => near.host.clone(),
    };
    let scope = match near.searched {
        true => format!("scope {}", near.scope),
        false => format!("scope {}, not searched", near.scope),
    };
    let expired = if near.expired { ", expired" } else { "" };
    let mut lines = vec![format!(
        "{number}. {} ({scope}), saved {} by {by}{expired}",
        near.key,
        output::format_age(near.saved_micros)
    )];
    match (near.inputs_agree, near.inputs) {
        (Some(agree), Some(inputs)) if inputs > 0 => {
            lines.push(format!(
                "   {agree} of {} agree",
                output::format_count(inputs as u64, "input")
            ));
        }
        (Some(_), _) => {}
        _ => lines.push("   its inputs are not recorded".to_owned()),
    }
    for difference in near.differences.iter().take(20) {
        lines.push(format!("   {}", difference_detail(difference)));
    }
    if near.differences.len() > 20 {
        lines.push(format!("   and {} more", near.differences.len() - 20));
    }
    lines
}

fn difference_detail(difference: &InputDifference) -> String {
    let words = difference.words();
    match difference {
        InputDifference::FileChanged {
            blake3: Some(is),
            blake3_saved: Some(was),
            bytes,
            bytes_saved,
            ..
        } => format!(
            "{words}: {} ({}) then, {} ({}) now",
            shorten_hash(was),
            output::format_bytes(*bytes_saved),
            shorten_hash(is),
            output::format_bytes(*bytes),
        ),
        InputDifference::FileAdded { bytes, .. } => {
            format!("{words} ({})", output::format_bytes(*bytes))
        }
        InputDifference::FileRemoved { bytes_saved, .. } => {
            format!("{words} ({})", output::format_bytes(*bytes_saved))
        }
        _ => words,
    }
}

fn shorten_hash(hash: &str) -> &str {
    hash.get(..DIGITS).unwrap_or(hash)
}
