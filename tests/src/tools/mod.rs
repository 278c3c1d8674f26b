//! Real build tools with small projects, and builds that work only with a filled cache.
//!
//! A [`Tool`] that is not installed is `None` and prints a note, so its tests are skipped.
//! [`Tool::prepare`] fills a cache with the tool itself, from the network or from this machine.
//! [`Project::build`] then builds offline with any copy of that cache, and
//! [`Project::assert_needs_cache`] proves that the build has no other source. For a build in a
//! container, run [`Project::script`], mount the directories it [needs](Project::needs), and leave
//! out the [hidden](Project::hidden) one.

mod cargo;
mod file_server;
mod gradle;
mod maven;
mod npm;
mod pip;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::harness::{Invocation, Output};
use file_server::FileServer;

/// Timeout of one step of a tool, long enough for a slow network.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Hides directory `$1` from script `$2`: mounts an empty tmpfs over it in a mount namespace.
const HIDE: &str = r#"mount -t tmpfs none "$1" && exec sh -c "$2""#;

/// Shows directory `$1` at `$2` to script `$3`, by a bind mount in a mount namespace.
const SHOW: &str = r#"mount --bind "$1" "$2" && exec sh -c "$3""#;

/// Cache path for builds in containers. Tools that store absolute paths in the cache require it.
pub const PLACE: &str = "/mnt";

/// A build tool.
#[derive(Clone, Copy)]
pub struct Tool {
    recipe: &'static dyn Recipe,
}

/// Maven; its only source is Debian's artifact repository on this machine.
#[must_use]
pub fn maven() -> Option<Tool> {
    Tool::installed(&maven::Maven)
}

/// npm; its source is the npm registry.
#[must_use]
pub fn npm() -> Option<Tool> {
    Tool::installed(&npm::Npm)
}

/// cargo; its source is the crates.io registry, and the cache is a whole `CARGO_HOME`.
#[must_use]
pub fn cargo() -> Option<Tool> {
    Tool::installed(&cargo::Cargo)
}

/// Debian's pip; its source is the PyPI registry, and the cache is a directory of wheels.
#[must_use]
pub fn pip() -> Option<Tool> {
    Tool::installed(&pip::Pip)
}

/// Debian's Gradle; its only source is Debian's artifact repository on this machine.
#[must_use]
pub fn gradle() -> Option<Tool> {
    Tool::installed(&gradle::Gradle)
}

/// All installed tools.
#[must_use]
pub fn all() -> Vec<Tool> {
    let tools = [maven(), npm(), cargo(), pip(), gradle()];
    tools.into_iter().flatten().collect()
}

impl Tool {
    fn installed(recipe: &'static dyn Recipe) -> Option<Self> {
        match recipe.lacks() {
            None => Some(Self { recipe }),
            Some(lack) => {
                cachefs_skip::skip(recipe.name(), format_args!("it needs {lack}"));
                None
            }
        }
    }

    /// The tool's name, for example `npm`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.recipe.name()
    }

    /// Writes the project into `dir` and fills its cache.
    ///
    /// # Errors
    ///
    /// If the tool fails; includes its output.
    pub fn prepare(&self, dir: &Path) -> Result<Project> {
        fs::create_dir_all(dir)?;
        let dir = fs::canonicalize(dir)?;
        let project = Project {
            recipe: self.recipe,
            dir,
        };
        fs::create_dir(project.source())?;
        fs::create_dir(project.cache())?;
        self.recipe.write(&project)?;
        let source = self.recipe.serve()?;
        for step in self
            .recipe
            .fill(&project, &project.cache(), source.as_ref())
        {
            let output = step.timeout(TIMEOUT).run();
            ensure!(
                output.status.success(),
                "cannot fill the cache of {}\n{output}",
                self.name()
            );
        }
        project.clean()?;
        Ok(project)
    }
}

/// A project with a filled cache.
pub struct Project {
    recipe: &'static dyn Recipe,
    dir: PathBuf,
}

