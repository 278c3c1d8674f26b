//! Parses durations and sizes with units.

use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

/// Parses a duration such as `500ms`, `30s`, `2m`, `12h`, `14d` or `2w`; a bare number is in
/// seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let with_unit = match has_unit(text) {
        true => text.trim().to_owned(),
        false => format!("{}s", text.trim()),
    };
    with_unit
        .parse::<Span>()
        .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
        .ok()
        .and_then(|span| Duration::try_from(span).ok())
        .filter(|time| !time.is_zero())
        .ok_or_else(|| format!("`{text}` is not a time such as 500ms, 30s, 1m30s or 14d"))
}

/// Parses a duration like [`parse_duration`], but rejects a bare number: a user who writes `14` for
/// a retention time means days, but would get seconds.
pub(crate) fn parse_age(text: &str) -> Result<Duration, String> {
    match has_unit(text) {
        true => parse_duration(text),
        false => Err(format!(
            "`{text}` has no unit: write {text}d for days, or {text}h for hours"
        )),
    }
}

fn has_unit(text: &str) -> bool {
    !text
        .trim()
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// Parses a size such as `500M`, `1.5GiB` or `10G`. All units are powers of 1,024, as in `du` and
/// in the options of container engines.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    parse_size::Config::new()
        .with_binary()
        .parse_size(text)
        .map_err(|_| format!("`{text}` is not a size such as 500M or 10G"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_duration("30"), Ok(Duration::from_secs(30)));
        // The forms of Go, which drone and Harness use.
        assert_eq!(parse_duration("3m0s"), Ok(Duration::from_secs(180)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("1.5m"), Ok(Duration::from_secs(90)));
        for text in ["0s", "-1s", "1s ago", "s", "1x", "", " ", "1mo", "1y"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_duration("soon").is_err());
        let two_weeks = Ok(Duration::from_secs(14 * 86_400));
        for text in ["14d", "14days", "14 days", "2w", "2 weeks", "336h"] {
            assert_eq!(parse_age(text), two_weeks, "{text}");
        }
        for text in ["14", " 14", "1.5", "0d", "14 moons", ""] {
            assert!(parse_age(text).is_err(), "{text}");
        }
        assert_eq!(parse_size("10G"), Ok(10 << 30));
        assert_eq!(parse_size("1.5KiB"), Ok(1536));
        assert_eq!(parse_size("500M"), Ok(500 << 20));
        assert_eq!(parse_size("500 MB"), Ok(500 << 20));
        assert_eq!(parse_size("4096"), Ok(4096));
        for text in ["10X", "", "M", "-1G", "1e30"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
