//! The summary of a step, in Markdown.

use super::result::{CacheAction, CacheResult, KeyMatch};
use crate::output::{format_bytes, format_count, format_span};

/// A table with one row per cache.
pub(super) fn markdown_table(results: &[CacheResult]) -> String {
    let verb = match results.first().map(|result| result.action) {
        Some(CacheAction::Save) => "save",
        _ => "restore",
    };
    let mut text = format!("### cachefs {verb}\n\n");
    text.push_str("| cache | result | key | size | time | requests |\n");
    text.push_str("| --- | --- | --- | ---: | ---: | ---: |\n");
    for result in results {
        let cells = [
            escape_cell(result.name.as_deref().unwrap_or(&result.path)),
            outcome_cell(result),
            keys_cell(result),
            size_cell(result),
            format_span(result.elapsed),
            requests_cell(result),
        ];
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text.push('\n');
    for result in results {
        if let Some(remark) = &result.remark {
            text.push_str(&format!(
                "- {}: {}\n",
                code_cell(&result.key),
                escape_cell(remark)
            ));
        }
    }
    text.push('\n');
    text
}

fn outcome_cell(result: &CacheResult) -> String {
    match result.hit {
        Some(KeyMatch::Exact) => "hit".to_owned(),
        Some(KeyMatch::Partial) => "partial hit".to_owned(),
        None if result.result == "failed" => "**failed**".to_owned(),
        Some(KeyMatch::Miss) => "**miss**".to_owned(),
        None => escape_cell(&result.result.replace('_', " ")),
    }
}

fn keys_cell(result: &CacheResult) -> String {
    match &result.matched_key {
        Some(matched) if *matched != result.key => {
            format!(
                "{} instead of {}",
                code_cell(matched),
                code_cell(&result.key)
            )
        }
        _ => code_cell(&result.key),
    }
}

fn size_cell(result: &CacheResult) -> String {
    match result.action {
        CacheAction::Restore if !result.is_found() => String::new(),
        CacheAction::Restore => result.tree.map_or_else(String::new, |tree| {
            format!(
                "{}, {}",
                format_count(tree.files, "file"),
                format_bytes(tree.bytes)
            )
        }),
        CacheAction::Save => {
            let whole = result.tree.map(|tree| format_bytes(tree.bytes) + ", ");
            format!(
                "{}{} new",
                whole.unwrap_or_default(),
                format_bytes(result.new_bytes)
            )
        }
    }
}

fn requests_cell(result: &CacheResult) -> String {
    result.traffic.total_requests().to_string()
}

/// Escapes Markdown and HTML in the text of a cell.
fn escape_cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '!' | '~' => {
                out.push_str(&format!("&#{};", u32::from(c)));
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

fn code_cell(text: &str) -> String {
    format!("<code>{}</code>", escape_cell(text))
}

#[cfg(test)]
mod tests {
    use super::super::testing::restored_result;
    use super::*;

    #[test]
    fn a_row_for_each_cache() {
        let mut partial = restored_result("m2-2", KeyMatch::Partial);
        partial.matched_key = Some("m2-1".to_owned());
        partial.remark = Some("pom.xml has changed".to_owned());
        let text = markdown_table(&[partial, restored_result("npm", KeyMatch::Miss)]);
        let rows: Vec<_> = text.lines().filter(|line| line.starts_with('|')).collect();
        assert_eq!(rows.len(), 4, "{text}");
        assert_eq!(
            rows[2],
            "| /builds/m2-2 | partial hit | <code>m2-1</code> instead of <code>m2-2</code> | \
             10 files, 1.00 kB | 12 ms | 3 |"
        );
        assert!(
            rows[3].contains("| **miss** | <code>npm</code> |  |"),
            "{text}"
        );
        assert!(text.contains("- <code>m2-2</code>: pom.xml has changed"));
    }

    #[test]
    fn a_failure_is_no_miss() {
        let failed = CacheResult {
            hit: None,
            result: "failed",
            remark: Some("no bucket".to_owned()),
            ..restored_result("m2-1", KeyMatch::Miss)
        };
        let text = markdown_table(&[failed]);
        assert!(
            text.contains("| **failed** | <code>m2-1</code> |  | 12 ms | 3 |"),
            "{text}"
        );
        assert!(!text.contains("miss"), "{text}");
    }

    #[test]
    fn keys_are_no_markdown() {
        let text = markdown_table(&[restored_result(
            "a|b`<img src=x>`[l](u)\n| x |",
            KeyMatch::Exact,
        )]);
        let rows = text.lines().filter(|line| line.starts_with('|')).count();
        assert_eq!(rows, 3, "{text}");
        assert!(!text.contains("<img") && !text.contains("[l]"), "{text}");
    }
}
