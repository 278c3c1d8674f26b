//! Finds files by patterns, in a fixed order and never outside the workspace.
//!
//! Patterns work as in GitHub's `hashFiles`: they are relative to the workspace, `**` matches any
//! depth, and a pattern that matches a directory matches everything below it. They apply in order,
//! so a later pattern can include again a path that `!` excluded. `.git` directories are searched
//! only if a pattern names `.git`, because they differ between identical checkouts.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use cachefs::paths::{glob_of, has_special, literal_names, real_path};
use cachefs_store::path_globs::compile_globs;
use globset::GlobSet;

use super::KeyContext;
use super::error::{Span, TemplateFault, TemplateProblem};

/// The result of a search.
#[derive(Debug, Default)]
pub(super) struct FoundFiles {
    /// Regular files relative to the workspace, sorted by bytes.
    pub(super) files: Vec<PathBuf>,
    /// Matching links that do not resolve to a file inside the workspace, and directories that we
    /// may not read; sorted.
    pub(super) skipped: Vec<PathBuf>,
}

/// One compiled pattern.
struct FilePattern {
    exclude: bool,
    set: GlobSet,
    /// For an exclusion: matches directories that cannot contain a selected file.
    closed: GlobSet,
    /// The directory that contains all possible matches.
    root: PathBuf,
}

/// Searches the workspace for the files that `patterns` select.
pub(super) fn search_files(
    patterns: &[(String, Span)],
    context: &KeyContext<'_>,
) -> Result<FoundFiles, TemplateFault> {
    if context.reach.is_limited()
        && let Some((pattern, span)) = patterns
            .iter()
            .find(|(pattern, _)| pattern.trim_start_matches('!').starts_with(['/', '\\']))
    {
        // Whether an absolute path leads into the workspace depends on links of the host.
        let problem = TemplateProblem::BadPattern {
            pattern: pattern.clone(),
            reason: "it starts outside the workspace".to_owned(),
        };
        return Err(TemplateFault::new(problem, *span));
    }
    let compiled = patterns
        .iter()
        .map(|(pattern, span)| compile_file_pattern(pattern, *span, context.workspace))
        .collect::<Result<Vec<_>, _>>()?;
    let workspace = existing_workspace(context.workspace).map_err(|source| {
        unreadable_fault(&context.workspace.join("."), source, whole_span(patterns))
    })?;
    let mut walk = PatternWalk {
        patterns: &compiled,
        workspace,
        context,
        enters_git: patterns.iter().any(|(pattern, _)| pattern.contains(".git")),
        span: whole_span(patterns),
        found: FoundFiles::default(),
    };
    for root in search_roots(&compiled) {
        walk.start(&root)?;
    }
    let mut found = walk.found;
    // By bytes, not by component: the hash covers the order.
    found
        .files
        .sort_unstable_by(|a, b| path_bytes(a).cmp(path_bytes(b)));
    found.skipped.sort_unstable();
    Ok(found)
}

/// The workspace path with links resolved.
pub(super) fn existing_workspace(workspace: &Path) -> std::io::Result<PathBuf> {
    if workspace.as_os_str().is_empty() {
        return Err(std::io::Error::new(
            ErrorKind::NotFound,
            "the working directory has been deleted",
        ));
    }
    fs::canonicalize(workspace)
}

/// Whether `text` is a pattern rather than a plain path.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '{']) || text.starts_with('!')
}

/// The span from the first argument to the last.
pub(super) fn whole_span(arguments: &[(String, Span)]) -> Span {
    match (arguments.first(), arguments.last()) {
        (Some((_, first)), Some((_, last))) => Span::new(first.start, last.end),
        _ => Span::new(0, 0),
    }
}

