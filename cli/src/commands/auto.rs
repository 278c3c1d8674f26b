//! `cachefs auto`: restores and saves the caches that `detect` finds.

use clap::{Args, Subcommand};

use crate::caches::{self, CommonOptions, ResolvedCache, RestoreHow, SaveHow};
use crate::detect::{CacheChoice, holds_something};
use crate::global::{Global, OutputFormat};
use crate::progress::Display;
use crate::{exit, output, working_directory};

/// Options of `auto`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  cachefs auto restore
  cargo build
  cachefs auto save")]
pub(crate) struct AutoArgs {
    #[command(subcommand)]
    action: AutoAction,
}

#[derive(Debug, Subcommand)]
enum AutoAction {
    /// Restore the caches of the detected tools
    Restore(AutoRestoreArgs),
    /// Save the caches of the detected tools
    Save(AutoSaveArgs),
}

/// Options of `auto restore`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  cachefs auto restore --tool cargo --tool npm")]
struct AutoRestoreArgs {
    #[command(flatten)]
    common: CommonOptions,
    #[command(flatten)]
    choice: CacheChoice,
    #[command(flatten)]
    how: RestoreHow,
}

/// Options of `auto save`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  cachefs auto save --skip npm")]
struct AutoSaveArgs {
    #[command(flatten)]
    common: CommonOptions,
    #[command(flatten)]
    choice: CacheChoice,
    #[command(flatten)]
    how: SaveHow,
}

impl AutoArgs {
    /// Whether a missing cache is an error.
    pub(crate) fn fails_without_cache(&self) -> bool {
        match &self.action {
            AutoAction::Restore(args) => args.how.fail_on_cache_miss,
            AutoAction::Save(_) => false,
        }
    }
}

pub(crate) fn run_auto(global: &Global, args: &AutoArgs) -> anyhow::Result<u8> {
    match &args.action {
        AutoAction::Restore(args) => auto_restore(global, &args.choice, &args.common, &args.how),
        AutoAction::Save(args) => auto_save(global, &args.choice, &args.common, &args.how),
    }
}

/// Restores the detected caches.
pub(crate) fn auto_restore(
    global: &Global,
    choice: &CacheChoice,
    common: &CommonOptions,
    how: &RestoreHow,
) -> anyhow::Result<u8> {
    let caches = find_caches(choice, common, how, &SaveHow::default())?;
    let display = Display::start("copying")?;
    let restored = caches::restore_all(global, &caches, &display)?;
    drop(display);
    if global.format == OutputFormat::Json {
        caches::print_results(&restored)?;
    }
    Ok(worst_end(restored.iter().map(|one| one.code)))
}

/// Saves the detected caches that are not empty.
pub(crate) fn auto_save(
    global: &Global,
    choice: &CacheChoice,
    common: &CommonOptions,
    how: &SaveHow,
) -> anyhow::Result<u8> {
    let mut caches = find_caches(choice, common, &RestoreHow::default(), how)?;
    leave_empty(&mut caches);
    let display = Display::start("saving")?;
    let saved = caches::save_all(global, &caches, &display)?;
    drop(display);
    working_directory::warn_of_save(&saved);
    if global.format == OutputFormat::Json {
        caches::print_results(&saved)?;
    }
    Ok(worst_end(saved.iter().map(|one| one.code)))
}

fn worst_end(codes: impl Iterator<Item = u8>) -> u8 {
    let code = caches::worst_code(codes);
    if code == exit::INTERRUPTED {
        output::log_text(output::INTERRUPTED);
    }
    code
}

/// The caches of the workspace that are selected by default or by an option.
///
/// # Errors
///
/// Those of [`CacheChoice::detect`].
pub(crate) fn find_caches(
    choice: &CacheChoice,
    common: &CommonOptions,
    restore: &RestoreHow,
    save: &SaveHow,
) -> anyhow::Result<Vec<ResolvedCache>> {
    let workspace = choice.workspace()?;
    let detection = choice.detect()?;
    for note in &detection.notes {
        output::log_text(&format!("note: {note}"));
    }
    let caches: Vec<ResolvedCache> = detection
        .caches
        .iter()
        .filter(|found| found.optional.is_none())
        .map(|found| found.cache(&workspace, common, restore, save))
        .collect();
    if caches.is_empty() {
        output::log_text(&format!(
            "note: no supported tools found in {}, nothing to do",
            output::format_path(&workspace)
        ));
    }
    Ok(caches)
}

/// Removes empty caches from the list, and logs them.
pub(crate) fn leave_empty(caches: &mut Vec<ResolvedCache>) {
    caches.retain(|cache| {
        let is_filled = cache.paths.iter().any(|path| holds_something(path));
        if !is_filled && let Some(name) = &cache.name {
            output::log_text(&format!(
                "{name}: nothing to save, its directory is empty or missing"
            ));
        }
        is_filled
    });
}
