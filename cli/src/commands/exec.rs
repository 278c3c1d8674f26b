//! `cachefs exec`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use cachefs::mounts::{MountRecords, unmount_keeping_changes, unmount_path};
use cachefs::restore::{MadeDirectories, RestoreOutcome, UnsavedChanges};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::Value;

use super::auto;
use crate::caches::{
    self, CommonOptions, ResolvedCache, RestoreHow, RestoredDirectory, SaveHow, SavedDirectory,
};
use crate::config::{LoadedConfig, Selection};
use crate::detect::CacheChoice;
use crate::exec::{ChildEnd, Claim, Forwarding, Leftover, run_child as run_command};
use crate::failure::describe_failure;
use crate::global::{Global, OutputFormat};
use crate::hints::word_hint;
use crate::progress::Display;
use crate::{exit, json_output, machine_identity, output, setup, working_directory};

/// Options of `exec`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cachefs exec --auto -- cargo test
  cachefs exec --key 'npm-{{ checksum \"package-lock.json\" }}' --path node_modules -- npm ci")]
pub(crate) struct ExecArgs {
    /// A cache of cachefs.toml (repeatable) [default: all]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["auto", "key"])]
    cache: Vec<String>,
    /// Use the caches of the detected tools, see `cachefs detect`
    #[arg(long, conflicts_with_all = ["key", "path", "restore_key"])]
    auto: bool,
    /// Key or template, for example 'm2-{{ checksum "pom.xml" }}'
    #[arg(long, value_name = "KEY", requires = "path")]
    key: Option<String>,
    /// Fall back to the newest key with this prefix (repeatable, in order)
    #[arg(long, value_name = "PREFIX", requires = "key")]
    restore_key: Vec<String>,
    /// Directory to restore and save (repeatable), with patterns and exclusions
    #[arg(long, value_name = "PATH", requires = "key")]
    path: Vec<PathBuf>,
    /// Save if the command succeeds, always, or never
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = SaveOn::Success)]
    save_on: SaveOn,
    /// Do not unmount after the command
    #[arg(long)]
    keep_mounted: bool,
    #[command(flatten)]
    common: CommonOptions,
    #[command(flatten)]
    choice: CacheChoice,
    #[command(flatten)]
    pub(crate) restore: RestoreHow,
    #[command(flatten)]
    save: SaveHow,
    /// The command and its arguments, after `--`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SaveOn {
    Success,
    Always,
    Never,
}

/// Runs the command, even if the cache fails.
///
/// The exit code is the command's. If that is 0, it is the cache's: nonzero after a hard failure,
/// or after a miss with `--fail-on-cache-miss`.
pub(crate) fn run_exec(
    global: &Global,
    args: &ExecArgs,
    config: &LoadedConfig,
) -> anyhow::Result<u8> {
    let caches = args.caches(config)?;
    let forwarding = Forwarding::start()?;
    let mut printed = PrintedExec::default();
    let mut codes = Vec::new();
    let mut left = Vec::new();
    let (restored, claim) = match restore_for_exec(global, &caches, &mut left) {
        Ok((restored, claim)) => (restored, Some(claim)),
        Err(error) => {
            let soft = !global.strict_errors && !args.restore.fail_on_cache_miss;
            codes.push(printed.tell(&error, soft));
            (Vec::new(), None)
        }
    };
    printed.left = left.iter().map(PrintedLeftover::from).collect();
    printed.restored = caches::result_values(&restored)?;
    codes.extend(restored.iter().map(|one| one.code));
    if codes.contains(&exit::INTERRUPTED) {
        output::log_text("interrupted: the command was not run");
        args.unmount(global, &restored, false);
        return printed.end(global, "interrupted", exit::INTERRUPTED);
    }

    // This process stays outside of the mount; a working directory in it would keep it busy.
    let directory = working_directory::covered_directory();
    let made = make_missing(&restored);
    let ended = run_command(
        &args.command,
        &command_environment(&caches),
        directory.as_deref(),
        forwarding,
    )
    .unwrap_or_else(ChildEnd::NotStarted);
    if let ChildEnd::NotStarted(_) = ended {
        let program = args.command.first().cloned().unwrap_or_default();
        let message = format!("`{}` {}", program.display(), ended.describe());
        output::print_error("error", &message, None);
    }

    let saves = match args.save_on {
        SaveOn::Always => !matches!(ended, ChildEnd::NotStarted(_)),
        SaveOn::Success => ended.code() == exit::SUCCESS,
        SaveOn::Never => false,
    };
    let mut is_saved = true;
    if saves {
        match args.save(global, caches) {
            Ok(saved) => {
                codes.extend(saved.iter().map(|one| one.code));
                is_saved = saved.iter().all(|one| one.result.is_ok());
                printed.saved = caches::result_values(&saved)?;
            }
            Err(error) => {
                is_saved = false;
                codes.push(printed.tell(&error, !global.strict_errors));
            }
        }
    } else if args.save_on == SaveOn::Success && !matches!(ended, ChildEnd::NotStarted(_)) {
        output::log_text(&format!(
            "not saved: the command {} (--save-on always saves anyway)",
            ended.describe()
        ));
    }
    args.unmount(global, &restored, !is_saved);
    made.iter().for_each(MadeDirectories::remove);
    drop(claim);
    if args.keep_mounted {
        working_directory::tell_to_enter(&restored);
    }
    let (result, command_code) = match &ended {
        ChildEnd::Code(code) => ("exited", Some(*code)),
        ChildEnd::Signal(_) => ("killed", None),
        ChildEnd::NotStarted(_) => ("not_started", None),
    };
    printed.command_exit_code = command_code;
    let code = match ended.code() {
        exit::SUCCESS => caches::worst_code(codes),
        code => code,
    };
    printed.end(global, result, code)
}

