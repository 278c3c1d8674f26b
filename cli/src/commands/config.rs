//! `cachefs config`.

use cachefs_store::remote;
use clap::Args;
use serde::Serialize;

use crate::config::{Config, Level, Origin, Value};
use crate::global::{Format, Global};
use crate::{exit, output, setup};

/// Options of `config`.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {}

/// What is printed with `--format json`.
#[derive(Debug, Serialize)]
struct Printed {
    /// The scopes that restores look in here, the one that saves go to first.
    scopes: Vec<String>,
    files: Vec<PrintedFile>,
    settings: Vec<PrintedValue>,
    caches: Vec<PrintedCache>,
}

#[derive(Debug, Serialize)]
struct PrintedFile {
    level: Level,
    path: String,
    found: bool,
}

#[derive(Debug, Serialize)]
struct PrintedValue {
    name: String,
    values: Vec<String>,
    /// `default`, `file`, `environment` or `flag`.
    origin: &'static str,
    file: Option<String>,
    line: Option<usize>,
    variable: Option<String>,
}

#[derive(Debug, Serialize)]
struct PrintedCache {
    name: String,
    file: String,
    line: usize,
    settings: Vec<PrintedValue>,
    layers: Vec<PrintedLayer>,
}

#[derive(Debug, Serialize)]
struct PrintedLayer {
    name: String,
    key: String,
    restore_keys: Vec<String>,
    line: usize,
}

pub(crate) fn run(global: &Global, _: &ConfigArgs, config: &Config) -> anyhow::Result<u8> {
    let scopes = setup::scopes(global)?.all();
    let scopes: Vec<String> = scopes.iter().map(ToString::to_string).collect();
    match global.format {
        Format::Json => output::print_json(&printed(config, scopes))?,
        _ => {
            print(config);
            output::print(&format!("\nscopes in use: {}", scopes.join(", ")));
        }
    }
    Ok(exit::SUCCESS)
}

fn print(config: &Config) {
    for file in config.files() {
        let found = if file.found { "read" } else { "not there" };
        output::print(&format!("{}  {found}", output::path(&file.path)));
    }
    if config.files().is_empty() {
        output::print("no files are read");
    }
    output::print("");
    table(&config.values());
    for cache in config.caches_said() {
        output::print(&format!("\n[cache.{}]  {}", cache.name, cache.place));
        table(&cache.values);
        for (number, (layer, place)) in cache.layers.iter().enumerate() {
            let prefixes = match layer.restore_keys.is_empty() {
                true => String::new(),
                false => format!(", or {}", layer.restore_keys.join(", ")),
            };
            output::print(&format!(
                "layer {}: {}  {}{prefixes}  {place}",
                number + 1,
                layer.name,
                layer.key,
            ));
        }
    }
}

/// Prints values in columns: name, value, origin.
fn table(values: &[Value]) {
    let shown = |value: &Value| match value.values.is_empty() {
        true => "-".to_owned(),
        false => without_secrets(value).join(", "),
    };
    let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
    let names = width(&mut values.iter().map(|value| value.name.len()));
    // A long key must not push every origin out of sight.
    let widths = values.iter().map(|value| shown(value).chars().count());
    let widest = width(&mut widths.filter(|width| *width <= 48));
    for value in values {
        output::print(&format!(
            "{:names$}  {:widest$}  {}",
            value.name,
            shown(value),
            value.origin
        ));
    }
}

fn printed(config: &Config, scopes: Vec<String>) -> Printed {
    let files = config.files().iter().map(|file| PrintedFile {
        level: file.level,
        path: output::path(&file.path),
        found: file.found,
    });
    let caches = config.caches_said().into_iter().map(|cache| PrintedCache {
        name: cache.name,
        file: output::path(&cache.place.file),
        line: cache.place.line,
        settings: cache.values.into_iter().map(printed_value).collect(),
        layers: cache
            .layers
            .into_iter()
            .map(|(layer, place)| PrintedLayer {
                name: layer.name,
                key: layer.key,
                restore_keys: layer.restore_keys,
                line: place.line,
            })
            .collect(),
    });
    Printed {
        scopes,
        files: files.collect(),
        settings: config.values().into_iter().map(printed_value).collect(),
        caches: caches.collect(),
    }
}

/// The values as they may be printed.
fn without_secrets(value: &Value) -> Vec<String> {
    let values = value.values.iter();
    values
        .map(|value| remote::without_secrets(value).into_owned())
        .collect()
}

fn printed_value(value: Value) -> PrintedValue {
    let values = without_secrets(&value);
    let (origin, place, variable) = match value.origin {
        Origin::Default => ("default", None, None),
        Origin::File(place) => ("file", Some(place), None),
        Origin::Environment(name) => ("environment", None, Some(name)),
        Origin::Flag => ("flag", None, None),
    };
    PrintedValue {
        name: value.name,
        values,
        origin,
        file: place.as_ref().map(|place| output::path(&place.file)),
        line: place.map(|place| place.line),
        variable,
    }
}
