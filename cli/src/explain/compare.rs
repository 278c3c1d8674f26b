//! Compares the inputs of two keys.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::keys::{FileInput, KeyPart, PartKind};

/// A difference between the inputs of the requested key and of an existing one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(crate) enum InputDifference {
    /// The content of a file changed.
    FileChanged {
        path: String,
        blake3: Option<String>,
        blake3_saved: Option<String>,
        bytes: u64,
        bytes_saved: u64,
    },
    /// A file that only the requested key covers.
    FileAdded { path: String, bytes: u64 },
    /// A file that only the existing key covers.
    FileRemoved { path: String, bytes_saved: u64 },
    /// A variable or other expression has another value.
    Value {
        name: String,
        value: String,
        value_saved: String,
    },
    /// The template itself changed.
    Template {
        text: Option<String>,
        text_saved: Option<String>,
    },
}

/// The result of comparing the inputs of two keys.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Comparison {
    /// The differences, in the order of the template.
    pub(crate) differences: Vec<InputDifference>,
    /// The number of expressions with the same value, and the number of all expressions.
    pub(crate) agree: (usize, usize),
    /// Similarity of the keys, from 0 to 1; 1 if everything agrees. A file hash counts by the share
    /// of equal files.
    pub(crate) nearness: f64,
}

/// Minimum similarity of keys with the same template: they belong to the same cache, however much
/// their inputs differ.
const SAME_TEMPLATE: f64 = 0.1;

/// Compares the inputs of the requested key with those of an existing one.
pub(crate) fn compare_inputs(ours: &[KeyPart], saved: &[KeyPart]) -> Comparison {
    let mut differences = Vec::new();
    let (mut agree, mut inputs) = (0, 0);
    let (mut near, mut weight) = (0.0, 0.0);
    for (ours, saved) in pair_parts(ours, saved) {
        let is_text = |part: &KeyPart| part.kind == PartKind::Text;
        let counts = !ours.or(saved).is_none_or(is_text);
        inputs += usize::from(counts);
        // Text usually names the cache, so it weighs as much as any input.
        weight += 1.0;
        match (ours, saved) {
            (Some(ours), Some(saved)) if ours.value == saved.value => {
                agree += usize::from(counts);
                near += 1.0;
            }
            (Some(ours), Some(saved)) => near += compare_parts(ours, saved, &mut differences),
            (ours, saved) => differences.push(InputDifference::Template {
                text: ours.map(|part| part.name.clone()),
                text_saved: saved.map(|part| part.name.clone()),
            }),
        }
    }
    let same_template = text_of(ours) == text_of(saved);
    if near == 0.0 && !same_template {
        // Nothing in common: the differences of the parts would be a long and useless list.
        differences = vec![InputDifference::Template {
            text: Some(text_of(ours)),
            text_saved: Some(text_of(saved)),
        }];
    }
    let mut nearness = if weight > 0.0 { near / weight } else { 0.0 };
    if begins_otherwise(ours, saved) {
        nearness /= 2.0;
    }
    if same_template {
        nearness = nearness.max(SAME_TEMPLATE);
    }
    Comparison {
        differences,
        agree: (agree, inputs),
        nearness,
    }
}

/// A template as written.
fn text_of(parts: &[KeyPart]) -> String {
    parts.iter().map(|part| part.name.as_str()).collect()
}

/// Whether both keys start with different text, which is usually the cache's name.
fn begins_otherwise(ours: &[KeyPart], saved: &[KeyPart]) -> bool {
    match (ours.first(), saved.first()) {
        (Some(ours), Some(saved)) => {
            ours.kind == PartKind::Text && saved.kind == PartKind::Text && ours.value != saved.value
        }
        _ => false,
    }
}

