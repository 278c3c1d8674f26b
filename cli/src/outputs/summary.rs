//! The summary of a step, in Markdown.

use super::cost::dollars;
use super::result::{Action, CacheResult, Hit};
use crate::output::{bytes, count, span};

/// A table with a row for each cache.
pub(super) fn markdown(results: &[CacheResult]) -> String {
    let verb = match results.first().map(|result| result.action) {
        Some(Action::Save) => "save",
        _ => "restore",
    };
    let mut text = format!("### cachefs {verb}\n\n");
    text.push_str("| cache | result | key | size | time | requests |\n");
    text.push_str("| --- | --- | --- | ---: | ---: | ---: |\n");
    for result in results {
        let cells = [
            cell(result.name.as_deref().unwrap_or(&result.path)),
            outcome(result),
            keys(result),
            size(result),
            span(result.elapsed),
            requests(result),
        ];
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text.push('\n');
    for result in results {
        if let Some(remark) = &result.remark {
            text.push_str(&format!("- {}: {}\n", code(&result.key), cell(remark)));
        }
    }
    text.push('\n');
    text
}

fn outcome(result: &CacheResult) -> String {
    match result.hit {
        Some(Hit::Exact) => "hit".to_owned(),
        Some(Hit::Partial) => "partial hit".to_owned(),
        None if result.result == "failed" => "**failed**".to_owned(),
        Some(Hit::Miss) => "**miss**".to_owned(),
        None => cell(&result.result.replace('_', " ")),
    }
}

fn keys(result: &CacheResult) -> String {
    match &result.matched_key {
        Some(matched) if *matched != result.key => {
            format!("{} instead of {}", code(matched), code(&result.key))
        }
        _ => code(&result.key),
    }
}

fn size(result: &CacheResult) -> String {
    match result.action {
        Action::Restore if !result.is_found() => String::new(),
        Action::Restore => result.tree.map_or_else(String::new, |tree| {
            format!("{}, {}", count(tree.files, "file"), bytes(tree.bytes))
        }),
        Action::Save => {
            let whole = result.tree.map(|tree| bytes(tree.bytes) + ", ");
            format!(
                "{}{} new",
                whole.unwrap_or_default(),
                bytes(result.new_bytes)
            )
        }
    }
}

fn requests(result: &CacheResult) -> String {
    let mut text = result.traffic.total_requests().to_string();
    if let Some(cost) = result.cost {
        text.push_str(&format!(" ({})", dollars(cost)));
    }
    text
}

/// Text in a cell: nothing in it is Markdown or HTML.
fn cell(text: &str) -> String {
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

fn code(text: &str) -> String {
    format!("<code>{}</code>", cell(text))
}

#[cfg(test)]
mod tests {
    use super::super::testing::restored;
    use super::*;

    #[test]
    fn a_row_for_each_cache() {
        let mut partial = restored("m2-2", Hit::Partial);
        partial.matched_key = Some("m2-1".to_owned());
        partial.remark = Some("pom.xml has changed".to_owned());
        partial.cost = Some(0.0012);
        let text = markdown(&[partial, restored("npm", Hit::Miss)]);
        let rows: Vec<_> = text.lines().filter(|line| line.starts_with('|')).collect();
        assert_eq!(rows.len(), 4, "{text}");
        assert_eq!(
            rows[2],
            "| /builds/m2-2 | partial hit | <code>m2-1</code> instead of <code>m2-2</code> | \
             10 files, 1.00 kB | 12 ms | 3 ($0.0012) |"
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
            ..restored("m2-1", Hit::Miss)
        };
        let text = markdown(&[failed]);
        assert!(
            text.contains("| **failed** | <code>m2-1</code> |  | 12 ms | 3 |"),
            "{text}"
        );
        assert!(!text.contains("miss"), "{text}");
    }

    #[test]
    fn keys_are_no_markdown() {
        let text = markdown(&[restored("a|b`<img src=x>`[l](u)\n| x |", Hit::Exact)]);
        let rows = text.lines().filter(|line| line.starts_with('|')).count();
        assert_eq!(rows, 3, "{text}");
        assert!(!text.contains("<img") && !text.contains("[l]"), "{text}");
    }
}
