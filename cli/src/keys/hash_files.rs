//! The functions that hash files: `checksum` and `hashFiles`.
//!
//! A single file named without a pattern is hashed as the BLAKE3 of its content. Several files, or
//! the matches of patterns, are hashed as one BLAKE3 over a record for each file: the length of its
//! path as eight little-endian bytes, the path, then a byte 1 and the 32 bytes of the content's
//! BLAKE3. A missing file that is allowed to be missing has a byte 0 instead of the last two. The
//! key gets the first [`HASH_DIGITS`] hex digits.

use std::fs::{self, FileType};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Component, Path};

use super::error::{Span, TemplateFault, TemplateProblem};
use super::{FileInput, KeyContext, pattern};

/// Hex digits of a hash that go into a key: 128 bits, enough to rule out accidental collisions.
pub(super) const HASH_DIGITS: usize = 32;

/// Stands in a key for files that are allowed to be missing.
pub(super) const MISSING: &str = "missing";

/// The files that a hash covers, and the matches that were skipped.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    pub(super) files: Vec<FileInput>,
    pub(super) skipped: Vec<String>,
}

/// A hashed file: its name in the hash, the hash of its content, and its entry in the report.
struct Hashed {
    name: Vec<u8>,
    hash: Option<blake3::Hash>,
    input: FileInput,
}

/// Evaluates `checksum`: hashes files in the order of the arguments, and expands patterns in place.
pub(super) fn evaluate_checksum(
    arguments: &[(String, Span)],
    context: &KeyContext<'_>,
) -> Result<(String, Inputs), TemplateFault> {
    let mut hashed = Vec::new();
    let mut skipped = Vec::new();
    for argument in arguments {
        let (name, span) = argument;
        if !pattern::is_pattern(name) || context.is_file(Path::new(name)) {
            hashed.push(named_file(name, *span, context)?);
            continue;
        }
        let one = std::slice::from_ref(argument);
        let found = pattern::search_files(one, context)?;
        skipped.extend(
            found
                .skipped
                .iter()
                .map(|path| path.to_string_lossy().into_owned()),
        );
        if found.files.is_empty() {
            if !context.allow_missing {
                return Err(no_match(one, context));
            }
            hashed.push(missing_file(name));
        }
        for path in &found.files {
            hashed.push(found_file(path, *span, context)?);
        }
    }
    let value = match hashed.as_slice() {
        [one] if !pattern::is_pattern(&arguments[0].0) => match one.hash {
            Some(hash) => hash_digits(hash),
            None => MISSING.to_owned(),
        },
        all => combine_hashes(all),
    };
    Ok((value, file_inputs(hashed, skipped)))
}

/// Evaluates `hashFiles`: hashes every file that the patterns select together, sorted by path.
pub(super) fn hash_files(
    arguments: &[(String, Span)],
    context: &KeyContext<'_>,
) -> Result<(String, Inputs), TemplateFault> {
    let found = pattern::search_files(arguments, context)?;
    if found.files.is_empty() && !context.allow_missing {
        return Err(no_match(arguments, context));
    }
    let span = pattern::whole_span(arguments);
    let hashed = found
        .files
        .iter()
        .map(|path| found_file(path, span, context))
        .collect::<Result<Vec<_>, _>>()?;
    let skipped = found
        .skipped
        .iter()
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    let value = combine_hashes(&hashed);
    Ok((value, file_inputs(hashed, skipped)))
}

/// Hashes a file that the template names directly.
fn named_file(name: &str, span: Span, context: &KeyContext<'_>) -> Result<Hashed, TemplateFault> {
    if context.reach.is_limited() {
        return tenants_file(name, span, context);
    }
    let path = context.workspace.join(name);
    if path.is_relative() {
        pattern::existing_workspace(context.workspace).map_err(|source| {
            let path = path.clone();
            TemplateFault::new(TemplateProblem::Unreadable { path, source }, span)
        })?;
    }
    let unreadable = |source| {
        TemplateFault::new(
            TemplateProblem::Unreadable {
                path: path.clone(),
                source,
            },
            span,
        )
    };
    let meta = match fs::metadata(&path) {
        Ok(meta) => meta,
        Err(error) if is_absence(&error) => {
            if context.allow_missing {
                return Ok(missing_file(name));
            }
            let problem = TemplateProblem::MissingFile {
                name: name.to_owned(),
                dir: context.workspace.to_owned(),
            };
            return Err(TemplateFault::new(problem, span));
        }
        Err(error) => return Err(unreadable(error)),
    };
    // Opening a pipe would wait for a writer, and reading a device might never end.
    if !meta.is_file() {
        let what = describe_kind(meta.file_type());
        return Err(TemplateFault::new(
            TemplateProblem::NotAFile {
                name: name.to_owned(),
                what,
            },
            span,
        ));
    }
    if !leaves_by_its_own_words(name) {
        let workspace = fs::canonicalize(context.workspace).map_err(unreadable)?;
        let target = fs::canonicalize(&path).map_err(unreadable)?;
        if !target.starts_with(&workspace) {
            return Err(TemplateFault::new(
                TemplateProblem::LeavesWorkspace {
                    name: name.to_owned(),
                },
                span,
            ));
        }
    }
    hash_file(Path::new(name), name.as_bytes().to_vec(), context).map_err(unreadable)
}