/// Output of `--format json`.
#[derive(Debug, Default, Serialize)]
struct PrintedExec {
    /// How the command ended: `exited`, `killed`, `not_started`, or `interrupted` before it ran.
    result: &'static str,
    command_exit_code: Option<u8>,
    /// Paths of an earlier `exec` that was killed.
    left: Vec<PrintedLeftover>,
    restored: Vec<Value>,
    saved: Vec<Value>,
    /// Failures that belong to no cache.
    failures: Vec<Value>,
    exit_code: u8,
}

/// A path that an earlier `exec` left mounted.
#[derive(Debug, Serialize)]
struct PrintedLeftover {
    path: String,
    unsaved_changes: u64,
    unsaved_moved_to: Option<String>,
}

impl From<&Leftover> for PrintedLeftover {
    fn from(leftover: &Leftover) -> Self {
        let unsaved = leftover.unsaved.as_ref();
        let moved_to = unsaved.and_then(|unsaved| unsaved.moved_to.as_deref());
        Self {
            path: output::format_path(&leftover.path),
            unsaved_changes: unsaved.map_or(0, |unsaved| unsaved.changes),
            unsaved_moved_to: moved_to.map(output::format_path),
        }
    }
}

impl PrintedExec {
    /// Reports an error of the cache; returns the exit code.
    fn tell(&mut self, error: &anyhow::Error, soft: bool) -> u8 {
        let failure = describe_failure(error, soft);
        failure.lines.iter().for_each(|line| output::log_text(line));
        self.failures.push(json_output::of_failure(&failure));
        failure.code
    }

    fn end(mut self, global: &Global, result: &'static str, code: u8) -> anyhow::Result<u8> {
        (self.result, self.exit_code) = (result, code);
        if global.format == OutputFormat::Json {
            output::print_json(&self)?;
        }
        Ok(code)
    }
}

impl ExecArgs {
    fn caches(&self, config: &LoadedConfig) -> anyhow::Result<Vec<ResolvedCache>> {
        if self.auto {
            return auto::find_caches(&self.choice, &self.common, &self.restore, &self.save);
        }
        if self.key.is_none() {
            return config.caches(&Selection {
                names: &self.cache,
                layer: None,
            });
        }
        Ok(vec![ResolvedCache {
            name: None,
            workspace: setup::workspace_directory()?,
            key: self.key.clone(),
            restore_keys: self.restore_key.clone(),
            paths: self.path.clone(),
            layers: Vec::new(),
            only: None,
            common: self.common.clone(),
            restore: self.restore.clone(),
            save: self.save.clone(),
        }])
    }

    fn save(
        &self,
        global: &Global,
        mut caches: Vec<ResolvedCache>,
    ) -> anyhow::Result<Vec<SavedDirectory>> {
        if self.auto {
            auto::leave_empty(&mut caches);
        }
        for cache in &mut caches {
            cache.save.absent_is_empty = true;
        }
        let display = Display::start("saving")?;
        caches::save_all(global, &caches, &display)
    }

