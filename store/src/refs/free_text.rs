//! The free text of records: others wrote it, and commands print it.

use super::creator::{Creator, Platform};

/// The name of a member that no record has which this program writes: its text could move a
/// terminal's cursor, or begin a line that a CI system takes for a command.
pub(super) fn find_unprintable<'a>(
    mut creators: impl Iterator<Item = &'a Creator>,
    platform: &Platform,
    mut roles: impl Iterator<Item = &'a str>,
) -> Option<&'static str> {
    creators
        .find_map(of_creator)
        .or_else(|| of_platform(platform))
        .or_else(|| roles.any(is_unprintable).then_some("role"))
}

fn of_creator(creator: &Creator) -> Option<&'static str> {
    let members = [
        ("creator.host", Some(&creator.host)),
        ("creator.version", Some(&creator.version)),
        ("creator.job", creator.job.as_ref()),
    ];
    first_unprintable(members)
}

fn of_platform(platform: &Platform) -> Option<&'static str> {
    let members = [
        ("platform.os", Some(&platform.os)),
        ("platform.arch", Some(&platform.arch)),
        ("platform.libc", platform.libc.as_ref()),
    ];
    first_unprintable(members)
}

fn first_unprintable(members: [(&'static str, Option<&String>); 3]) -> Option<&'static str> {
    let found = members
        .into_iter()
        .find(|(_, text)| text.is_some_and(|text| is_unprintable(text)));
    found.map(|(name, _)| name)
}

/// Drops the inputs of a key if they contain a control character. Inputs only explain misses, and a
/// file name may contain such a character, so the save continues without them.
pub(super) fn drop_unprintable(parts: &mut serde_json::Value) {
    let mut pending = vec![&*parts];
    let mut is_bad = false;
    while let Some(value) = pending.pop() {
        match value {
            serde_json::Value::String(text) => is_bad |= is_unprintable(text),
            serde_json::Value::Array(values) => pending.extend(values),
            serde_json::Value::Object(members) => {
                is_bad |= members.keys().any(|name| is_unprintable(name));
                pending.extend(members.values());
            }
            _ => {}
        }
    }
    if is_bad {
        *parts = serde_json::Value::Null;
    }
}

/// Whether a text has a control character, or one of the separators that some readers take for the
/// end of a line.
fn is_unprintable(text: &str) -> bool {
    let is_bad = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    text.contains(is_bad)
}

impl Creator {
    /// The same without characters that [`RefRecord::decode`](super::RefRecord::decode) refuses.
    #[must_use]
    pub fn printable(self) -> Self {
        Self {
            host: escape_unprintable(self.host),
            version: escape_unprintable(self.version),
            job: self.job.map(escape_unprintable),
        }
    }
}

fn escape_unprintable(text: String) -> String {
    match is_unprintable(&text) {
        true => text
            .chars()
            .map(|c| {
                if is_unprintable(c.encode_utf8(&mut [0; 4])) {
                    ' '
                } else {
                    c
                }
            })
            .collect(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::RefRecord;
    use super::super::{Key, LayerInfo, RefName, Scope};
    use super::*;
    use crate::error::Error;
    use crate::id::LayerId;
    use crate::layer::LayerSummary;

    fn record() -> RefRecord {
        let name = RefName::new(Scope::new("s").unwrap(), Key::new("k").unwrap());
        let layer = LayerInfo {
            id: LayerId([1; 32]),
            length: 1,
            summary: LayerSummary::default(),
            new_bytes: 1,
            contains: Vec::new(),
            created: 1,
            key: Key::new("k").unwrap(),
            role: None,
            creator: Creator::default(),
        };
        RefRecord::new(name, vec![layer], Creator::default(), Platform::default())
    }

    fn decoded(record: &RefRecord) -> Result<RefRecord, Error> {
        RefRecord::decode(&record.name().record(&record.id), &record.encode().unwrap())
    }

    #[test]
    fn a_record_with_a_command_in_its_text_is_refused() {
        for bad in [
            "a\n##vso[task.complete]",
            "b\r::stop-commands::x",
            "\x1b[2K",
            "a\u{85}b",
            "\u{2028}",
        ] {
            let changes: [fn(&mut RefRecord) -> &mut String; 7] = [
                |it| &mut it.creator.host,
                |it| &mut it.creator.version,
                |it| it.creator.job.get_or_insert_default(),
                |it| &mut it.platform.os,
                |it| it.platform.libc.get_or_insert_default(),
                |it| it.layers[0].role.get_or_insert_default(),
                |it| &mut it.layers[0].creator.host,
            ];
            for change in changes {
                let mut record = record();
                *change(&mut record) = bad.to_owned();
                assert!(
                    matches!(decoded(&record), Err(Error::Damaged { .. })),
                    "{record:?}"
                );
            }
        }
        let mut fine = record();
        fine.creator.job = Some("build / Zoë 👩\u{200d}💻".to_owned());
        assert_eq!(decoded(&fine).unwrap(), fine);
    }

    #[test]
    fn parts_with_a_command_in_them_are_not_shown_and_stop_nothing() {
        for parts in [
            json!([{ "name": "x\n##vso[task.complete]" }]),
            json!({ "a\rb": [1, 2] }),
            json!([[["\x1b"]]]),
        ] {
            let mut record = record();
            record.parts = parts;
            assert!(decoded(&record).unwrap().parts.is_null());
        }
        let mut fine = record();
        fine.parts = json!([{ "name": "m2-", "files": [] }]);
        assert_eq!(decoded(&fine).unwrap(), fine);
    }

    #[test]
    fn what_is_written_can_be_read() {
        let mut record = record();
        record.creator = Creator {
            host: "a\tb".to_owned(),
            version: "1".to_owned(),
            job: Some("x\r\ny".to_owned()),
        }
        .printable();
        assert_eq!(
            decoded(&record).unwrap().creator.job.as_deref(),
            Some("x  y")
        );
    }
}
