//! Finding files by patterns, in a fixed order and never outside the workspace.
//!
//! Patterns mean what they mean to `hashFiles` elsewhere: relative to the workspace, `**` for any
//! depth, applied in order so that a later pattern takes back what `!` left out, and a pattern
//! that matches a directory matches all that is below it. The repository's own `.git` directories
//! are searched only by a pattern that names `.git`: they differ between equal checkouts.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::Context;
use super::error::{Fault, Problem, Span};

/// What a search found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Paths of regular files relative to the workspace, sorted by their bytes.
    pub(super) files: Vec<PathBuf>,
    /// Links that matched and do not end at a file inside the workspace, sorted.
    pub(super) skipped: Vec<PathBuf>,
}

/// One compiled pattern.
struct Pattern {
    exclude: bool,
    set: GlobSet,
    /// The directory below which everything that can match lies.
    root: PathBuf,
}

/// Searches the workspace for the files that `patterns` select.
pub(super) fn search(patterns: &[(String, Span)], context: &Context<'_>) -> Result<Found, Fault> {
    let compiled = patterns
        .iter()
        .map(|(pattern, span)| compile(pattern, *span, context.workspace))
        .collect::<Result<Vec<_>, _>>()?;
    let workspace = fs::canonicalize(context.workspace)
        .map_err(|source| unreadable(context.workspace, source, whole(patterns)))?;
    let mut walk = Walk {
        patterns: &compiled,
        workspace,
        context,
        enters_git: patterns.iter().any(|(pattern, _)| pattern.contains(".git")),
        span: whole(patterns),
        found: Found::default(),
    };
    for root in roots(&compiled) {
        walk.start(&root)?;
    }
    let mut found = walk.found;
    // By bytes, not by component: the order is part of what the hash covers.
    found.files.sort_unstable_by(|a, b| bytes(a).cmp(bytes(b)));
    found.skipped.sort_unstable();
    Ok(found)
}

/// Whether a pattern, as opposed to a plain path, is written here.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '{']) || text.starts_with('!')
}

/// The place of a whole list of arguments.
pub(super) fn whole(arguments: &[(String, Span)]) -> Span {
    match (arguments.first(), arguments.last()) {
        (Some((_, first)), Some((_, last))) => Span::new(first.start, last.end),
        _ => Span::new(0, 0),
    }
}

fn compile(written: &str, span: Span, workspace: &Path) -> Result<Pattern, Fault> {
    let bad = |reason: &str| {
        let problem = Problem::BadPattern {
            pattern: written.to_owned(),
            reason: reason.to_owned(),
        };
        Fault::new(problem, span)
    };
    let (exclude, body) = match written.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, written),
    };
    let normal = body.replace('\\', "/");
    let relative = match Path::new(&normal).strip_prefix(workspace) {
        Ok(inside) => inside.to_string_lossy().into_owned(),
        Err(_) if normal.starts_with('/') => return Err(bad("it starts outside the workspace")),
        Err(_) => normal,
    };
    let parts: Vec<&str> = relative
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if parts.contains(&"..") {
        return Err(bad("it leads out of the workspace by `..`"));
    }
    if parts.is_empty() {
        return Err(bad("it is empty"));
    }
    let pattern = parts.join("/");
    let mut set = GlobSetBuilder::new();
    for glob in [pattern.clone(), format!("{pattern}/**")] {
        let glob = GlobBuilder::new(&glob)
            .literal_separator(true)
            .build()
            .map_err(|error| bad(&error.kind().to_string()))?;
        set.add(glob);
    }
    let set = set
        .build()
        .map_err(|error| bad(&error.kind().to_string()))?;
    let root = parts
        .iter()
        // An alternation may hold a `/`: what follows its brace is not a plain name either.
        .take_while(|part| !part.contains(['*', '?', '[', ']', '{', '}', ',']))
        .collect();
    Ok(Pattern { exclude, set, root })
}

