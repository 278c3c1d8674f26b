//! Bar charts as inline SVG, with one bar per row of a group.

use std::fmt::Write;

use super::escape::escape_html;
use super::{Row, RowGroup};
use crate::measure::show_ratio;

/// Height of a row, in SVG units.
const ROW: f64 = 24.0;
/// Left end of the bars; labels are to the left.
const LEFT: f64 = 330.0;
/// Length of the longest bar.
const LENGTH: f64 = 400.0;
/// Width of the chart; values are to the right of the bars.
const WIDTH: f64 = 980.0;

/// Draws a group on a scale that starts at zero.
pub(super) fn draw_bars(group: &RowGroup) -> String {
    let longest = group.rows.iter().map(|row| row.summary.max);
    let longest = longest.fold(0.0, f64::max);
    let scale = if longest > 0.0 { LENGTH / longest } else { 0.0 };
    let height = ROW * group.rows.len() as f64;
    let mut svg = format!(
        r#"<svg role="img" viewBox="0 0 {WIDTH} {height}" aria-label="{}">"#,
        escape_html(&group.title)
    );
    for (number, row) in group.rows.iter().enumerate() {
        draw_bar(&mut svg, group, row, number as f64 * ROW, scale);
    }
    svg + "</svg>\n"
}

fn draw_bar(svg: &mut String, group: &RowGroup, row: &Row, top: f64, scale: f64) {
    let class = ratio_class(row.ratio);
    let (text, middle) = (top + 16.0, top + ROW / 2.0);
    let length = row.summary.median * scale;
    let [least, most] = [row.summary.min, row.summary.max].map(|end| LEFT + end * scale);
    let number = group.unit.show(row.summary.median);
    let ratio = row.ratio.map(show_ratio).unwrap_or_default();
    let (bar, after) = (top + 4.0, most.max(LEFT + length) + 8.0);
    // Writing to a string cannot fail.
    let _ = write!(
        svg,
        r#"<text x="{}" y="{text}" text-anchor="end">{}</text>
<rect class="{class}" x="{LEFT}" y="{bar}" width="{length:.1}" height="{}"/>
<path class="range" d="M{least:.1} {middle}H{most:.1}"/>
<text x="{after:.1}" y="{text}">{number} <tspan class="{class}">{ratio}</tspan></text>
"#,
        LEFT - 10.0,
        escape_html(&row.label),
        ROW - 8.0,
    );
}

/// The CSS class for a ratio to the reference. Less is better; the classes differ only in colour.
pub(super) fn ratio_class(ratio: Option<f64>) -> &'static str {
    match ratio {
        None => "reference",
        Some(ratio) if ratio <= 0.95 => "less",
        Some(ratio) if ratio < 1.05 => "even",
        Some(_) => "more",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::report;

    #[test]
    fn bars_are_as_long_as_their_medians_and_losses_are_marked() {
        let svg = draw_bars(&report().sections[0].groups[0]);
        // The longest row takes 6 s and is 400 units long.
        assert!(
            svg.contains(r#"<rect class="reference" x="330" y="4" width="200.0""#),
            "{svg}"
        );
        assert!(
            svg.contains(r#"<rect class="less" x="330" y="28" width="100.0""#),
            "{svg}"
        );
        assert!(
            svg.contains(r#"<rect class="more" x="330" y="52" width="400.0""#),
            "{svg}"
        );
        assert!(svg.contains("slow &lt;&amp;&gt;") && svg.contains("2.00x"));
        assert_eq!(ratio_class(Some(1.0)), "even");
    }

    #[test]
    fn a_group_of_nothing_is_drawn_too() {
        let mut group = report().sections.remove(0).groups.remove(0);
        group.rows = vec![crate::report::testing::row("none", &[0.0], None)];
        assert!(draw_bars(&group).contains(r#"width="0.0""#));
    }
}
