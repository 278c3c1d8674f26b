//! Summarises the inputs of a key in one line, usually enough to explain a miss.

use super::jobs::Prepared;
use super::output_prefix;
use crate::keys::{ExpandedKey, FileInput};
use crate::output;

/// Maximum number of files to list; `cachefs key` lists all of them.
const NAMED: usize = 4;
/// Number of hex digits of a file's hash.
const DIGITS: usize = 8;

/// A line for each cache whose key depends on files or variables.
pub(super) fn evidence_lines(prepared: &[Prepared]) -> Vec<String> {
    let mut lines = Vec::new();
    for prepared in prepared {
        let keys = prepared.keys();
        let main = keys.as_ref().and_then(|keys| keys.main.as_ref());
        let line = main.and_then(|(_, expanded)| evidence_line(expanded));
        let name = prepared.cache.name.as_deref();
        lines.extend(output_prefix::prefix_lines(
            name,
            line.into_iter().collect(),
        ));
    }
    lines
}

fn evidence_line(expanded: &ExpandedKey) -> Option<String> {
    let files: Vec<_> = expanded.parts.iter().flat_map(|part| &part.files).collect();
    let mut sources: Vec<_> = files
        .iter()
        .take(NAMED)
        .map(|file| named_file(file))
        .collect();
    if files.len() > NAMED {
        let more = output::format_count((files.len() - NAMED) as u64, "more file");
        sources.push(format!("{more} (`cachefs key` lists them)"));
    }
    let variables = expanded
        .parts
        .iter()
        .filter_map(|part| part.variable.as_ref());
    sources.extend(variables.map(|variable| format!("${variable}")));
    (!sources.is_empty()).then(|| format!("key {} is from {}", expanded.key, sources.join(", ")))
}

fn named_file(file: &FileInput) -> String {
    let hash = match &file.blake3 {
        Some(hash) => hash.get(..DIGITS).unwrap_or(hash),
        None => "missing",
    };
    format!("{} ({hash})", file.path.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{KeyPart, PartKind};

    fn part(files: usize, variable: Option<&str>) -> KeyPart {
        let file = |number| FileInput {
            path: format!("{number}.lock"),
            blake3: (number > 0).then(|| "0123456789abcdef".to_owned()),
            bytes: 1,
        };
        KeyPart {
            kind: PartKind::Checksum,
            name: String::new(),
            value: String::new(),
            variable: variable.map(str::to_owned),
            files: (0..files).map(file).collect(),
            skipped: Vec::new(),
        }
    }

    #[test]
    fn files_and_variables_are_named_and_nothing_else() {
        let line = |parts| {
            let key = "k-1".to_owned();
            evidence_line(&ExpandedKey { key, parts })
        };
        assert_eq!(line(vec![part(0, None)]), None);
        assert_eq!(
            line(vec![part(2, None), part(0, Some("CI_X"))]).unwrap(),
            "key k-1 is from 0.lock (missing), 1.lock (01234567), $CI_X"
        );
        assert!(
            line(vec![part(7, None)])
                .unwrap()
                .ends_with("3.lock (01234567), 3 more files (`cachefs key` lists them)")
        );
    }
}