/// The directories or files to start from: none of them below another.
fn roots(patterns: &[Pattern]) -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> = patterns
        .iter()
        .filter(|pattern| !pattern.exclude)
        .map(|p| p.root.clone())
        .collect();
    roots.sort();
    roots.dedup_by(|later, earlier| later.starts_with(&*earlier));
    roots
}

struct Walk<'a> {
    patterns: &'a [Pattern],
    /// The workspace with its links resolved.
    workspace: PathBuf,
    context: &'a Context<'a>,
    enters_git: bool,
    span: Span,
    found: Found,
}

impl Walk<'_> {
    /// Begins at a path relative to the workspace, which may not exist.
    fn start(&mut self, root: &Path) -> Result<(), Fault> {
        let mut at = PathBuf::new();
        for component in root.components() {
            let Component::Normal(name) = component else {
                continue;
            };
            at.push(name);
            match fs::symlink_metadata(self.workspace.join(&at)) {
                Ok(meta) if at.as_path() == root => return self.visit(&at, meta.file_type()),
                Ok(meta) if meta.is_dir() && !self.is_closed(&at) => {}
                // Directories behind links are not searched, nor what is not there.
                _ => return Ok(()),
            }
        }
        self.directory(Path::new(""))
    }

    fn directory(&mut self, first: &Path) -> Result<(), Fault> {
        // A stack of our own: a tree may be deeper than the thread's.
        let mut pending = vec![first.to_owned()];
        while let Some(directory) = pending.pop() {
            let full = self.workspace.join(&directory);
            let fault = |source| unreadable(&full, source, self.span);
            let mut entries = Vec::new();
            for entry in fs::read_dir(&full).map_err(fault)? {
                let entry = entry.map_err(fault)?;
                entries.push((
                    directory.join(entry.file_name()),
                    entry.file_type().map_err(fault)?,
                ));
            }
            for (path, kind) in entries {
                if kind.is_dir() {
                    if !self.is_closed(&path) {
                        pending.push(path);
                    }
                } else {
                    self.leaf(path, kind);
                }
            }
        }
        Ok(())
    }

    fn visit(&mut self, path: &Path, kind: fs::FileType) -> Result<(), Fault> {
        if kind.is_dir() {
            if self.is_closed(path) {
                Ok(())
            } else {
                self.directory(path)
            }
        } else {
            self.leaf(path.to_owned(), kind);
            Ok(())
        }
    }

    /// Whether a directory is not to be searched.
    fn is_closed(&self, path: &Path) -> bool {
        if self.is_left_out(path) {
            return true;
        }
        let git = !self.enters_git && path.file_name() == Some(OsStr::new(".git"));
        git || (self.context.skip)(&self.context.workspace.join(path))
            || (self.context.skip)(&self.workspace.join(path))
    }

    /// Whether a pattern leaves out a directory, and so all below it, and none takes it back.
    fn is_left_out(&self, path: &Path) -> bool {
        self.patterns
            .iter()
            .rev()
            .take_while(|pattern| pattern.exclude)
            .any(|pattern| pattern.set.is_match(path))
    }

    fn leaf(&mut self, path: PathBuf, kind: fs::FileType) {
        if !(kind.is_file() || kind.is_symlink()) || !self.selects(&path) {
            return;
        }
        if kind.is_file() || self.links_to_file_inside(&path) {
            self.found.files.push(path);
        } else {
            self.found.skipped.push(path);
        }
    }

    fn selects(&self, path: &Path) -> bool {
        self.patterns.iter().fold(false, |selected, pattern| {
            if pattern.set.is_match(path) {
                !pattern.exclude
            } else {
                selected
            }
        })
    }

    fn links_to_file_inside(&self, path: &Path) -> bool {
        fs::canonicalize(self.workspace.join(path))
            .is_ok_and(|target| target.starts_with(&self.workspace) && target.is_file())
    }
}

/// The bytes of a path.
pub(super) fn bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

fn unreadable(path: &Path, source: std::io::Error, span: Span) -> Fault {
    Fault::new(
        Problem::Unreadable {
            path: path.to_owned(),
            source,
        },
        span,
    )
}