    /// Unmounts the mounts of this command, last first. With `keep`, changes that could not be
    /// saved move to `unsaved/`.
    fn unmount(&self, global: &Global, restored: &[RestoredDirectory], keep: bool) {
        if self.keep_mounted {
            return;
        }
        let Ok(store) = setup::open_store(global) else {
            // We mounted from this store a moment ago, so this is unlikely.
            return;
        };
        let mut paths: Vec<&Path> = mounted_paths(restored).collect();
        // Inner mounts first.
        paths.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
        for path in paths {
            let away = |lazy| match keep {
                true => unmount_keeping_changes(&store, path, lazy),
                false => unmount_path(&store, path, lazy).map(|_| None),
            };
            let gone = away(false).or_else(|_| {
                away(true).inspect(|_| {
                    output::log_text(&format!(
                        "note: {} was still in use when it was unmounted, by a process that the command left running",
                        output::format_path(path)
                    ));
                })
            });
            match gone {
                Ok(None) => {}
                Ok(Some(unsaved)) => output::log_text(&format!("note: {}", where_kept(&unsaved))),
                Err(error) => output::print_error(
                    "warning",
                    &cachefs::describe_chain(&error),
                    error.hint().as_ref().map(word_hint).as_deref(),
                ),
            }
        }
    }
}

/// The paths that this command mounted.
fn mounted_paths(restored: &[RestoredDirectory]) -> impl Iterator<Item = &Path> {
    restored.iter().filter_map(|one| {
        let report = one.result.as_ref().ok()?;
        let is_ours = matches!(
            report.outcome,
            RestoreOutcome::Mounted | RestoreOutcome::Remounted
        );
        is_ours.then_some(report.path.as_path())
    })
}

/// Describes the location of unsaved changes.
fn where_kept(unsaved: &UnsavedChanges) -> String {
    let changes = output::format_count(unsaved.changes, "unsaved change");
    let verb = if unsaved.changes == 1 { "is" } else { "are" };
    let place = unsaved.moved_to.as_deref().map(output::format_path);
    format!("{changes} {verb} in {}", place.unwrap_or_default())
}

/// Creates the directories of missed caches, because commands may expect them. Directories that
/// stay empty are removed at the end.
fn make_missing(restored: &[RestoredDirectory]) -> Vec<MadeDirectories> {
    let missing = restored.iter().filter(|one| !one.several);
    let missing = missing.filter(|one| one.main().is_none() && !one.path.exists());
    missing
        .filter_map(|one| {
            let owner = one
                .cache
                .restore
                .owner
                .or_else(machine_identity::sudo_caller);
            let made = MadeDirectories::make(&one.path, owner);
            made.inspect_err(|error| tracing::info!("{}", cachefs::describe_chain(error)))
                .ok()
        })
        .collect()
}

/// Restores the caches, after unmounting the leftovers of killed `exec` commands.
fn restore_for_exec(
    global: &Global,
    caches: &[ResolvedCache],
    left: &mut Vec<Leftover>,
) -> anyhow::Result<(Vec<RestoredDirectory>, Claim)> {
    let store = setup::open_store(global)?;
    for leftover in Claim::clear(&store) {
        let unsaved = leftover.unsaved.as_ref();
        output::log_text(&format!(
            "note: unmounted {}, which an earlier `cachefs exec` left when it was killed{}",
            output::format_path(&leftover.path),
            unsaved.map_or_else(String::new, |unsaved| format!("; {}", where_kept(unsaved)))
        ));
        left.push(leftover);
    }
    let records = MountRecords::new(&store);
    let mut paths = Vec::new();
    for cache in caches {
        // The restore reports errors in the paths.
        let Ok(set) = setup::path_set(&cache.workspace, &cache.paths) else {
            continue;
        };
        for path in set.names() {
            // We must not unmount paths that an earlier command restored.
            if records.get(path)?.is_none() {
                paths.push(path.to_owned());
            }
        }
    }
    let mut claim = Claim::new(&store, &paths)?;
    let display = Display::start("copying")?;
    let restored = caches::restore_around(global, caches, &display);
    display.release();
    let restored = restored?;
    // Only the restore resolves patterns to paths.
    if let Err(error) = claim.add(mounted_paths(&restored)) {
        // The claim matters only if this process is killed, so keep the mounts without it.
        tracing::info!("{error:#}");
    }
    Ok((restored, claim))
}

/// Environment variables that make tools work well with mounts, unless they are already set.
fn command_environment(caches: &[ResolvedCache]) -> Vec<(&'static str, &'static str)> {
    let is_uv = caches
        .iter()
        .any(|cache| cache.name.as_deref() == Some("uv"));
    if is_uv && std::env::var_os("UV_LINK_MODE").is_none() {
        output::log_text(
            "note: UV_LINK_MODE=copy is set for the command, because hard links do not cross mounts",
        );
        return vec![("UV_LINK_MODE", "copy")];
    }
    Vec::new()
}
