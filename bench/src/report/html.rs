//! The report as a self-contained HTML page: no scripts, and no external fonts or images.

use std::fmt::Write;

use super::chart;
use super::curves;
use super::escape::{STYLE, escape_html};
use super::{BenchReport, ReportSection, RowGroup, Table};
use crate::measure::{Unit, show_ratio};

/// Renders the whole page.
pub(super) fn html_page(report: &BenchReport) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>cachefs benchmarks</title>\n<style>\n{STYLE}</style></head><body>\n\
         <h1>cachefs benchmarks</h1>\n\
         <p>Bars are medians; the line in a bar reaches from the least to the most of the runs. A ratio \
         is to the first row of its group: <span class=\"less\">less</span> is less time or fewer bytes \
         than that, <span class=\"more\">more</span> is more.</p>\n"
    );
    add_machine(&mut page, report);
    add_contents(&mut page, report);
    for (number, section) in report.sections.iter().enumerate() {
        one_section(&mut page, number, section);
    }
    page + "</body></html>\n"
}

/// Appends formatted text; writing to a string cannot fail.
fn append_text(page: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = page.write_fmt(text);
}

fn add_machine(page: &mut String, report: &BenchReport) {
    append_text(
        page,
        format_args!("<h2>The machine</h2>\n<table class=\"facts\">"),
    );
    // Each line of the text form is a fact: name, spaces, value.
    for line in report.machine.to_string().lines() {
        let (name, value) = line.split_once(' ').unwrap_or((line, ""));
        add_fact(page, name, value.trim());
    }
    append_text(page, format_args!("</table>\n"));
}

fn add_contents(page: &mut String, report: &BenchReport) {
    if report.sections.len() < 2 {
        return;
    }
    append_text(page, format_args!("<ul>"));
    for (number, section) in report.sections.iter().enumerate() {
        let title = escape_html(&section.title);
        append_text(
            page,
            format_args!("<li><a href=\"#s{number}\">{title}</a></li>"),
        );
    }
    append_text(page, format_args!("</ul>\n"));
}

fn one_section(page: &mut String, number: usize, section: &ReportSection) {
    let title = escape_html(&section.title);
    append_text(
        page,
        format_args!("<h2 id=\"s{number}\">{title}</h2>\n<table class=\"facts\">"),
    );
    for found in &section.facts {
        add_fact(page, &found.name, &found.value);
    }
    append_text(page, format_args!("</table>\n"));
    for note in &section.notes {
        append_text(
            page,
            format_args!("<p class=\"note\">{}</p>\n", escape_html(note)),
        );
    }
    for group in &section.groups {
        let title = escape_html(&group.title);
        append_text(
            page,
            format_args!("<h3>{title}</h3>\n{}", chart::draw_bars(group)),
        );
        add_samples(page, group);
    }
    for drawn in &section.curves {
        let title = escape_html(&drawn.title);
        append_text(
            page,
            format_args!("<h3>{title}</h3>\n{}", curves::draw_curves(drawn)),
        );
    }
    for found in &section.tables {
        add_table(page, found);
    }
}

fn add_fact(page: &mut String, name: &str, value: &str) {
    let (name, value) = (escape_html(name), escape_html(value));
    append_text(
        page,
        format_args!("<tr><th>{name}</th><td>{value}</td></tr>\n"),
    );
}

/// Adds the samples behind a chart, collapsed by default.
fn add_samples(page: &mut String, group: &RowGroup) {
    append_text(
        page,
        format_args!(
            "<details><summary>numbers</summary><table><tr><th></th><th>median</th><th>least</th>\
             <th>most</th><th>ratio</th><th>runs</th></tr>\n"
        ),
    );
    let shown = |value| escape_html(&group.unit.show(value));
    for row in &group.rows {
        append_text(
            page,
            format_args!(
                "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td><td class=\"{}\">{}</td><td>{}</td></tr>\n",
                escape_html(&row.label),
                shown(row.summary.median),
                shown(row.summary.min),
                shown(row.summary.max),
                chart::ratio_class(row.ratio),
                row.ratio.map(show_ratio).unwrap_or_default(),
                row.samples.len(),
            ),
        );
    }
    append_text(page, format_args!("</table></details>\n"));
}

fn add_table(page: &mut String, table: &Table) {
    let title = escape_html(&table.title);
    append_text(page, format_args!("<h3>{title}</h3>\n<table><tr><th></th>"));
    for column in &table.columns {
        append_text(page, format_args!("<th>{}</th>", escape_html(&column.name)));
    }
    append_text(page, format_args!("</tr>\n"));
    for line in &table.lines {
        append_text(
            page,
            format_args!("<tr><th>{}</th>", escape_html(&line.label)),
        );
        for ((cell, value), column) in table.shown(line).zip(&line.cells).zip(&table.columns) {
            let cell = escape_html(&cell);
            match (column.unit, value) {
                // A share also gets a bar behind its number.
                (Unit::Share, Some(share)) => {
                    let percent = share.clamp(0.0, 1.0) * 100.0;
                    let style = format!("background-size:{percent:.1}% 100%");
                    append_text(
                        page,
                        format_args!("<td class=\"share\" style=\"{style}\">{cell}</td>"),
                    );
                }
                _ => append_text(page, format_args!("<td>{cell}</td>")),
            }
        }
        append_text(page, format_args!("</tr>\n"));
    }
    append_text(page, format_args!("</table>\n"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::report;

    #[test]
    fn the_page_has_everything_and_asks_for_nothing() {
        let page = html_page(&report());
        for wanted in [
            "a comparison",
            "3 files, 5.0 MB",
            "save v1",
            "2.00x",
            "mind this",
            "6.18",
        ] {
            assert!(page.contains(wanted), "{wanted} is missing");
        }
        for unwanted in [
            "http:", "https:", "<script", "src=", "<link", "@import", "url(",
        ] {
            assert!(!page.contains(unwanted), "{unwanted} is in the page");
        }
        // Every opened tag must be closed.
        for tag in ["table", "svg", "details", "tr", "h2", "td"] {
            let count = |start: &str| page.matches(start).count();
            let opened = count(&format!("<{tag} ")) + count(&format!("<{tag}>"));
            assert_eq!(opened, count(&format!("</{tag}>")), "{tag}");
        }
    }

    #[test]
    fn names_from_outside_are_text() {
        assert_eq!(
            escape_html(r#"<a href="x">&"#),
            "&lt;a href=&quot;x&quot;&gt;&amp;"
        );
        assert!(!html_page(&report()).contains("slow <&>"));
    }
}
