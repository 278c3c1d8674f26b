//! Output of several caches: every line says which one it is about.

/// The lines, each with the cache's name as a prefix if it has one.
pub(super) fn prefix_lines(name: Option<&str>, lines: Vec<String>) -> Vec<String> {
    match name {
        Some(name) => lines
            .into_iter()
            .map(|line| format!("{name}: {line}"))
            .collect(),
        None => lines,
    }
}
