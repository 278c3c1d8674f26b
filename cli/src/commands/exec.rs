//! `cachefs exec`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use cachefs::mounts::{Records, unmount};
use cachefs::restore::{MadeDirectories, Outcome};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::Value;

use super::auto;
use crate::caches::{self, Cache, Common, RestoreHow, Restored, SaveHow, Saved};
use crate::config::{Config, Selection};
use crate::detect::Choice;
use crate::exec::{Claim, Ended, Forwarding, run as run_command};
use crate::failure::failure;
use crate::global::{Format, Global};
use crate::progress::Display;
use crate::{exit, machine, object, output, setup, working_directory};

/// Options of `exec`.
#[derive(Debug, Args)]
pub(crate) struct ExecArgs {
    /// A cache of cachefs.toml, by its name (repeatable) [default: all of them]
    #[arg(long, value_name = "NAME", conflicts_with_all = ["auto", "key"])]
    cache: Vec<String>,
    /// The caches of the tools that the workspace uses, as `detect` shows them
    #[arg(long, conflicts_with_all = ["key", "path", "restore_key"])]
    auto: bool,
    /// The key, such as 'm2-{{ checksum "pom.xml" }}'
    #[arg(long, value_name = "KEY", requires = "path")]
    key: Option<String>,
    /// Prefix of keys that will do when there is no such key, the newest first (repeatable)
    #[arg(long, value_name = "PREFIX", requires = "key")]
    restore_key: Vec<String>,
    /// Where the cache belongs; repeatable, with patterns and exclusions
    #[arg(long, value_name = "PATH", requires = "key")]
    path: Vec<PathBuf>,
    /// When to save: if the command succeeded, however it ended, or not at all
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = SaveOn::Success)]
    save_on: SaveOn,
    /// Leave mounted what was mounted
    #[arg(long)]
    keep_mounted: bool,
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    pub(crate) restore: RestoreHow,
    #[command(flatten)]
    save: SaveHow,
    #[command(flatten)]
    common: Common,
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

/// Runs the command; what the cache does never keeps it from running.
///
/// The exit code is the command's, unless that is 0 and the cache's is not: a failure that is not
/// soft, or a miss with `--fail-on-cache-miss`.
pub(crate) fn run(global: &Global, args: &ExecArgs, config: &Config) -> anyhow::Result<u8> {
    let caches = args.caches(config)?;
    let forwarding = Forwarding::start()?;
    let mut printed = Printed::default();
    let mut codes = Vec::new();
    let (restored, claim) = match restore(global, &caches) {
        Ok((restored, claim)) => (restored, Some(claim)),
        Err(error) => {
            let soft = !global.strict_errors && !args.restore.fail_on_cache_miss;
            codes.push(printed.tell(&error, soft));
            (Vec::new(), None)
        }
    };
    printed.restored = caches::restored_values(&restored)?;
    codes.extend(restored.iter().map(|one| one.code));
    if codes.contains(&exit::INTERRUPTED) {
        output::say("interrupted: the command was not run");
        args.unmount(global, &restored);
        return printed.end(global, "interrupted", exit::INTERRUPTED);
    }

    // We stay where we are, or we would keep the mount busy.
    let directory = working_directory::covered();
    let made = make_missing(&restored);
    let ended = run_command(
        &args.command,
        &environment(&caches),
        directory.as_deref(),
        forwarding,
    )
    .unwrap_or_else(Ended::NotStarted);
    if let Ended::NotStarted(_) = ended {
        let program = args.command.first().cloned().unwrap_or_default();
        let message = format!("`{}` {}", program.display(), ended.describe());
        output::complain("error", &message, None);
    }

    let is_saved = match args.save_on {
        SaveOn::Always => !matches!(ended, Ended::NotStarted(_)),
        SaveOn::Success => ended.code() == exit::SUCCESS,
        SaveOn::Never => false,
    };
    if is_saved {
        match args.save(global, caches) {
            Ok(saved) => {
                codes.extend(saved.iter().map(|one| one.code));
                printed.saved = caches::saved_values(&saved)?;
            }
            Err(error) => codes.push(printed.tell(&error, !global.strict_errors)),
        }
    } else if args.save_on == SaveOn::Success && !matches!(ended, Ended::NotStarted(_)) {
        output::say(&format!(
            "not saved: the command {} (--save-on always saves all the same)",
            ended.describe()
        ));
    }
    args.unmount(global, &restored);
    made.iter().for_each(MadeDirectories::remove);
    drop(claim);
    if args.keep_mounted {
        working_directory::tell_to_enter(&restored);
    }
    let (result, command_code) = match &ended {
        Ended::Code(code) => ("exited", Some(*code)),
        Ended::Signal(_) => ("killed", None),
        Ended::NotStarted(_) => ("not_started", None),
    };
    printed.command_exit_code = command_code;
    let code = match ended.code() {
        exit::SUCCESS => caches::worst(codes),
        code => code,
    };
    printed.end(global, result, code)
}

