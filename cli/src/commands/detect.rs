//! `cachefs detect`.

use std::path::Path;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::detect::{self, CacheChoice, DetectedCache, Detection, Learnt};
use crate::global::{Global, OutputFormat};
use crate::{exit, json_output, output, setup};

/// Options of `detect`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cachefs detect
  cachefs detect --tool npm --toml > cachefs.toml")]
pub(crate) struct DetectArgs {
    #[command(flatten)]
    choice: CacheChoice,
    /// Print a `cachefs.toml` with these caches
    #[arg(long)]
    toml: bool,
}

/// A detected cache with its key expanded.
struct DetectedKey {
    found: DetectedCache,
    key: String,
    restore_key: String,
}

/// Output of `--format json`.
#[derive(Debug, Serialize)]
struct PrintedDetect<'a> {
    caches: Vec<PrintedDetectedCache<'a>>,
    notes: &'a [String],
}

#[derive(Debug, Serialize)]
struct PrintedDetectedCache<'a> {
    name: &'a str,
    tool: &'a str,
    projects: Vec<String>,
    path: String,
    source: &'a Learnt,
    /// The old name of `source`, for one release.
    learnt: &'a Learnt,
    key: &'a str,
    key_template: &'a str,
    restore_key: &'a str,
    restore_key_template: &'a str,
    files: Vec<String>,
    notes: &'a [&'static str],
    skipped_reason: Option<&'static str>,
}

pub(crate) fn run_detect(global: &Global, args: &DetectArgs) -> anyhow::Result<u8> {
    let workspace = args.choice.workspace()?;
    let Detection { caches, notes } = args.choice.detect()?;
    let caches = caches
        .into_iter()
        .map(|found| expand_key(&workspace, found))
        .collect::<anyhow::Result<Vec<_>>>()?;
    if args.toml {
        return write_file(&workspace, &caches, &notes);
    }
    if global.format == OutputFormat::Json {
        output::print_json(&PrintedDetect {
            caches: caches.iter().map(DetectedKey::printed).collect(),
            notes: &notes,
        })?;
        return Ok(exit::SUCCESS);
    }
    for cache in &caches {
        cache.print();
    }
    print_notes(&notes);
    if caches.is_empty() {
        output::log_text(&format!(
            "no supported tools found in {}",
            output::format_path(&workspace)
        ));
    } else {
        output::log_text(
            "`cachefs auto restore` and `cachefs auto save` use these; `cachefs detect --toml` prints them as a cachefs.toml to edit",
        );
    }
    Ok(exit::SUCCESS)
}

fn print_notes(notes: &[String]) {
    for note in notes {
        output::log_text(&format!("note: {note}"));
    }
}

/// Prints the caches as a `cachefs.toml`.
fn write_file(workspace: &Path, caches: &[DetectedKey], notes: &[String]) -> anyhow::Result<u8> {
    let home = std::env::home_dir().unwrap_or_default();
    let keys = caches.iter().map(|cache| cache.durable_key(workspace));
    let keys: Vec<&str> = keys.collect();
    let found = caches.iter().map(|cache| &cache.found).zip(keys);
    let file = detect::written(found, &home);
    match json_output::is_wanted() {
        true => output::print_json(&json!({ "toml": file, "notes": notes }))?,
        false => output::print_text(file.trim_end()),
    }
    print_notes(notes);
    Ok(exit::SUCCESS)
}

fn expand_key(workspace: &Path, found: DetectedCache) -> anyhow::Result<DetectedKey> {
    let key = |template: &str| {
        setup::expand_in(workspace, template, false, &[]).map(|expanded| expanded.key)
    };
    Ok(DetectedKey {
        key: key(&found.key)?,
        restore_key: key(&found.restore_key)?,
        found,
    })
}

/// Joins the first `most` items, and counts the rest.
fn list_some(all: &[String], most: usize) -> String {
    let mut text = all
        .iter()
        .take(most)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if all.len() > most {
        text.push_str(&format!(" and {} more", all.len() - most));
    }
    text
}

impl DetectedKey {
    /// The template that also covers files added later, if it gives the same key today. It does not
    /// if the patterns match files that the repository ignores.
    fn durable_key(&self, workspace: &Path) -> &str {
        let patterns = self.found.key_by_patterns.as_deref().filter(|template| {
            setup::expand_in(workspace, template, false, &[])
                .is_ok_and(|expanded| expanded.key == self.key)
        });
        patterns.unwrap_or(&self.found.key)
    }

    fn print(&self) {
        let found = &self.found;
        let files: Vec<String> = found
            .inputs
            .iter()
            .map(|file| output::format_path(file))
            .collect();
        output::print_text(&format!(
            "{}: {} in {}",
            found.name,
            found.title,
            list_some(&found.project_names(), 5)
        ));
        output::print_text(&format!(
            "  path   {} ({})",
            output::format_path(&found.place.path),
            found.place.learnt.describe()
        ));
        output::print_text(&format!("  key    {}", self.key));
        output::print_text(&format!("         or the newest {}*", self.restore_key));
        output::print_text(&format!("  files  {}", list_some(&files, 8)));
        for note in &found.notes {
            output::print_text(&format!("  note   {note}"));
        }
        if let Some(why) = found.optional {
            output::print_text(&format!(
                "  skipped without --all or --tool {}: {why}",
                found.name
            ));
        }
    }

    fn printed(&self) -> PrintedDetectedCache<'_> {
        let found = &self.found;
        PrintedDetectedCache {
            name: &found.name,
            tool: found.tool,
            projects: found.project_names(),
            path: output::format_path(&found.place.path),
            source: &found.place.learnt,
            learnt: &found.place.learnt,
            key: &self.key,
            key_template: &found.key,
            restore_key: &self.restore_key,
            restore_key_template: &found.restore_key,
            files: found
                .inputs
                .iter()
                .map(|file| output::format_path(file))
                .collect(),
            notes: &found.notes,
            skipped_reason: found.optional,
        }
    }
}
