//! Real build tools with small real projects, and builds that work only from a filled cache.
//!
//! A [`Tool`] that is not installed is `None`, with a note: its tests skip. [`Tool::prepare`]
//! fills a cache as the tool itself does, from the network or from this machine;
//! [`Project::build`] then builds offline with any copy of that cache, and
//! [`Project::assert_needs_cache`] proves that the build has no other source. The same build in a
//! container is [`Project::script`], with what it [needs](Project::needs) and what is to be
//! [hidden](Project::hidden) from it.

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

/// How long one step of a tool may take, a slow network included.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Hides a directory from a build: an empty one lies over it, in a mount namespace of the build's
/// own.
const HIDE: &str = r#"mount -t tmpfs none "$1" && exec sh -c "$2""#;

/// Shows a directory to a build at another place, in the same way.
const SHOW: &str = r#"mount --bind "$1" "$2" && exec sh -c "$3""#;

/// Where every build in a container can have its cache, and tools must that keep absolute paths in
/// it.
pub const PLACE: &str = "/mnt";

/// A build tool.
#[derive(Clone, Copy)]
pub struct Tool {
    recipe: &'static dyn Recipe,
}

/// Maven with Debian's own repository of artifacts as its only source.
#[must_use]
pub fn maven() -> Option<Tool> {
    Tool::installed(&maven::Maven)
}

/// npm with its registry as the source.
#[must_use]
pub fn npm() -> Option<Tool> {
    Tool::installed(&npm::Npm)
}

/// cargo with its registry as the source; the cache is a whole `CARGO_HOME`.
#[must_use]
pub fn cargo() -> Option<Tool> {
    Tool::installed(&cargo::Cargo)
}

/// Debian's pip with its registry as the source; the cache is a directory of wheels.
#[must_use]
pub fn pip() -> Option<Tool> {
    Tool::installed(&pip::Pip)
}

/// Debian's Gradle, with Debian's own repository of artifacts as its only source.
#[must_use]
pub fn gradle() -> Option<Tool> {
    Tool::installed(&gradle::Gradle)
}

/// Every tool that is installed.
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

    /// The tool's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.recipe.name()
    }

    /// Writes the project into `dir` and fills its cache.
    ///
    /// # Errors
    ///
    /// When the tool fails, with its output.
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

/// A project whose cache is filled.
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

    /// The project's sources, in which the tool runs.
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

    /// The offline build as text for a shell that runs in the project, wherever that and the cache
    /// are seen there.
    #[must_use]
    pub fn script(&self, cache: &Path) -> String {
        self.recipe.offline(&quoted(cache))
    }

    /// A directory of this machine that the build must not see, so that the cache alone can serve
    /// it.
    #[must_use]
    pub fn hidden(&self) -> Option<&'static str> {
        self.recipe.hidden()
    }

    /// Directories of this machine besides `/usr`, `/etc` and `/opt` that the build needs under
    /// the same names.
    #[must_use]
    pub fn needs(&self) -> Vec<PathBuf> {
        self.recipe.needs()
    }

    /// What is there after a build and not before.
    #[must_use]
    pub fn product(&self) -> PathBuf {
        self.source().join(self.recipe.product())
    }

    /// What the tool says when its cache lacks something.
    #[must_use]
    pub fn complaint(&self) -> &'static str {
        self.recipe.complaint()
    }

    /// Builds from nothing but the sources and the cache at `cache`.
    ///
    /// # Errors
    ///
    /// When what an earlier build made cannot be removed.
    ///
    /// # Panics
    ///
    /// When the tool cannot be started or does not end.
    pub fn build(&self, cache: &Path) -> Result<Output> {
        self.clean()?;
        Ok(self.offline_build(cache).run())
    }

    /// Asserts that the build works with the cache at `cache`.
    ///
    /// # Panics
    ///
    /// With the tool's output when it does not.
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

    /// Asserts that the build fails with an empty cache, and for that reason.
    ///
    /// # Panics
    ///
    /// When it works, or fails for another reason.
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

    /// Removes what a build made.
    ///
    /// # Errors
    ///
    /// When something of it cannot be removed.
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

/// What is particular to one tool.
trait Recipe: Sync {
    fn name(&self) -> &'static str;

    /// What this machine would have to have; `None` when it has it.
    fn lacks(&self) -> Option<String>;

    /// Writes the sources.
    fn write(&self, project: &Project) -> Result<()>;

    /// The source of packages, where that is a server of this machine.
    fn serve(&self) -> Result<Option<FileServer>> {
        Ok(None)
    }

    /// The steps that fill a cache, with access to the source of packages.
    fn fill(&self, project: &Project, cache: &Path, source: Option<&FileServer>)
    -> Vec<Invocation>;

    /// The build without such access, as text for a shell. The cache is named as the shell takes
    /// it.
    fn offline(&self, cache: &str) -> String;

    /// Whether the cache has absolute paths of itself in it.
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

    /// Directories of the project that a build makes.
    fn outputs(&self) -> &'static [&'static str];

    /// What is there after a build and not before, relative to the project.
    fn product(&self) -> &'static str;

    /// What the tool says when its cache lacks something.
    fn complaint(&self) -> &'static str;
}

/// Whether a program answers when asked for its version.
fn runs(program: &str) -> bool {
    Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A tool's step: run in the project, with the environment of the tests, which may hold what the
/// tool needs to reach its registry here.
fn step(project: &Project, program: &str, args: &[&OsStr]) -> Invocation {
    let invocation = Invocation::new(program, args).cwd(project.source());
    std::env::vars_os().fold(invocation, |invocation, (name, value)| {
        invocation.env(name, value)
    })
}

/// A step whose cache is at [`PLACE`].
fn shown(project: &Project, cache: &Path, script: &str) -> Invocation {
    let words = ["--mount", "sh", "-c", SHOW, "sh"].map(OsStr::new);
    let rest = [cache.as_os_str(), PLACE.as_ref(), script.as_ref()];
    step(project, "unshare", &[&words[..], &rest[..]].concat())
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}