/// Hashes a file named by a tenant's template. The file must be below the workspace, after links
/// and `..` are resolved.
fn tenants_file(name: &str, span: Span, context: &KeyContext<'_>) -> Result<Hashed, TemplateFault> {
    let name_of = name.to_owned();
    let leaves = || TemplateProblem::LeavesWorkspace { name: name_of };
    if leaves_by_its_own_words(name) {
        return Err(TemplateFault::new(leaves(), span));
    }
    hash_file(Path::new(name), name.as_bytes().to_vec(), context).or_else(|source| {
        let problem = match source
            .raw_os_error()
            .map(rustix::io::Errno::from_raw_os_error)
        {
            Some(rustix::io::Errno::XDEV) => leaves(),
            _ if is_absence(&source) && context.allow_missing => return Ok(missing_file(name)),
            _ if is_absence(&source) => TemplateProblem::MissingFile {
                name: name.to_owned(),
                dir: context.workspace.to_owned(),
            },
            _ => TemplateProblem::Unreadable {
                path: context.workspace.join(name),
                source,
            },
        };
        Err(TemplateFault::new(problem, span))
    })
}

/// Hashes a file that a pattern matched; `path` is relative to the workspace.
fn found_file(path: &Path, span: Span, context: &KeyContext<'_>) -> Result<Hashed, TemplateFault> {
    hash_file(path, pattern::path_bytes(path).to_vec(), context).map_err(|source| {
        let path = context.workspace.join(path);
        TemplateFault::new(TemplateProblem::Unreadable { path, source }, span)
    })
}

/// Hashes a file of the workspace, as `name`.
fn hash_file(path: &Path, name: Vec<u8>, context: &KeyContext<'_>) -> io::Result<Hashed> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(context.open(path)?)?;
    let hash = hasher.finalize();
    let input = FileInput {
        path: path.to_string_lossy().into_owned(),
        blake3: Some(hash.to_hex().to_string()),
        bytes: hasher.count(),
    };
    Ok(Hashed {
        name,
        hash: Some(hash),
        input,
    })
}

fn missing_file(name: &str) -> Hashed {
    let input = FileInput {
        path: name.to_owned(),
        blake3: None,
        bytes: 0,
    };
    Hashed {
        name: name.as_bytes().to_vec(),
        hash: None,
        input,
    }
}

/// Combines the hashes of several files; [`MISSING`] if none of them exists.
fn combine_hashes(files: &[Hashed]) -> String {
    if files.iter().all(|file| file.hash.is_none()) {
        return MISSING.to_owned();
    }
    let mut hasher = blake3::Hasher::new();
    for file in files {
        hasher.update(&(file.name.len() as u64).to_le_bytes());
        hasher.update(&file.name);
        match &file.hash {
            Some(hash) => hasher.update(&[1]).update(hash.as_bytes()),
            None => hasher.update(&[0]),
        };
    }
    hash_digits(hasher.finalize())
}

fn hash_digits(hash: blake3::Hash) -> String {
    hash.to_hex()[..HASH_DIGITS].to_owned()
}

fn file_inputs(hashed: Vec<Hashed>, skipped: Vec<String>) -> Inputs {
    Inputs {
        files: hashed.into_iter().map(|file| file.input).collect(),
        skipped,
    }
}

fn no_match(patterns: &[(String, Span)], context: &KeyContext<'_>) -> TemplateFault {
    let quoted: Vec<String> = patterns
        .iter()
        .map(|(text, _)| format!("`{text}`"))
        .collect();
    let problem = TemplateProblem::NoMatch {
        patterns: quoted.join(", "),
        dir: context.workspace.to_owned(),
    };
    TemplateFault::new(problem, pattern::whole_span(patterns))
}

/// Whether the template itself points outside the workspace, for example with `../secret`, rather
/// than through a link.
///
/// The author of a template may name any file. Someone who can change only the workspace, such as
/// the author of a pull request, must not choose which files are read.
fn leaves_by_its_own_words(name: &str) -> bool {
    let path = Path::new(name);
    path.is_absolute() || path.components().any(|part| part == Component::ParentDir)
}

/// Whether an error means that the file does not exist, or that its name is impossible.
fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::InvalidFilename
    )
}

fn describe_kind(kind: FileType) -> &'static str {
    if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}
