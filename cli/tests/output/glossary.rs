//! The glossary must match the code: it lists only terms that the code uses.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The bold terms of the first column, in lower case.
fn terms(glossary: &str) -> Vec<String> {
    let rows = glossary.lines().filter(|line| line.starts_with("| **"));
    let cells = rows.filter_map(|row| row.split('|').nth(1));
    let bold = cells.flat_map(|cell| cell.split("**").skip(1).step_by(2));
    bold.map(|term| term.replace('`', "").to_lowercase())
        .collect()
}

/// All words in identifiers and comments of the three crates, joined by single spaces, so that
/// `SaveJob`, `save_job` and "save job" are equal.
fn words_of_code() -> String {
    let mut text = String::from(" ");
    let crates = ["store/src", "cachefs/src", "cli/src"];
    let mut pending: Vec<PathBuf> = crates.map(|name| repository().join(name)).into();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let mut previous = ' ';
            for letter in fs::read_to_string(&path).unwrap().chars() {
                if letter.is_uppercase() && previous.is_lowercase() {
                    text.push(' ');
                }
                match letter.is_alphanumeric() {
                    true => text.extend(letter.to_lowercase()),
                    false if !text.ends_with(' ') => text.push(' '),
                    false => {}
                }
                previous = letter;
            }
            text.push(' ');
        }
    }
    text
}

#[test]
fn the_code_uses_every_term_of_the_glossary() {
    let glossary = fs::read_to_string(repository().join("docs/glossary.md")).unwrap();
    let terms = terms(&glossary);
    assert!(terms.len() > 50, "{terms:?}");
    let code = words_of_code();
    let is_used = |term: &str| {
        let words: Vec<_> = term
            .split(|letter: char| !letter.is_alphanumeric())
            .collect();
        let phrase = words.join(" ");
        [format!(" {phrase} "), format!(" {phrase}s ")]
            .iter()
            .any(|form| code.contains(form))
    };
    let unused: BTreeSet<_> = terms.iter().filter(|term| !is_used(term)).collect();
    assert!(unused.is_empty(), "the code does not use: {unused:?}");
}

#[test]
fn the_library_of_formats_and_operations_is_explained() {
    let glossary = fs::read_to_string(repository().join("docs/glossary.md")).unwrap();
    let terms: BTreeSet<_> = terms(&glossary).into_iter().collect();
    let library = fs::read_to_string(repository().join("store/src/lib.rs")).unwrap();
    let modules = library
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod "));
    // Common words of any program.
    let common = [
        "archive",
        "copy",
        "error",
        "export",
        "hint",
        "id",
        "local",
        "path_globs",
        "progress",
        "replace_file",
        "resolve_beneath",
        "secrets",
        "session",
    ];
    for module in modules.map(|line| line.trim_end_matches(';')) {
        let singular = module.strip_suffix('s').unwrap_or(module);
        let is_known = [module, singular].iter().any(|name| {
            common.contains(name)
                || terms
                    .iter()
                    .any(|term| term.split(' ').any(|word| word == *name))
        });
        assert!(is_known, "docs/glossary.md does not explain `{module}`");
    }
}