fn compile_file_pattern(
    written: &str,
    span: Span,
    workspace: &Path,
) -> Result<FilePattern, TemplateFault> {
    let bad = |reason: &str| {
        let problem = TemplateProblem::BadPattern {
            pattern: written.to_owned(),
            reason: reason.to_owned(),
        };
        TemplateFault::new(problem, span)
    };
    let (exclude, body) = match written.strip_prefix('!') {
        Some(rest) => (true, rest),
        None => (false, written),
    };
    let normal = body.replace('\\', "/");
    let relative = match normal.starts_with('/') {
        true => below_workspace(Path::new(&normal), workspace)
            .ok_or_else(|| bad("it starts outside the workspace"))?,
        false => normal,
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
    // `app/[slug]/*.lock` names the directory `[slug]` if that exists.
    let literal = literal_names(workspace, &parts, |path| path.symlink_metadata().is_ok());
    let pattern = glob_of(&parts, literal);
    let compile = |glob: &str| {
        compile_globs([glob, &format!("{glob}/**")]).map_err(|error| bad(&error.kind().to_string()))
    };
    let plain = parts[literal..]
        .iter()
        // An alternation may contain a `/`, so the part after its brace is not a plain name either.
        .take_while(|part| !part.contains(['*', '?', '[', ']', '{', '}', ',']))
        .count();
    Ok(FilePattern {
        exclude,
        set: compile(&pattern)?,
        closed: compile(without_content(&pattern))?,
        root: parts[..literal + plain].iter().collect(),
    })
}

/// Makes an absolute pattern relative to the workspace, which the pattern may name through links.
fn below_workspace(pattern: &Path, workspace: &Path) -> Option<String> {
    let inside = match pattern.strip_prefix(workspace) {
        Ok(inside) => inside.to_owned(),
        Err(_) => {
            let is_plain = |part: &Component<'_>| !has_special(&part.as_os_str().to_string_lossy());
            let plain: PathBuf = pattern.components().take_while(is_plain).collect();
            let rest = pattern.strip_prefix(&plain).ok()?;
            let plain = real_path(&plain);
            plain.strip_prefix(real_path(workspace)).ok()?.join(rest)
        }
    };
    Some(inside.to_string_lossy().into_owned())
}

/// The directories whose whole content an exclusion covers: `a` for `a/**`, `a/*` and `a`.
fn without_content(mut glob: &str) -> &str {
    while let Some(shorter) = glob.strip_suffix("/**").or_else(|| glob.strip_suffix("/*")) {
        glob = shorter;
    }
    glob
}

/// The directories and files to start from, without those below another one.
fn search_roots(patterns: &[FilePattern]) -> Vec<PathBuf> {
    let mut roots: Vec<PathBuf> = patterns
        .iter()
        .filter(|pattern| !pattern.exclude)
        .map(|p| p.root.clone())
        .collect();
    roots.sort();
    roots.dedup_by(|later, earlier| later.starts_with(&*earlier));
    roots
}

struct PatternWalk<'a> {
    patterns: &'a [FilePattern],
    /// The workspace path with links resolved.
    workspace: PathBuf,
    context: &'a KeyContext<'a>,
    enters_git: bool,
    span: Span,
    found: FoundFiles,
}

impl PatternWalk<'_> {
    /// Starts at a path relative to the workspace; the path may not exist.
    fn start(&mut self, root: &Path) -> Result<(), TemplateFault> {
        let mut at = PathBuf::new();
        for component in root.components() {
            let Component::Normal(name) = component else {
                continue;
            };
            at.push(name);
            match self.context.kind(&at) {
                Ok(kind) if at.as_path() == root => return self.visit(&at, kind),
                Ok(kind) if kind.is_dir() && !self.is_closed(&at) => {}
                // Skip links to directories, and paths that do not exist.
                _ => return Ok(()),
            }
        }
        self.directory(Path::new(""))
    }

    fn directory(&mut self, first: &Path) -> Result<(), TemplateFault> {
        // An explicit stack: a deep tree would overflow the thread's stack.
        let mut pending = vec![first.to_owned()];
        while let Some(directory) = pending.pop() {
            let full = self.workspace.join(&directory);
            let fault = |source| unreadable_fault(&full, source, self.span);
            let entries = match self.context.names(&self.workspace, &directory) {
                // A build does not depend on a directory that it cannot read, such as the data of a
                // database in a container. If a pattern names the directory, it is an error.
                Err(error) if error.kind() == ErrorKind::PermissionDenied && directory != first => {
                    self.found.skipped.push(directory);
                    continue;
                }
                entries => entries.map_err(fault)?,
            };
            for (name, kind) in entries {
                let path = directory.join(name);
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

    fn visit(&mut self, path: &Path, kind: fs::FileType) -> Result<(), TemplateFault> {
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

    /// Whether to skip a directory.
    fn is_closed(&self, path: &Path) -> bool {
        if self.is_left_out(path) {
            return true;
        }
        let git = !self.enters_git && path.file_name() == Some(OsStr::new(".git"));
        git || (self.context.skip)(&self.context.workspace.join(path))
            || (self.context.skip)(&self.workspace.join(path))
    }

    /// Whether a pattern excludes a directory with its content, and no later pattern includes it.
    fn is_left_out(&self, path: &Path) -> bool {
        self.patterns
            .iter()
            .rev()
            .take_while(|pattern| pattern.exclude)
            .any(|pattern| pattern.closed.is_match(path))
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
        if self.context.reach.is_limited() {
            return self.context.is_file(path);
        }
        fs::canonicalize(self.workspace.join(path))
            .is_ok_and(|target| target.starts_with(&self.workspace) && target.is_file())
    }
}

/// The bytes of a path.
pub(super) fn path_bytes(path: &Path) -> &[u8] {
    path.as_os_str().as_bytes()
}

fn unreadable_fault(path: &Path, source: std::io::Error, span: Span) -> TemplateFault {
    TemplateFault::new(
        TemplateProblem::Unreadable {
            path: path.to_owned(),
            source,
        },
        span,
    )
}
