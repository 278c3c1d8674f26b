//! The keys of detected caches, as templates.

use std::path::Path;

/// The prefix of the keys of detected caches. A key that a pipeline chose for itself, such as
/// `npm-…` for a `node_modules`, would otherwise pass for that of a tool's cache.
const OWN: &str = "auto-";

/// Directories that tools fill with files of the names that patterns look for.
const FILLED: [&str; 4] = [".venv", "node_modules", "target", "vendor"];

/// A key up to its hash: the prefix of keys that a restore may use instead.
pub(super) fn template_start(prefix: &str, ident: &str, compiled: bool) -> String {
    let platform = if compiled { "{{ os }}-{{ arch }}-" } else { "" };
    format!("{prefix}{OWN}{ident}-{platform}")
}

/// The key over these files, in the order of their bytes.
pub(super) fn by_files(start: &str, files: &[String]) -> String {
    let quoted: Vec<String> = files.iter().map(|file| format!("\"{file}\"")).collect();
    format!("{start}{{{{ checksum {} }}}}", quoted.join(" "))
}

/// The key over the files that patterns match, outside of directories that tools fill.
///
/// It is the same key as [`by_files`] when the patterns find the same files, as hashes of several
/// files do not depend on how they were named. `None` where patterns would tell nothing more: the
/// only file was looked for by its name.
pub(super) fn by_patterns(
    start: &str,
    files: &[String],
    mut patterns: Vec<String>,
) -> Option<String> {
    patterns.sort();
    patterns.dedup();
    // Patterns without a match are left out, unless new files are likely to match them.
    patterns.retain(|pattern| pattern.contains('*') || files.contains(pattern));
    if files.len() < 2 || !patterns.iter().any(|pattern| pattern.contains('*')) {
        return None;
    }
    let is_deep = patterns.iter().any(|pattern| pattern.contains("**"));
    let excludes = FILLED
        .iter()
        .filter(|_| is_deep)
        .map(|name| format!("!**/{name}"));
    let quoted: Vec<String> = patterns
        .into_iter()
        .chain(excludes)
        .map(|pattern| format!("'{pattern}'"))
        .collect();
    Some(format!("{start}{{{{ hashFiles({}) }}}}", quoted.join(", ")))
}

/// A pattern of a project as one of the workspace.
pub(super) fn join_pattern(dir: &Path, pattern: &str) -> String {
    match dir.to_str() {
        Some("") | None => pattern.to_owned(),
        Some(dir) => format!("{}/{pattern}", globset::escape(dir)),
    }
}
