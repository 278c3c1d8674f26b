//! Line charts of quantities over time, as inline SVG.

use std::fmt::Write;

use super::Curves;
use super::escape::{STYLE, escape_html};

/// Bounds of the plot in SVG units; the scale is labelled to the left.
const LEFT: f64 = 90.0;
const RIGHT: f64 = 780.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 190.0;
/// Size of the chart; curves are labelled to the right of the plot.
const WIDTH: f64 = 980.0;
const HEIGHT: f64 = 215.0;
/// Height of a line of text.
const LINE: f64 = 17.0;
/// Number of colours; further curves reuse them in order.
const COLOURS: usize = 4;

/// Draws curves on a scale that starts at zero.
pub(super) fn draw_curves(curves: &Curves) -> String {
    let end = curves.seconds.last().copied().unwrap_or(0.0).max(1.0);
    let values = curves.curves.iter().flat_map(|curve| &curve.values);
    let most = values.copied().fold(0.0, f64::max);
    let scale = if most > 0.0 {
        (BOTTOM - TOP) / most
    } else {
        0.0
    };
    let mut svg = format!(
        r#"<svg role="img" viewBox="0 0 {WIDTH} {HEIGHT}" aria-label="{}">
<path class="axis" d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}"/>
<text x="{}" y="{}" text-anchor="end">{}</text>
<text x="{}" y="{BOTTOM}" text-anchor="end">0</text>
<text x="{RIGHT}" y="{}" text-anchor="end">{end:.0} s</text>
"#,
        escape_html(&curves.title),
        LEFT - 8.0,
        TOP + 10.0,
        escape_html(&curves.unit.show(most)),
        LEFT - 8.0,
        BOTTOM + LINE,
    );
    for (number, curve) in curves.curves.iter().enumerate() {
        let colour = number % COLOURS;
        let mut path = String::new();
        for (at, (second, value)) in curves.seconds.iter().zip(&curve.values).enumerate() {
            let (x, y) = (LEFT + second / end * (RIGHT - LEFT), BOTTOM - value * scale);
            // Writing to a string cannot fail.
            let _ = write!(path, "{}{x:.1} {y:.1}", if at == 0 { 'M' } else { 'L' });
        }
        let last = curve.values.last().copied().unwrap_or_default();
        let _ = write!(
            svg,
            r#"<path class="curve c{colour}" d="{path}"/>
<text class="c{colour}" x="{}" y="{}">{} {}</text>
"#,
            RIGHT + 12.0,
            TOP + LINE * (number + 1) as f64,
            escape_html(&curve.label),
            escape_html(&curves.unit.show(last)),
        );
    }
    svg + "</svg>\n"
}

/// Draws all charts one below the other, as a self-contained SVG file.
pub(super) fn draw_picture(all: &[Curves]) -> String {
    let each = LINE * 2.0 + HEIGHT;
    let whole = each * all.len() as f64;
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {whole}" width="{WIDTH}" height="{whole}">
<style>{STYLE} svg {{ font-family: system-ui, sans-serif; color: #222; }} .title {{ font-weight: 600; }}</style>
<rect width="100%" height="100%" fill="white"/>
"#
    );
    for (number, curves) in all.iter().enumerate() {
        let top = each * number as f64;
        let _ = write!(
            svg,
            r#"<text class="title" x="8" y="{}">{}</text>
<svg y="{}" width="{WIDTH}" height="{HEIGHT}">
{}</svg>
"#,
            top + LINE,
            escape_html(&curves.title),
            top + LINE * 1.5,
            draw_curves(curves),
        );
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::report;

    #[test]
    fn curves_fill_the_drawing_and_say_how_they_end() {
        let curves = report().sections.remove(0).curves.remove(0);
        let svg = draw_curves(&curves);
        // Values 2, 8 and 4 with a maximum of 8, at 0, 30 and 60 s.
        assert!(
            svg.contains(r#"d="M90.0 145.0L435.0 10.0L780.0 100.0""#),
            "{svg}"
        );
        assert!(svg.contains(">threads 4<") && svg.contains(">60 s<"));
    }

    #[test]
    fn a_picture_has_all_of_them() {
        let curves = report().sections.remove(0).curves.remove(0);
        let both = draw_picture(&[curves.clone(), curves]);
        assert_eq!(both.matches("class=\"title\"").count(), 2);
        assert_eq!(both.matches("<svg").count(), both.matches("</svg>").count());
        assert!(both.contains(r#"height="498""#), "{both}");
    }

    #[test]
    fn nothing_over_no_time_is_drawn_too() {
        let mut curves = report().sections.remove(0).curves.remove(0);
        curves.seconds.clear();
        curves.curves[0].values.clear();
        assert!(draw_curves(&curves).contains(r#"d="""#));
    }
}
