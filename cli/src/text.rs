//! Values as text for people: sizes, counts, times, paths, errors.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cachefs_store::remote::RemoteTraffic;

/// An error with its hint, as lines to print.
pub(crate) fn error_lines(severity: &str, message: &str, hint: Option<&str>) -> Vec<String> {
    let hint = hint.map(|hint| format!("  hint: {hint}"));
    std::iter::once(format!("{severity}: {message}"))
        .chain(hint)
        .collect()
}

/// Bytes for people, such as `12.3 MB`.
pub(crate) fn format_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["kB", "MB", "GB", "TB"] {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    match unit {
        "B" => format!("{bytes} B"),
        _ if value < 10.0 => format!("{value:.2} {unit}"),
        _ if value < 100.0 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

/// `1 file`, `2 files`.
pub(crate) fn format_count(number: u64, thing: &str) -> String {
    let plural = match thing.strip_suffix('y') {
        Some(stem) if !stem.ends_with('e') => format!("{stem}ies"),
        _ => format!("{thing}s"),
    };
    if number == 1 {
        format!("1 {thing}")
    } else {
        format!("{number} {plural}")
    }
}

/// A time span for people, such as `12 ms`.
pub(crate) fn format_span(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        seconds if seconds < 60 => format!("{:.1} s", time.as_secs_f64()),
        seconds => format!("{} min {} s", seconds / 60, seconds % 60),
    }
}

/// How long ago a time in microseconds since 1970 was, such as `3 h ago`.
pub(crate) fn format_age(micros: u64) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = now.saturating_sub(Duration::from_micros(micros)).as_secs();
    match seconds {
        0..60 => "just now".to_owned(),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// When a time in microseconds since 1970 is or was, such as `in 13 days (2023-11-14T22:13:20Z)` or
/// `3 h ago (2023-11-14T22:13:20Z)`.
pub(crate) fn format_until(micros: u64) -> String {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let left = Duration::from_micros(micros).saturating_sub(now).as_secs();
    let relative = match left {
        0 => format_age(micros),
        1..60 => format!("in {left} s"),
        60..3600 => format!("in {} min", left / 60),
        3600..172_800 => format!("in {} h", left / 3600),
        _ => format!("in {} days", left / 86_400),
    };
    format!("{relative} ({})", format_utc(micros))
}

/// A time in microseconds since 1970 as RFC 3339, in whole seconds: `2023-11-14T22:13:20Z`.
pub(crate) fn format_utc(micros: u64) -> String {
    // The last time that fits is in the year 9999.
    let seconds = i64::try_from(micros / 1_000_000).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    time.to_string()
}

/// A time in microseconds since 1970 as RFC 3339 with all its digits, such as
/// `2023-11-14T22:13:20.123456Z`.
pub(crate) fn format_timestamp(micros: u64) -> String {
    let micros = i64::try_from(micros).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX);
    time.to_string()
}

/// Requests and bytes, such as `4 requests, 1.2 MB received`.
pub(crate) fn format_traffic(traffic: &RemoteTraffic) -> String {
    let mut text = format_count(traffic.total_requests(), "request");
    if traffic.bytes_in > 0 {
        text.push_str(&format!(", {} received", format_bytes(traffic.bytes_in)));
    }
    if traffic.bytes_out > 0 {
        text.push_str(&format!(", {} sent", format_bytes(traffic.bytes_out)));
    }
    if traffic.retries > 0 {
        text.push_str(&format!(", {}", format_count(traffic.retries, "retry")));
    }
    text
}

/// A path as it can be shown on one line.
pub(crate) fn format_path(path: &Path) -> String {
    path.to_string_lossy()
        .escape_debug()
        .to_string()
        .replace("\\'", "'")
        .replace("\\\"", "\"")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(format_bytes(999), "999 B");
        assert_eq!(format_bytes(1_234_567), "1.23 MB");
        assert_eq!(format_bytes(123_456_789), "123 MB");
        assert_eq!(format_count(1, "file"), "1 file");
        assert_eq!(format_count(2, "entry"), "2 entries");
        assert_eq!(format_count(2, "key"), "2 keys");
        assert_eq!(format_span(Duration::from_millis(12)), "12 ms");
    }

    #[test]
    fn days_of_the_calendar() {
        assert_eq!(format_utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(format_utc(951_782_399_000_000), "2000-02-28T23:59:59Z");
        assert_eq!(format_utc(951_782_400_000_000), "2000-02-29T00:00:00Z");
        assert_eq!(format_utc(1_735_689_599_999_999), "2024-12-31T23:59:59Z");
        assert_eq!(format_utc(4_107_542_400_000_000), "2100-03-01T00:00:00Z");
        assert!(format_utc(u64::MAX).starts_with("9999-12-30T"));
    }
}
