//! Names that have the special characters of patterns, such as `app/[slug]`.
//!
//! A path that exists by its very name means that name. Where it does not exist (yet), it may be
//! either, so a restore matches stored names by every reading.

use std::path::Path;

/// Characters that make a path a pattern.
const SPECIAL: [char; 4] = ['*', '?', '[', '{'];

/// Whether a path, or one of its names, has special characters.
pub fn has_special(text: &str) -> bool {
    text.contains(SPECIAL)
}

/// Counts the leading names below `base` that are literal: up to the last name with special
/// characters for whose whole path `exists` returns true.
///
/// ```text
/// app/[slug]/*/cache     2 if app/[slug] is a directory, else 0
/// ```
pub fn literal_names(base: &Path, names: &[&str], exists: impl Fn(&Path) -> bool) -> usize {
    let mut path = base.to_owned();
    let mut literal = 0;
    for (number, name) in names.iter().enumerate() {
        path.push(name);
        if has_special(name) {
            if !exists(&path) {
                break;
            }
            literal = number + 1;
        }
    }
    literal
}

/// The glob in which the first `literal` names stand for themselves.
pub fn glob_of(names: &[&str], literal: usize) -> String {
    let names: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(number, name)| match number < literal {
            true => globset::escape(name),
            false => (*name).to_owned(),
        })
        .collect();
    names.join("/")
}

/// The globs of all readings, the pure pattern first.
pub(super) fn literal_readings(names: &[&str]) -> Vec<String> {
    let special = (0..names.len()).filter(|&number| has_special(names[number]));
    std::iter::once(0)
        .chain(special.map(|number| number + 1))
        .map(|literal| glob_of(names, literal))
        .collect()
}

/// Whether names that do not exist may still be literal names: their only special characters are
/// brackets, or braces without an alternative.
pub(super) fn may_be_names(names: &[&str]) -> bool {
    names
        .iter()
        .filter(|name| has_special(name))
        .all(|name| match name.contains(['*', '?']) {
            true => false,
            false => !name.contains('{') || !name.contains(','),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_literal_as_far_as_they_exist() {
        let there = ["/w/app", "/w/app/[slug]", "/w/app/[slug]/{x}"];
        let count = |names: &[&str]| {
            literal_names(Path::new("/w"), names, |path| {
                there.contains(&path.to_str().unwrap())
            })
        };
        assert_eq!(count(&["app", "[slug]", "*", "cache"]), 2);
        assert_eq!(count(&["app", "[slug]", "{x}"]), 3);
        assert_eq!(count(&["app", "[id]", "{x}"]), 0);
        assert_eq!(count(&["app", "cache"]), 0);
        assert_eq!(glob_of(&["app", "[slug]", "*"], 2), "app/[[]slug[]]/*");
        assert_eq!(literal_readings(&["a", "*"]), ["a/*", "a/[*]"]);
        assert!(may_be_names(&["app", "[[...all]]", "{x}"]));
        assert!(!may_be_names(&["[a]", "*"]) && !may_be_names(&["{a,b}"]));
    }
}
