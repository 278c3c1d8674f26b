//! The `Range` header of requests for blobs.

use std::ops::Range;

/// The requested part of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RequestedRange {
    /// All of it: there is no header, or one that we may ignore, such as several ranges.
    All,
    /// These bytes.
    Part(Range<u64>),
    /// Bytes that the resource does not have.
    Unsatisfiable,
}

/// Parses the value of a header for a resource of `size` bytes (RFC 9110, section 14.2).
pub(super) fn parse_range(value: Option<&str>, size: u64) -> RequestedRange {
    let Some(range) = value.and_then(|value| value.strip_prefix("bytes=")) else {
        return RequestedRange::All;
    };
    let Some((first, last)) = range.split_once('-') else {
        return RequestedRange::All;
    };
    let range = match (first.trim().parse::<u64>(), last.trim().parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Ok(first), Err(_)) if last.trim().is_empty() => first..size,
        (Err(_), Ok(length)) if first.trim().is_empty() => size.saturating_sub(length)..size,
        _ => return RequestedRange::All,
    };
    if range.is_empty() {
        return RequestedRange::Unsatisfiable;
    }
    RequestedRange::Part(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_clipped_to_the_resource() {
        for (value, expected) in [
            ("bytes=0-9", RequestedRange::Part(0..10)),
            ("bytes=90-", RequestedRange::Part(90..100)),
            ("bytes=90-1000", RequestedRange::Part(90..100)),
            ("bytes=-10", RequestedRange::Part(90..100)),
            ("bytes=-1000", RequestedRange::Part(0..100)),
            ("bytes=100-", RequestedRange::Unsatisfiable),
            ("bytes=-0", RequestedRange::Unsatisfiable),
            ("bytes=0-18446744073709551615", RequestedRange::Part(0..100)),
            ("bytes=0-1,5-6", RequestedRange::All),
            ("bytes=9-1", RequestedRange::All),
            ("items=0-1", RequestedRange::All),
        ] {
            assert_eq!(parse_range(Some(value), 100), expected, "{value}");
        }
        assert_eq!(parse_range(None, 100), RequestedRange::All);
    }
}
