//! Key templates: expands a template to a cache key, and records the inputs of that key.
//!
//! A template is plain text with expressions. We accept the spellings of other CI caches, so users
//! can keep their keys:
//!
//! | spelling | meaning |
//! | --- | --- |
//! | `{{ checksum "f" "g" }}` | BLAKE3 of one file, or of several together |
//! | `hashFiles('**/x', '!y')`, bare or in `{{ }}` or `${{ }}` | BLAKE3 over every file that matches |
//! | `{{ arch }}`, `{{ os }}`, `${{ runner.os }}`, `${{ runner.arch }}` | the platform |
//! | `{{ epoch }}` | seconds since 1970 |
//! | `{{ env "X" }}`, `{{ .Environment.X }}`, `${{ env.X }}`, `${{ github.ref_name }}` | the environment |
//! | `{{ .Branch }}`, `{{ .Revision }}`, `{{ .BuildNum }}`, `{{ .Repo.Name }}`, ... | facts from the CI system ([`crate::ci`]) |
//!
//! [`expand_template`] is pure except that it reads the files named by a template. The workspace,
//! the environment and the clock come from [`KeyContext`], and nothing is printed. An expression
//! that cannot be expanded is an error that points at the character ([`KeyError`]); otherwise
//! unrelated builds could silently share one key.

mod error;
mod eval;
mod hash_files;
mod lex;
mod parse;
mod pattern;
mod template_access;
mod validate;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

pub(crate) use error::KeyError;
pub(crate) use template_access::{Author, Reach};

/// The inputs of an expansion other than the template.
pub(crate) struct KeyContext<'a> {
    /// The directory that relative paths and patterns are resolved against; absolute.
    pub(crate) workspace: &'a Path,
    /// The environment for variables.
    pub(crate) env: &'a BTreeMap<String, String>,
    /// The time for `{{ epoch }}`.
    pub(crate) now: SystemTime,
    /// Accept missing files, unset variables and patterns without a match.
    ///
    /// Such files expand to `missing`, and such variables to an empty string.
    pub(crate) allow_missing: bool,
    /// Returns whether patterns must skip a directory, given by its absolute path: the directories
    /// of the cache itself.
    ///
    /// Otherwise `**/package-lock.json` would match more files at save, when `node_modules` is
    /// full, than at restore, when it is empty, and no restore would ever find the key.
    pub(crate) skip: &'a dyn Fn(&Path) -> bool,
    /// Which files and variables of the machine the template may read.
    pub(crate) reach: &'a Reach,
}

/// A key and its parts, in the order of the template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExpandedKey {
    /// The key; it satisfies the rules of [`validate`].
    pub(crate) key: String,
    /// The contribution of each piece of the template.
    pub(crate) parts: Vec<KeyPart>,
}

/// The contribution of one piece of a template to the key.
///
/// Parts are stored with the ref, so that we can explain a later miss by the part that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyPart {
    /// The kind of input.
    pub(crate) kind: PartKind,
    /// The expression as written in the template; for plain text, the text.
    pub(crate) name: String,
    /// Its value in the key, before the whole key is normalised.
    pub(crate) value: String,
    /// The environment variable that supplied the value, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) variable: Option<String>,
    /// The files that the value covers, in the order of hashing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) files: Vec<FileInput>,
    /// Paths that matched a pattern but were skipped: dangling links, and links out of the
    /// workspace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) skipped: Vec<String>,
}

/// The kind of input of a [`KeyPart`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PartKind {
    /// Plain text of the template.
    Text,
    /// Files named directly.
    Checksum,
    /// Files matched by patterns.
    HashFiles,
    /// The operating system or architecture.
    Platform,
    /// The clock.
    Time,
    /// An environment variable.
    Environment,
    /// A fact about the build from the CI system.
    Build,
}

/// A file that a key depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileInput {
    /// The path as named, or relative to the workspace if a pattern matched it.
    ///
    /// Invalid UTF-8 is replaced here; hashes of patterns cover the original bytes.
    pub(crate) path: String,
    /// BLAKE3 of the content, 64 hex digits; `None` for a file that is allowed to be missing.
    pub(crate) blake3: Option<String>,
    /// Length in bytes; 0 for a file that is allowed to be missing.
    pub(crate) bytes: u64,
}

/// Whether the expansion of `template` would read files.
///
/// # Errors
///
/// A [`KeyError`] if the template does not parse.
pub(crate) fn reads_files(template: &str) -> Result<bool, KeyError> {
    let pieces = parse::parse_template(template).map_err(|fault| fault.in_template(template))?;
    Ok(pieces.iter().any(eval::reads_files))
}

/// Whether the expansion of `template` would read the environment or query the CI system.
///
/// # Errors
///
/// A [`KeyError`] if the template does not parse.
pub(crate) fn reads_variables(template: &str) -> Result<bool, KeyError> {
    let pieces = parse::parse_template(template).map_err(|fault| fault.in_template(template))?;
    Ok(pieces.iter().any(eval::reads_variables))
}

/// Expands `template` into a key.
///
/// # Errors
///
/// A [`KeyError`] with its position if the template does not parse, names something unknown or
/// missing, or expands to a key that breaks the rules of [`validate`].
pub(crate) fn expand_template(
    template: &str,
    context: &KeyContext<'_>,
) -> Result<ExpandedKey, KeyError> {
    let pieces = parse::parse_template(template).map_err(|fault| fault.in_template(template))?;
    let parts = pieces
        .iter()
        .map(|piece| eval::evaluate_piece(template, piece, context))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|fault| fault.in_template(template))?;
    let values = pieces
        .iter()
        .zip(&parts)
        .map(|(piece, part)| validate::KeyValue {
            text: &part.value,
            span: piece.span(),
            verbatim: part.kind == PartKind::Text,
        });
    let key = validate::join_key(values).map_err(|fault| fault.in_template(template))?;
    Ok(ExpandedKey { key, parts })
}