impl Project {
    /// The cache that the tool filled.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.dir.join("cache")
    }

    /// The directory with the sources, in which the tool runs.
    #[must_use]
    pub fn source(&self) -> PathBuf {
        self.dir.join("project")
    }

    /// The offline build with the cache at `cache`, ready to run.
    #[must_use]
    pub fn offline_build(&self, cache: &Path) -> Invocation {
        let script = self.script(cache);
        let hidden = self
            .hidden()
            .filter(|_| rustix::process::geteuid().is_root());
        let build = match hidden {
            Some(hidden) => {
                let words = ["--mount", "sh", "-c", HIDE, "sh", hidden, &script];
                step(self, "unshare", &words.map(OsStr::new))
            }
            None if self.recipe.keeps_paths() => shown(self, cache, &self.script(PLACE.as_ref())),
            None => step(self, "sh", &["-c", &script].map(OsStr::new)),
        };
        build.timeout(TIMEOUT)
    }

    /// The offline build as a shell script, to run in the project directory. Both paths may be
    /// those inside a container.
    #[must_use]
    pub fn script(&self, cache: &Path) -> String {
        self.recipe.offline(&quoted(cache))
    }

    /// A directory of this machine to hide from the build, so that only the cache can serve it.
    #[must_use]
    pub fn hidden(&self) -> Option<&'static str> {
        self.recipe.hidden()
    }

    /// Directories of this machine, besides `/usr`, `/etc` and `/opt`, that the build needs at the
    /// same paths.
    #[must_use]
    pub fn needs(&self) -> Vec<PathBuf> {
        self.recipe.needs()
    }

    /// A file that the build creates.
    #[must_use]
    pub fn product(&self) -> PathBuf {
        self.source().join(self.recipe.product())
    }

    /// The tool's error message for a cache miss.
    #[must_use]
    pub fn complaint(&self) -> &'static str {
        self.recipe.complaint()
    }

    /// Builds from the sources and the cache at `cache` alone.
    ///
    /// # Errors
    ///
    /// If the output of an earlier build cannot be removed.
    ///
    /// # Panics
    ///
    /// If the tool cannot be started or does not exit in time.
    pub fn build(&self, cache: &Path) -> Result<Output> {
        self.clean()?;
        Ok(self.offline_build(cache).run())
    }

    /// Asserts that the build succeeds with the cache at `cache`.
    ///
    /// # Panics
    ///
    /// If the build fails; prints the tool's output.
    #[track_caller]
    pub fn assert_builds(&self, cache: &Path) {
        match self.build(cache) {
            Ok(output) => {
                let output = output.success();
                let product = self.product();
                assert!(product.exists(), "the build made no {product:?}\n{output}");
            }
            Err(error) => panic!("{error:#}"),
        }
    }

    /// Asserts that the build fails with an empty cache, and fails because of a cache miss.
    ///
    /// # Panics
    ///
    /// If the build succeeds, or fails for another reason.
    #[track_caller]
    pub fn assert_needs_cache(&self) {
        let empty = self.dir.join("empty-cache");
        let prepared = fs::create_dir(&empty)
            .map_err(Into::into)
            .and_then(|()| self.build(&empty));
        let removed = fs::remove_dir_all(&empty);
        match prepared {
            Ok(output) => {
                assert!(
                    !output.status.success(),
                    "it builds without a cache\n{output}"
                );
                let complaint = self.complaint();
                let text = output.stdout() + &output.stderr();
                assert!(
                    text.contains(complaint),
                    "it fails without {complaint:?}\n{output}"
                );
            }
            Err(error) => panic!("{error:#}"),
        }
        assert!(removed.is_ok(), "cannot remove {empty:?}: {removed:?}");
    }

    /// Removes the output of a build.
    ///
    /// # Errors
    ///
    /// If part of the output cannot be removed.
    pub fn clean(&self) -> Result<()> {
        for output in self.recipe.outputs() {
            let path = self.source().join(output);
            match fs::remove_dir_all(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {path:?}"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The details of one tool.
trait Recipe: Sync {
    fn name(&self) -> &'static str;

    /// Returns a requirement that this machine lacks, if any.
    fn lacks(&self) -> Option<String>;

    /// Writes the sources.
    fn write(&self, project: &Project) -> Result<()>;

    /// Starts a package server on this machine, for tools that need one.
    fn serve(&self) -> Result<Option<FileServer>> {
        Ok(None)
    }

    /// The steps that fill a cache, with access to the package source.
    fn fill(&self, project: &Project, cache: &Path, source: Option<&FileServer>)
    -> Vec<Invocation>;

    /// The offline build as a shell script. `cache` is already quoted for the shell.
    fn offline(&self, cache: &str) -> String;

    /// Whether the cache contains its own absolute path.
    fn keeps_paths(&self) -> bool {
        false
    }

    /// See [`Project::hidden`].
    fn hidden(&self) -> Option<&'static str> {
        None
    }

    /// See [`Project::needs`].
    fn needs(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Directories in the project that a build creates.
    fn outputs(&self) -> &'static [&'static str];

    /// A file that the build creates, relative to the project.
    fn product(&self) -> &'static str;

    /// The tool's error message for a cache miss.
    fn complaint(&self) -> &'static str;
}

/// Whether `program --version` succeeds.
fn runs(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A step of a tool, run in the project. It inherits the test environment, which may contain
/// settings that the tool needs to reach its registry.
fn step(project: &Project, program: &str, args: &[&OsStr]) -> Invocation {
    let invocation = Invocation::new(program, args).cwd(project.source());
    std::env::vars_os().fold(invocation, |invocation, (name, value)| {
        invocation.env(name, value)
    })
}

/// A step that sees its cache at [`PLACE`].
fn shown(project: &Project, cache: &Path, script: &str) -> Invocation {
    let words = ["--mount", "sh", "-c", SHOW, "sh"].map(OsStr::new);
    let rest = [cache.as_os_str(), PLACE.as_ref(), script.as_ref()];
    step(project, "unshare", &[&words[..], &rest[..]].concat())
}

/// Quotes a path for the shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}