/// Pairs the parts of two templates: by position if the templates have the same shape, otherwise
/// equal expressions in order.
fn pair_parts<'a>(
    ours: &'a [KeyPart],
    saved: &'a [KeyPart],
) -> Vec<(Option<&'a KeyPart>, Option<&'a KeyPart>)> {
    let alike = |a: &KeyPart, b: &KeyPart| a.kind == b.kind;
    if ours.len() == saved.len() && ours.iter().zip(saved).all(|(a, b)| alike(a, b)) {
        let pairs = ours.iter().zip(saved);
        return pairs.map(|(a, b)| (Some(a), Some(b))).collect();
    }
    let same = |a: &KeyPart, b: &KeyPart| a.kind == b.kind && a.name == b.name;
    let mut pairs = Vec::new();
    let mut rest = saved;
    for part in ours {
        match rest.iter().position(|other| same(part, other)) {
            Some(place) => {
                pairs.extend(rest[..place].iter().map(|other| (None, Some(other))));
                pairs.push((Some(part), Some(&rest[place])));
                rest = &rest[place + 1..];
            }
            None => pairs.push((Some(part), None)),
        }
    }
    pairs.extend(rest.iter().map(|other| (None, Some(other))));
    pairs
}

/// Records the differences between two parts with different values, and returns their similarity.
fn compare_parts(ours: &KeyPart, saved: &KeyPart, out: &mut Vec<InputDifference>) -> f64 {
    if ours.kind == PartKind::Text {
        out.push(template_difference(ours, saved));
        return 0.0;
    }
    if ours.files.is_empty() && saved.files.is_empty() {
        let name = ours.variable.as_ref().unwrap_or(&ours.name);
        out.push(InputDifference::Value {
            name: name.clone(),
            value: ours.value.clone(),
            value_saved: saved.value.clone(),
        });
        return 0.0;
    }
    let before = out.len();
    let (same, all) = compare_files(&ours.files, &saved.files, out);
    if out.len() == before || ours.name != saved.name {
        // The same files can have another hash because another expression hashes them.
        out.insert(before, template_difference(ours, saved));
    }
    // Less than 1 even if all files agree, because the values differ.
    same as f64 / (all as f64 + 1.0)
}

fn template_difference(ours: &KeyPart, saved: &KeyPart) -> InputDifference {
    InputDifference::Template {
        text: Some(ours.name.clone()),
        text_saved: Some(saved.name.clone()),
    }
}

/// Compares lists of files; returns the number of equal files and the number of all files.
fn compare_files(
    ours: &[FileInput],
    saved: &[FileInput],
    out: &mut Vec<InputDifference>,
) -> (usize, usize) {
    let mut both: BTreeMap<&str, (Option<&FileInput>, Option<&FileInput>)> = BTreeMap::new();
    for file in ours {
        both.entry(&file.path).or_default().0 = Some(file);
    }
    for file in saved {
        both.entry(&file.path).or_default().1 = Some(file);
    }
    let mut same = 0;
    let all = both.len();
    for (path, sides) in both {
        let path = path.to_owned();
        match sides {
            (Some(is), Some(was)) if is.blake3 == was.blake3 => same += 1,
            (Some(is), Some(was)) => out.push(InputDifference::FileChanged {
                path,
                blake3: is.blake3.clone(),
                blake3_saved: was.blake3.clone(),
                bytes: is.bytes,
                bytes_saved: was.bytes,
            }),
            (Some(is), None) => out.push(InputDifference::FileAdded {
                path,
                bytes: is.bytes,
            }),
            (None, Some(was)) => out.push(InputDifference::FileRemoved {
                path,
                bytes_saved: was.bytes,
            }),
            (None, None) => {}
        }
    }
    (same, all)
}

