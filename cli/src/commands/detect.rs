//! `cachefs detect`.

use std::path::Path;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::detect::{self, Choice, Detection, Found, Learnt};
use crate::global::{Format, Global};
use crate::{exit, object, output, setup};

/// Options of `detect`.
#[derive(Debug, Args)]
pub(crate) struct DetectArgs {
    #[command(flatten)]
    choice: Choice,
    /// Print a `cachefs.toml` with these caches
    #[arg(long)]
    toml: bool,
}

/// A cache with its key expanded.
struct Expanded {
    found: Found,
    key: String,
    restore_key: String,
}

/// What is printed with `--format json`.
#[derive(Debug, Serialize)]
struct Printed<'a> {
    caches: Vec<PrintedCache<'a>>,
    notes: &'a [String],
}

#[derive(Debug, Serialize)]
struct PrintedCache<'a> {
    name: &'a str,
    tool: &'a str,
    projects: Vec<String>,
    path: String,
    learnt: &'a Learnt,
    key: &'a str,
    key_template: &'a str,
    restore_key: &'a str,
    restore_key_template: &'a str,
    files: Vec<String>,
    notes: &'a [&'static str],
    left_alone: Option<&'static str>,
}

pub(crate) fn run(global: &Global, args: &DetectArgs) -> anyhow::Result<u8> {
    let workspace = args.choice.workspace()?;
    let Detection { caches, notes } = args.choice.detect()?;
    let caches = caches
        .into_iter()
        .map(|found| expand(&workspace, found))
        .collect::<anyhow::Result<Vec<_>>>()?;
    if args.toml {
        return write(&workspace, &caches, &notes);
    }
    if global.format == Format::Json {
        output::print_json(&Printed {
            caches: caches.iter().map(Expanded::printed).collect(),
            notes: &notes,
        })?;
        return Ok(exit::SUCCESS);
    }
    for cache in &caches {
        cache.print();
    }
    say(&notes);
    if caches.is_empty() {
        output::say(&format!(
            "found no tool in {} whose cache is known",
            output::path(&workspace)
        ));
    } else {
        output::say(
            "`cachefs auto restore` and `cachefs auto save` use these; `cachefs detect --toml` writes them as a file to change",
        );
    }
    Ok(exit::SUCCESS)
}

fn say(notes: &[String]) {
    for note in notes {
        output::say(&format!("note: {note}"));
    }
}

/// Prints the caches as a file.
fn write(workspace: &Path, caches: &[Expanded], notes: &[String]) -> anyhow::Result<u8> {
    let home = std::env::home_dir().unwrap_or_default();
    let keys = caches.iter().map(|cache| cache.durable_key(workspace));
    let keys: Vec<&str> = keys.collect();
    let found = caches.iter().map(|cache| &cache.found).zip(keys);
    let file = detect::written(found, &home);
    match object::is_wanted() {
        true => output::print_json(&json!({ "toml": file, "notes": notes }))?,
        false => output::print(file.trim_end()),
    }
    say(notes);
    Ok(exit::SUCCESS)
}

fn expand(workspace: &Path, found: Found) -> anyhow::Result<Expanded> {
    let key = |template: &str| {
        setup::expand_in(workspace, template, false, &[]).map(|expanded| expanded.key)
    };
    Ok(Expanded {
        key: key(&found.key)?,
        restore_key: key(&found.restore_key)?,
        found,
    })
}

/// The first of many.
fn some(all: &[String], most: usize) -> String {
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

impl Expanded {
    /// The template that goes with files that are added, where it gives the same key today: it
    /// does not where the repository ignores files that the patterns find.
    fn durable_key(&self, workspace: &Path) -> &str {
        let patterns = self.found.key_by_patterns.as_deref().filter(|template| {
            setup::expand_in(workspace, template, false, &[])
                .is_ok_and(|expanded| expanded.key == self.key)
        });
        patterns.unwrap_or(&self.found.key)
    }

    fn print(&self) {
        let found = &self.found;
        let files: Vec<String> = found.inputs.iter().map(|file| output::path(file)).collect();
        output::print(&format!(
            "{}: {} in {}",
            found.name,
            found.title,
            some(&found.project_names(), 5)
        ));
        output::print(&format!(
            "  path   {} ({})",
            output::path(&found.place.path),
            found.place.learnt.describe()
        ));
        output::print(&format!("  key    {}", self.key));
        output::print(&format!("         or the newest {}*", self.restore_key));
        output::print(&format!("  files  {}", some(&files, 8)));
        for note in &found.notes {
            output::print(&format!("  note   {note}"));
        }
        if let Some(why) = found.optional {
            output::print(&format!(
                "  left alone, unless with --all or --tool {}: {why}",
                found.name
            ));
        }
    }

    fn printed(&self) -> PrintedCache<'_> {
        let found = &self.found;
        PrintedCache {
            name: &found.name,
            tool: found.tool,
            projects: found.project_names(),
            path: output::path(&found.place.path),
            learnt: &found.place.learnt,
            key: &self.key,
            key_template: &found.key,
            restore_key: &self.restore_key,
            restore_key_template: &found.restore_key,
            files: found.inputs.iter().map(|file| output::path(file)).collect(),
            notes: &found.notes,
            left_alone: found.optional,
        }
    }
}
