//! Records of PAX headers: `LENGTH KEY=VALUE\n`.

use super::failure;
use crate::error::Result;
use crate::layer::Timestamp;

/// A header's records may take this many bytes: the largest attributes, a long name, a sparse map.
pub(super) const LARGEST: u64 = 2 << 20;

/// Records in the order in which they came; the last of a key counts.
#[derive(Debug, Clone, Default)]
pub(super) struct PaxRecords(Vec<(Vec<u8>, Vec<u8>)>);

impl PaxRecords {
    /// Reads a header's records.
    pub(super) fn read(mut bytes: &[u8]) -> Result<Self> {
        let wrong = || failure::damaged("a PAX header does not consist of records");
        let mut records = Vec::new();
        while !bytes.is_empty() {
            let blank = bytes
                .iter()
                .take(20)
                .position(|byte| *byte == b' ')
                .ok_or_else(wrong)?;
            let length: usize = parse_decimal(&bytes[..blank]).ok_or_else(wrong)?;
            let record = bytes
                .get(blank + 1..length)
                .and_then(|record| record.strip_suffix(b"\n"))
                .ok_or_else(wrong)?;
            let equals = record
                .iter()
                .position(|byte| *byte == b'=')
                .ok_or_else(wrong)?;
            records.push((record[..equals].to_vec(), record[equals + 1..].to_vec()));
            bytes = &bytes[length..];
        }
        Ok(Self(records))
    }

    /// Puts the records of a member behind those that hold for all.
    pub(super) fn overlaid(&self, with: Self) -> Self {
        let mut records = self.0.clone();
        records.extend(with.0);
        Self(records)
    }

    /// The value of a key; an empty one counts as not given.
    pub(super) fn get(&self, key: &str) -> Option<&[u8]> {
        self.0
            .iter()
            .rev()
            .find(|(candidate, _)| candidate == key.as_bytes())
            .map(|(_, value)| &value[..])
            .filter(|value| !value.is_empty())
    }

    /// The value of a key that is a number.
    pub(super) fn number(&self, key: &str) -> Result<Option<u64>> {
        let wrong = || failure::damaged(format!("`{key}` in a PAX header is not a number"));
        self.get(key)
            .map(|value| parse_decimal(value).ok_or_else(wrong))
            .transpose()
    }

    /// All records in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(key, value)| (&key[..], &value[..]))
    }
}

/// A decimal number.
pub(super) fn parse_decimal<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    if !digits.first()?.is_ascii_digit() {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Reads a time such as `1700000000.123456789`; digits beyond nanoseconds are cut off.
pub(super) fn parse_timestamp(text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let nanos: u32 = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    // `-1.25` is a quarter before the second that is one before 1970.
    if whole.starts_with('-') && nanos > 0 {
        return Some(Timestamp {
            seconds: seconds.checked_sub(1)?,
            nanos: 1_000_000_000 - nanos,
        });
    }
    Some(Timestamp { seconds, nanos })
}

/// Writes a time as [`parse_timestamp`] reads it.
pub(super) fn timestamp_text(time: Timestamp) -> String {
    let Timestamp { seconds, nanos } = time;
    let (sign, seconds, nanos) = if seconds < 0 && nanos > 0 {
        ("-", -(seconds + 1), 1_000_000_000 - nanos)
    } else {
        ("", seconds, nanos)
    };
    if nanos == 0 {
        return format!("{sign}{seconds}");
    }
    let text = format!("{sign}{seconds}.{nanos:09}");
    text.trim_end_matches('0').to_owned()
}

/// Appends a record.
pub(super) fn push_record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    // The length counts its own digits.
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_are_written() {
        let mut bytes = Vec::new();
        for length in [0, 1, 85, 86, 87, 88, 89, 90, 91, 985, 986, 990, 5000] {
            push_record(&mut bytes, b"key", &vec![b'\n'; length]);
        }
        push_record(&mut bytes, b"SCHILY.xattr.user.a=b", b"=\0=");
        let records = PaxRecords::read(&bytes).unwrap();
        assert_eq!(records.0.len(), 14);
        assert_eq!(records.get("key").unwrap().len(), 5000);
        // Attribute names with an equals sign are ambiguous; the first one ends the key.
        assert_eq!(records.get("SCHILY.xattr.user.a").unwrap(), b"b==\0=");
    }

    #[test]
    fn what_is_no_record_is_an_error() {
        for bytes in [
            &b"9 a=b"[..],
            b"6 a=b",
            b"0 a=b\n",
            b"-6 a=b\n",
            b"99999999999999999999999 a=b\n",
            b"5 ab\n",
            b"a=b\n",
        ] {
            assert!(PaxRecords::read(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn times_keep_nanoseconds_before_1970_too() {
        for (text, seconds, nanos) in [
            ("0", 0, 0),
            ("1700000000.5", 1_700_000_000, 500_000_000),
            ("1700000000.000000001", 1_700_000_000, 1),
            ("-1.25", -2, 750_000_000),
            ("-3", -3, 0),
        ] {
            let time = Timestamp { seconds, nanos };
            assert_eq!(parse_timestamp(text.as_bytes()), Some(time), "{text}");
            assert_eq!(timestamp_text(time), text);
        }
        assert_eq!(parse_timestamp(b"1.0000000019").unwrap().nanos, 1);
        for text in ["", "x", "1.x", "1.-5", ".5", "99999999999999999999"] {
            assert_eq!(parse_timestamp(text.as_bytes()), None, "{text}");
        }
    }
}
