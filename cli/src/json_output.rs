//! The one JSON object that every command prints with `--format json`.
//!
//! A command prints its object with [`print_object()`]. When it ends without one, because it failed
//! or has none, [`print_end`] and [`print_failure`] print one instead: a script can always parse
//! standard output. Nothing else reaches standard output meanwhile; [`keep_line`] takes plain lines
//! of results, which become a member of that object.

use std::ffi::OsStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::Mutex;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::failure::CommandFailure;
use crate::{exit, stdout, text};

/// The version of everything printed with `--format json`.
pub(crate) const VERSION: u32 = 1;

/// Decimals that are kept of a number: nanoseconds of a time, and a thousandth of a request's
/// price.
const DECIMALS: f64 = 1e9;

/// Renamed members, as new name and old name, if the new name is unique to its objects; other renamed
/// members have a field of the old name beside them. Old names stay for one release. The old form
/// of a time is a number: microseconds since 1970.
const OLD_NAMES: [(&str, &str); 11] = [
    ("cache_limit_bytes", "cache_limit"),
    ("duration_ms", "milliseconds"),
    ("expires_at", "expires_micros"),
    ("merged_saves", "united"),
    ("next_at", "next_micros"),
    ("not_searched", "not_looked_at"),
    ("prefetched_unused", "fetched_in_vain"),
    ("read_ahead", "passed_over"),
    ("saved_at", "saved_micros"),
    ("searched", "looked_at"),
    ("skipped_reason", "left_alone"),
];

static IS_WANTED: OnceLock<bool> = OnceLock::new();
static IS_PRINTED: AtomicBool = AtomicBool::new(false);
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Says whether this process prints an object; the first call counts.
pub(crate) fn configure_object(is_wanted: bool) {
    let _ = IS_WANTED.set(is_wanted);
}

/// Whether this process prints an object.
pub(crate) fn is_wanted() -> bool {
    IS_WANTED.get().copied().unwrap_or_default()
}

/// Prints the object of this command, with the version of the format.
///
/// There is one for each process: when a command prints a second one, it is dropped.
///
/// # Errors
///
/// When the value cannot be written as JSON.
pub(crate) fn print_object(value: &impl Serialize) -> anyhow::Result<()> {
    let mut object = match serde_json::to_value(value)? {
        Value::Object(object) => object,
        other => Map::from_iter([("result".to_owned(), other)]),
    };
    object.insert("version".to_owned(), VERSION.into());
    let mut object = Value::Object(object);
    add_old_names(&mut object);
    if IS_PRINTED.swap(true, Relaxed) {
        debug_assert!(false, "a second object: {object:?}");
        return Ok(());
    }
    stdout::write_stdout(&format!("{}\n", json_line(object)));
    Ok(())
}

/// Keeps a line of results for the object of a command that prints none of its own. Returns
/// whether it was taken: it is to be printed otherwise.
pub(crate) fn keep_line(text: &str) -> bool {
    if is_wanted() {
        LINES.lock().push(text.to_owned());
    }
    is_wanted()
}

/// A failure as JSON.
pub(crate) fn of_failure(failure: &CommandFailure) -> Value {
    json!({
        "result": "failed",
        "error": failure.message,
        "kind": failure.kind,
        "hint": failure.hint,
        "exit_code": failure.code,
    })
}

/// Prints the object of a failure, unless the command has printed one.
pub(crate) fn print_failure(failure: &CommandFailure) {
    print_rest(&of_failure(failure));
}

/// Prints the object of a command that ended, unless it has printed one.
pub(crate) fn print_end(code: u8) {
    let result = match code {
        exit::SUCCESS => "done",
        exit::INTERRUPTED => "interrupted",
        _ => "failed",
    };
    let mut object = json!({ "result": result, "exit_code": code });
    let lines = std::mem::take(&mut *LINES.lock());
    if !lines.is_empty() {
        object["output"] = lines.into();
    }
    print_rest(&object);
}

fn print_rest(object: &Value) {
    if is_wanted() && !IS_PRINTED.load(Relaxed) {
        // A value that is JSON already can be written as JSON.
        let _ = print_object(object);
    }
}

/// Adds renamed members under their [old names](OLD_NAMES), in this object and all below it.
pub(crate) fn add_old_names(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(add_old_names),
        Value::Object(members) => {
            members.values_mut().for_each(add_old_names);
            for (new, old) in OLD_NAMES {
                let Some(member) = members.get(new) else {
                    continue;
                };
                let member = match (old.ends_with("_micros"), member.as_str()) {
                    (true, Some(time)) => time
                        .parse::<jiff::Timestamp>()
                        .map_or(Value::Null, |time| time.as_microsecond().into()),
                    _ => member.clone(),
                };
                members.entry(old).or_insert(member);
            }
        }
        _ => {}
    }
}

