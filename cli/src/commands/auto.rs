//! `cachefs auto`: what `detect` finds, restored and saved.

use clap::{Args, Subcommand};

use crate::caches::{self, Cache, Common, RestoreHow, SaveHow};
use crate::detect::{Choice, holds_something};
use crate::global::{Format, Global};
use crate::progress::Display;
use crate::{exit, output, working_directory};

/// Options of `auto`.
#[derive(Debug, Args)]
pub(crate) struct AutoArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Restore the caches of the tools that the workspace uses
    Restore(RestoreArgs),
    /// Save the caches of the tools that the workspace uses
    Save(SaveArgs),
}

/// Options of `auto restore`.
#[derive(Debug, Args)]
struct RestoreArgs {
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    how: RestoreHow,
    #[command(flatten)]
    common: Common,
}

/// Options of `auto save`.
#[derive(Debug, Args)]
struct SaveArgs {
    #[command(flatten)]
    choice: Choice,
    #[command(flatten)]
    how: SaveHow,
    #[command(flatten)]
    common: Common,
}

impl AutoArgs {
    /// Whether the command is to fail when there is no cache.
    pub(crate) fn fails_without_cache(&self) -> bool {
        match &self.action {
            Action::Restore(args) => args.how.fail_on_cache_miss,
            Action::Save(_) => false,
        }
    }
}

pub(crate) fn run(global: &Global, args: &AutoArgs) -> anyhow::Result<u8> {
    match &args.action {
        Action::Restore(args) => restore(global, &args.choice, &args.common, &args.how),
        Action::Save(args) => save(global, &args.choice, &args.common, &args.how),
    }
}

/// Restores the caches that are found.
pub(crate) fn restore(
    global: &Global,
    choice: &Choice,
    common: &Common,
    how: &RestoreHow,
) -> anyhow::Result<u8> {
    let caches = found(choice, common, how, &SaveHow::default())?;
    let display = Display::start("copying")?;
    let restored = caches::restore_all(global, &caches, &display)?;
    drop(display);
    if global.format == Format::Json {
        caches::print_restored(&restored)?;
    }
    Ok(ended(restored.iter().map(|one| one.code)))
}

/// Saves the caches that are found and hold something.
pub(crate) fn save(
    global: &Global,
    choice: &Choice,
    common: &Common,
    how: &SaveHow,
) -> anyhow::Result<u8> {
    let mut caches = found(choice, common, &RestoreHow::default(), how)?;
    leave_empty(&mut caches);
    let display = Display::start("saving")?;
    let saved = caches::save_all(global, &caches, &display)?;
    drop(display);
    working_directory::warn_of_save(&saved);
    if global.format == Format::Json {
        caches::print_saved(&saved)?;
    }
    Ok(ended(saved.iter().map(|one| one.code)))
}

fn ended(codes: impl Iterator<Item = u8>) -> u8 {
    let code = caches::worst(codes);
    if code == exit::INTERRUPTED {
        output::say(output::INTERRUPTED);
    }
    code
}

/// The caches of the workspace that are taken without being asked for, or were asked for.
///
/// # Errors
///
/// Those of [`Choice::detect`].
pub(crate) fn found(
    choice: &Choice,
    common: &Common,
    restore: &RestoreHow,
    save: &SaveHow,
) -> anyhow::Result<Vec<Cache>> {
    let workspace = choice.workspace()?;
    let detection = choice.detect()?;
    for note in &detection.notes {
        output::say(&format!("note: {note}"));
    }
    let caches: Vec<Cache> = detection
        .caches
        .iter()
        .filter(|found| found.optional.is_none())
        .map(|found| found.cache(&workspace, common, restore, save))
        .collect();
    if caches.is_empty() {
        output::say(&format!(
            "note: found no tool in {} whose cache is known, so there is nothing to do",
            output::path(&workspace)
        ));
    }
    Ok(caches)
}

/// Takes out the caches that hold nothing, and says so.
pub(crate) fn leave_empty(caches: &mut Vec<Cache>) {
    caches.retain(|cache| {
        let is_filled = cache.paths.iter().any(|path| holds_something(path));
        if !is_filled && let Some(name) = &cache.name {
            output::say(&format!(
                "{name}: nothing to save, its directory is empty or not there"
            ));
        }
        is_filled
    });
}
