//! Times and sizes as people write them.

use std::time::Duration;

fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let split = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    Some((number.parse().ok()?, unit.trim()))
}

/// Reads a time such as `500ms`, `30s`, `2m`, `12h`, `14d` or `2w`; a number alone is seconds.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let error = || format!("`{text}` is not a time such as 500ms, 30s, 2m or 14d");
    let (number, unit) = number_and_unit(text).ok_or_else(error)?;
    let seconds = match unit {
        "ms" => number / 1000.0,
        "" | "s" => number,
        "sec" | "secs" | "second" | "seconds" => number,
        "m" | "min" | "mins" | "minute" | "minutes" => number * 60.0,
        "h" | "hour" | "hours" => number * 3600.0,
        "d" | "day" | "days" => number * 86_400.0,
        "w" | "week" | "weeks" => number * 604_800.0,
        _ => return Err(error()),
    };
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|time| !time.is_zero())
        .ok_or_else(error)
}

/// Reads a time as [`parse_duration`] does, but not a number alone: what is kept for `14` is meant to
/// be kept for days, and would be gone in seconds.
pub(crate) fn parse_age(text: &str) -> Result<Duration, String> {
    match text
        .trim()
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        true => Err(format!(
            "`{text}` has no unit: write {text}d for days, or {text}h for hours"
        )),
        false => parse_duration(text),
    }
}

pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    let error = || format!("`{text}` is not a size such as 500M or 10G");
    let (number, unit) = number_and_unit(text).ok_or_else(error)?;
    let unit = unit
        .trim_end_matches("iB")
        .trim_end_matches('B')
        .to_ascii_uppercase();
    let shift = match unit.as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(error()),
    };
    let bytes = number * f64::from(shift).exp2();
    if bytes >= 0.0 && bytes < u64::MAX as f64 {
        Ok(bytes as u64)
    } else {
        Err(error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
        assert!(parse_duration("0s").is_err());
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
        assert!(parse_size("10X").is_err());
    }
}