/// What is printed with `--format json`.
#[derive(Debug, Default, Serialize)]
struct Printed {
    /// How the command ended: `exited`, `killed`, `not_started`, or `interrupted` before it ran.
    result: &'static str,
    command_exit_code: Option<u8>,
    restored: Vec<Value>,
    saved: Vec<Value>,
    /// Failures that are none of a cache's.
    failures: Vec<Value>,
    exit_code: u8,
}

impl Printed {
    /// Reports an error of the cache; returns the exit code.
    fn tell(&mut self, error: &anyhow::Error, soft: bool) -> u8 {
        let failure = failure(error, soft);
        failure.lines.iter().for_each(|line| output::say(line));
        self.failures.push(object::of_failure(&failure));
        failure.code
    }

    fn end(mut self, global: &Global, result: &'static str, code: u8) -> anyhow::Result<u8> {
        (self.result, self.exit_code) = (result, code);
        if global.format == Format::Json {
            output::print_json(&self)?;
        }
        Ok(code)
    }
}

impl ExecArgs {
    fn caches(&self, config: &Config) -> anyhow::Result<Vec<Cache>> {
        if self.auto {
            return auto::found(&self.choice, &self.common, &self.restore, &self.save);
        }
        if self.key.is_none() {
            return config.caches(&Selection {
                names: &self.cache,
                layer: None,
            });
        }
        Ok(vec![Cache {
            name: None,
            workspace: setup::workspace()?,
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

    fn save(&self, global: &Global, mut caches: Vec<Cache>) -> anyhow::Result<Vec<Saved>> {
        if self.auto {
            auto::leave_empty(&mut caches);
        }
        for cache in &mut caches {
            cache.save.absent_is_empty = true;
        }
        let display = Display::start("saving")?;
        caches::save_all(global, &caches, &display)
    }

    /// Unmounts what this command has mounted, the last first.
    fn unmount(&self, global: &Global, restored: &[Restored]) {
        if self.keep_mounted {
            return;
        }
        let Ok(store) = setup::store(global) else {
            // What is mounted was mounted from it, so it could be opened a moment ago.
            return;
        };
        let mut paths: Vec<&Path> = ours(restored).collect();
        // Those within others first.
        paths.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
        for path in paths {
            if unmount(&store, path, false).is_ok() {
                continue;
            }
            match unmount(&store, path, true) {
                Ok(_) => output::say(&format!(
                    "note: {} was still in use when it was unmounted, by something that the command left running",
                    output::path(path)
                )),
                Err(error) => output::complain(
                    "warning",
                    &cachefs::describe(&error),
                    error.hint().as_deref(),
                ),
            }
        }
    }
}

/// The paths that this command has mounted.
fn ours(restored: &[Restored]) -> impl Iterator<Item = &Path> {
    restored.iter().filter_map(|one| {
        let report = one.result.as_ref().ok()?;
        let is_ours = matches!(report.outcome, Outcome::Mounted | Outcome::Remounted);
        is_ours.then_some(report.path.as_path())
    })
}

/// Makes the directories of caches that missed, for commands that expect theirs to be there. Those that
/// stay empty are removed in the end.
fn make_missing(restored: &[Restored]) -> Vec<MadeDirectories> {
    let missing = restored.iter().filter(|one| !one.several);
    let missing = missing.filter(|one| one.main().is_none() && !one.path.exists());
    missing
        .filter_map(|one| {
            let owner = one.cache.restore.owner.or_else(machine::sudo_caller);
            let made = MadeDirectories::make(&one.path, owner);
            made.inspect_err(|error| tracing::info!("{}", cachefs::describe(error)))
                .ok()
        })
        .collect()
}

/// Restores, after taking away what a killed `exec` left.
fn restore(global: &Global, caches: &[Cache]) -> anyhow::Result<(Vec<Restored>, Claim)> {
    let store = setup::store(global)?;
    for path in Claim::clear(&store) {
        output::say(&format!(
            "note: unmounted {}, which an earlier `cachefs exec` left when it was killed",
            output::path(&path)
        ));
    }
    let records = Records::new(&store);
    let mut paths = Vec::new();
    for cache in caches {
        // The restore reports what is wrong with the paths.
        let Ok(set) = setup::path_set(&cache.workspace, &cache.paths) else {
            continue;
        };
        for path in set.names() {
            // What an earlier command restored is not ours to unmount.
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
    // What patterns stand for is known only now.
    if let Err(error) = claim.add(ours(&restored)) {
        // It matters only if this process is killed, so it is no reason to go without the mounts.
        tracing::info!("{error:#}");
    }
    Ok((restored, claim))
}

/// Variables for the command that make tools at home on mounts, unless they are set.
fn environment(caches: &[Cache]) -> Vec<(&'static str, &'static str)> {
    let is_uv = caches
        .iter()
        .any(|cache| cache.name.as_deref() == Some("uv"));
    if is_uv && std::env::var_os("UV_LINK_MODE").is_none() {
        output::say(
            "note: UV_LINK_MODE=copy is set for the command, as hard links do not cross mounts",
        );
        return vec![("UV_LINK_MODE", "copy")];
    }
    Vec::new()
}
