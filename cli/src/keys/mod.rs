//! Key templates: from the user's text to the key of a cache, and the inputs of the key.
//!
//! A template is plain text with expressions in the spellings that other CI caches taught their
//! users:
//!
//! | spelling | meaning |
//! | --- | --- |
//! | `{{ checksum "f" "g" }}` | BLAKE3 of one file, or of several together |
//! | `hashFiles('**/x', '!y')`, bare or in `{{ }}` or `${{ }}` | BLAKE3 over every file that matches |
//! | `{{ arch }}`, `{{ os }}`, `${{ runner.os }}`, `${{ runner.arch }}` | the platform |
//! | `{{ epoch }}` | seconds since 1970 |
//! | `{{ env "X" }}`, `{{ .Environment.X }}`, `${{ env.X }}`, `${{ github.ref_name }}` | the environment |
//! | `{{ .Branch }}`, `{{ .Revision }}`, `{{ .BuildNum }}`, `{{ .Repo.Name }}`, ... | values of the CI system ([`crate::ci`]) |
//!
//! [`expand_template`] is pure but for reading the files a template names: the workspace, the
//! environment and the clock come in through [`KeyContext`], and nothing is printed. A template
//! that cannot be expanded is an error that points at the character ([`KeyError`]), because a key
//! that quietly lost a part is a key that unrelated builds share.

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

/// Everything outside the template that its expansion may depend on.
pub(crate) struct KeyContext<'a> {
    /// The directory that relative paths and patterns start from; absolute.
    pub(crate) workspace: &'a Path,
    /// The environment that variables are looked up in.
    pub(crate) env: &'a BTreeMap<String, String>,
    /// The time that `{{ epoch }}` reports.
    pub(crate) now: SystemTime,
    /// Accept missing files, unset variables and patterns without a match.
    ///
    /// Files then count as the word `missing`, variables as nothing.
    pub(crate) allow_missing: bool,
    /// Tells the directories, by their absolute paths, that patterns never search: those of the
    /// cache itself.
    ///
    /// `**/package-lock.json` would otherwise see other files at save, when `node_modules` is
    /// full, than at restore, when it is empty, and the key would never be found again.
    pub(crate) skip: &'a dyn Fn(&Path) -> bool,
    /// Whether the template sees the machine, or is somebody else's.
    pub(crate) reach: &'a Reach,
}

/// A key and the parts it was put together from, in the template's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExpandedKey {
    /// The key: valid by the rules of [`validate`].
    pub(crate) key: String,
    /// The contribution of each piece of the template.
    pub(crate) parts: Vec<KeyPart>,
}

/// The contribution of one piece of a template to the key.
///
/// Parts are stored with the ref, so that a later miss can be explained by the part that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyPart {
    /// The kind of input.
    pub(crate) kind: PartKind,
    /// The expression as the template spells it; for plain text, the text.
    pub(crate) name: String,
    /// Its text in the key, before the key as a whole is normalised.
    pub(crate) value: String,
    /// The environment variable that supplied the value, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) variable: Option<String>,
    /// The files behind the value, in the order in which they were hashed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) files: Vec<FileInput>,
    /// Matches of a pattern that were left out: links that dangle or leave the workspace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) skipped: Vec<String>,
}

/// The sort of input behind a [`KeyPart`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PartKind {
    /// Plain text of the template.
    Text,
    /// Files named one by one.
    Checksum,
    /// Files found by patterns.
    HashFiles,
    /// Operating system or architecture.
    Platform,
    /// The clock.
    Time,
    /// A variable of the environment.
    Environment,
    /// The CI system's values for the build.
    Build,
}

/// One file that a key depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileInput {
    /// The path as named, or relative to the workspace when a pattern found it.
    ///
    /// Bytes that are not UTF-8 are replaced; the hash of a pattern covers the true bytes.
    pub(crate) path: String,
    /// BLAKE3 of the content, 64 hex digits; `None` for a file accepted as missing.
    pub(crate) blake3: Option<String>,
    /// Length in bytes; 0 for a file accepted as missing.
    pub(crate) bytes: u64,
}

/// Whether expanding `template` would read files.
///
/// # Errors
///
/// A [`KeyError`] when the template does not parse.
pub(crate) fn reads_files(template: &str) -> Result<bool, KeyError> {
    let pieces = parse::parse_template(template).map_err(|fault| fault.in_template(template))?;
    Ok(pieces.iter().any(eval::reads_files))
}

/// Whether expanding `template` would read variables of the environment, or ask the CI system.
///
/// # Errors
///
/// A [`KeyError`] when the template does not parse.
pub(crate) fn reads_variables(template: &str) -> Result<bool, KeyError> {
    let pieces = parse::parse_template(template).map_err(|fault| fault.in_template(template))?;
    Ok(pieces.iter().any(eval::reads_variables))
}

/// Expands `template` into a key.
///
/// # Errors
///
/// A [`KeyError`] with its position when the template does not parse, names something unknown or
/// missing, or gives a key that breaks the rules of [`validate`].
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