impl InputDifference {
    /// Describes the difference as part of a sentence; `saved` is the age of the other key.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::FileChanged {
                path,
                blake3_saved: None,
                ..
            } => format!("{path} was missing"),
            Self::FileChanged {
                path, blake3: None, ..
            } => format!("{path} is missing"),
            Self::FileChanged { path, .. } => format!("{path} changed"),
            Self::FileAdded { path, .. } => format!("{path} is new"),
            Self::FileRemoved { path, .. } => format!("{path} is gone"),
            Self::Value {
                name,
                value,
                value_saved,
            } => format!("{name} is `{value}` instead of `{value_saved}`"),
            Self::Template { text, text_saved } => match (text, text_saved) {
                (Some(is), Some(was)) => format!("the template has `{is}` instead of `{was}`"),
                (Some(is), None) => format!("the template has `{is}` now"),
                (None, Some(was)) => format!("the template no longer has `{was}`"),
                (None, None) => "the template differs".to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(kind: PartKind, name: &str, value: &str) -> KeyPart {
        KeyPart {
            kind,
            name: name.to_owned(),
            value: value.to_owned(),
            variable: None,
            files: Vec::new(),
            skipped: Vec::new(),
        }
    }

    fn hashed(name: &str, files: &[(&str, &str)]) -> KeyPart {
        let listed = files.iter().map(|(path, hash)| FileInput {
            path: (*path).to_owned(),
            blake3: Some((*hash).to_owned()),
            bytes: 10,
        });
        KeyPart {
            files: listed.collect(),
            ..part(PartKind::HashFiles, name, &format!("{files:?}"))
        }
    }

    fn words(comparison: &Comparison) -> Vec<String> {
        comparison
            .differences
            .iter()
            .map(InputDifference::words)
            .collect()
    }

    #[test]
    fn the_file_that_changed_is_named_and_the_others_are_not() {
        let text = part(PartKind::Text, "m2-", "m2-");
        let os = part(PartKind::Platform, "{{ os }}", "linux");
        let ours = hashed(
            "h",
            &[("pom.xml", "1"), ("a/pom.xml", "2"), ("c/pom.xml", "4")],
        );
        let saved = hashed(
            "h",
            &[("pom.xml", "1"), ("a/pom.xml", "3"), ("b/pom.xml", "5")],
        );
        let compared = compare_inputs(
            &[text.clone(), os.clone(), ours],
            &[text.clone(), os.clone(), saved],
        );
        assert_eq!(
            words(&compared),
            ["a/pom.xml changed", "b/pom.xml is gone", "c/pom.xml is new"]
        );
        assert_eq!(compared.agree, (1, 2));
        let all = compare_inputs(&[text.clone(), os.clone()], &[text, os]);
        assert!(all.differences.is_empty() && all.nearness == 1.0);
        assert!(compared.nearness < 1.0 && compared.nearness > 0.66);
    }

    #[test]
    fn a_variable_is_shown_with_both_values() {
        let mut ours = part(PartKind::Environment, "{{ env \"NODE\" }}", "22");
        ours.variable = Some("NODE".to_owned());
        let saved = KeyPart {
            value: "20".to_owned(),
            ..ours.clone()
        };
        assert_eq!(
            words(&compare_inputs(&[ours], &[saved])),
            ["NODE is `22` instead of `20`"]
        );
    }

    #[test]
    fn another_template_is_told_apart_from_other_inputs() {
        let text = |text: &str| part(PartKind::Text, text, text);
        let os = part(PartKind::Platform, "{{ os }}", "linux");
        let file = hashed("h", &[("pom.xml", "1")]);
        let ours = [text("m2-"), os, text("-"), file.clone()];
        let compared = compare_inputs(&ours, &[text("m2-"), file.clone()]);
        assert_eq!(
            words(&compared),
            [
                "the template has `{{ os }}` now",
                "the template has `-` now"
            ]
        );
        let compared = compare_inputs(&[text("v2-"), file.clone()], &[text("v1-"), file.clone()]);
        assert_eq!(
            words(&compared),
            ["the template has `v2-` instead of `v1-`"]
        );
        // The keys have nothing in common.
        let compared = compare_inputs(&[text("a")], &[text("m2-"), file.clone()]);
        assert_eq!(words(&compared), ["the template has `a` instead of `m2-h`"]);
        // The same files, hashed by another expression.
        let other = KeyPart {
            name: "other".to_owned(),
            value: "x".to_owned(),
            ..file.clone()
        };
        assert_eq!(
            words(&compare_inputs(&[file], &[other])),
            ["the template has `h` instead of `other`"]
        );
    }
}
