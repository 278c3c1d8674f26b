//! Outputs for the CI system, in addition to messages for users.
//!
//! A command passes one [`CacheResult`] for each cache that it restored or saved. The environment
//! selects the systems ([`select`]), or `--outputs` names them; files named by the user
//! (`--metrics-file`, `--dotenv`) are always written. Each system's conventions have their own
//! module, with pure functions from results to text. A failure to write an output is only a
//! warning, because the cache itself is unaffected.

pub(crate) mod annotate;
mod azure;
mod dotenv;
mod github;
mod harness;
mod metrics;
mod result;
mod select;
mod summary;
#[cfg(test)]
mod testing;

pub(crate) use result::{CacheAction, CacheResult, KeyMatch};
pub(crate) use select::{OutputArgs, Outputs};

use std::path::Path;

use crate::{log, output_file, text};

/// Writes all selected outputs. `results` are those of one command.
pub(crate) fn write_outputs(outputs: &Outputs, results: &[CacheResult]) {
    if results.is_empty() {
        return;
    }
    let restored: Vec<_> = results
        .iter()
        .filter(|result| result.action == CacheAction::Restore)
        .collect();
    if let (Some(file), false) = (&outputs.github_output, restored.is_empty()) {
        warn_unwritten(
            file,
            github::github_outputs(&restored)
                .and_then(|text| output_file::append_text(file, &text)),
        );
    }
    if let Some(file) = &outputs.github_summary {
        warn_unwritten(
            file,
            output_file::append_text(file, &summary::markdown_table(results)),
        );
    }
    if let (Some(file), false) = (&outputs.drone_output, restored.is_empty()) {
        warn_unwritten(
            file,
            output_file::append_text(file, &harness::harness_outputs(&restored)),
        );
    }
    if let Some(file) = &outputs.cache_intelligence {
        warn_unwritten(
            file,
            output_file::replace_text(file, &harness::cache_intelligence(results)),
        );
    }
    if outputs.azure && !restored.is_empty() {
        outputs.command(&azure::azure_variables(&restored));
    }
    if let (Some(file), false) = (&outputs.dotenv, restored.is_empty()) {
        warn_unwritten(file, dotenv::update_dotenv(file, &restored));
    }
    if let Some(file) = &outputs.metrics {
        warn_unwritten(
            file,
            output_file::replace_text(file, &metrics::metrics_json(results)),
        );
    }
}

fn warn_unwritten(file: &Path, outcome: std::io::Result<()>) {
    if let Err(error) = outcome {
        log::print_error(
            "warning",
            &format!("cannot write {}: {error}", text::format_path(file)),
            Some("the cache itself is not concerned; --outputs none turns these files off"),
        );
    }
}