/// Serializes a time in microseconds since 1970 as RFC 3339, for example
/// `2023-11-14T22:13:20.5Z`.
pub(crate) fn serialize_time<S: Serializer>(micros: &u64, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&text::format_timestamp(*micros))
}

/// As [`serialize_time`], for a time that may be unknown.
#[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
pub(crate) fn serialize_optional_time<S: Serializer>(
    micros: &Option<u64>,
    to: S,
) -> Result<S::Ok, S::Error> {
    micros.map(text::format_timestamp).serialize(to)
}

/// JSON on one line. No text in it is a logging command of Azure Pipelines or GitHub, which look
/// for theirs anywhere in a line.
pub(crate) fn json_line(mut value: Value) -> String {
    round_numbers(&mut value);
    let text = value.to_string();
    // Brackets in JSON's own syntax never follow a `#`, so this is inside of a string.
    text.replace("##[", "\\u0023#[")
        .replace("##vso[", "\\u0023#vso[")
}

/// Takes away the digits that binary fractions add, as in 4.587591000000001.
fn round_numbers(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            let float = number.as_f64().map(|it| (it * DECIMALS).round() / DECIMALS);
            if let Some(rounded) = float.and_then(serde_json::Number::from_f64) {
                *number = rounded;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(round_numbers),
        Value::Object(members) => members.values_mut().for_each(round_numbers),
        _ => {}
    }
}

/// The value of an option in these arguments, which may be an invalid command line.
pub(crate) fn find_option<'a, S: AsRef<OsStr>>(arguments: &'a [S], name: &str) -> Option<&'a str> {
    let mut given = None;
    let mut arguments = arguments
        .iter()
        .map(|it| it.as_ref().to_str().unwrap_or(""));
    while let Some(argument) = arguments.next() {
        match argument.strip_prefix(name) {
            _ if argument == "--" => break,
            Some("") => given = arguments.next().or(given),
            Some(rest) => given = rest.strip_prefix('=').or(given),
            None => {}
        }
    }
    given
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_were_measured() {
        let printed = json_line(json!({ "ms": 4.587591000000001, "usd": [0.0000004], "n": 3 }));
        assert_eq!(printed, r#"{"ms":4.587591,"n":3,"usd":[4e-7]}"#);
    }

    #[test]
    fn old_names_stay_beside_the_new_ones() {
        let mut value = json!({ "caches": [{
            "saved_at": text::format_timestamp(1_700_000_000_123_456),
            "expires_at": null,
            "duration_ms": 1.5,
            "united": "its own",
            "merged_saves": 1,
        }] });
        add_old_names(&mut value);
        assert_eq!(
            value["caches"][0],
            json!({
                "saved_at": "2023-11-14T22:13:20.123456Z",
                "saved_micros": 1_700_000_000_123_456_u64,
                "expires_at": null,
                "expires_micros": null,
                "duration_ms": 1.5,
                "milliseconds": 1.5,
                "united": "its own",
                "merged_saves": 1,
            })
        );
    }

    #[test]
    fn no_text_is_a_command_to_a_pipeline() {
        let texts = json!(["##vso[task.complete]x", "a ##[error]", "# #"]);
        let printed = json_line(texts.clone());
        assert!(
            !printed.contains("##vso[") && !printed.contains("##["),
            "{printed}"
        );
        assert_eq!(serde_json::from_str::<Value>(&printed).unwrap(), texts);
    }

    #[test]
    fn the_format_is_found_in_arguments_that_are_wrong() {
        let format = |arguments: &[&str]| find_option(arguments, "--format").map(str::to_owned);
        assert_eq!(
            format(&["x", "--nonsense", "--format", "json"]).as_deref(),
            Some("json")
        );
        assert_eq!(
            format(&["x", "--format=json", "lst"]).as_deref(),
            Some("json")
        );
        assert_eq!(
            format(&["x", "--format=text", "--format=json"]).as_deref(),
            Some("json")
        );
        assert_eq!(format(&["x", "--formatter", "json"]), None);
        assert_eq!(format(&["x", "exec", "--", "y", "--format", "json"]), None);
        assert_eq!(format(&["x", "--format"]), None);
    }
}
