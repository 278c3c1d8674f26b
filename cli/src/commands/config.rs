//! `cachefs config`.

use cachefs_store::remote;
use clap::Args;
use serde::Serialize;

use crate::config::{ConfigLevel, LoadedConfig, Origin, SettingValue};
use crate::global::{Global, OutputFormat};
use crate::{exit, output, setup};

/// Options of `config`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  cachefs config --format json")]
pub(crate) struct ConfigArgs {}

/// Output of `--format json`.
#[derive(Debug, Serialize)]
struct PrintedConfig {
    /// The scopes that restores search here, starting with the one that saves write.
    scopes: Vec<String>,
    files: Vec<PrintedFile>,
    settings: Vec<PrintedValue>,
    caches: Vec<ConfiguredCache>,
}

#[derive(Debug, Serialize)]
struct PrintedFile {
    level: ConfigLevel,
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
struct ConfiguredCache {
    name: String,
    file: String,
    line: usize,
    settings: Vec<PrintedValue>,
    layers: Vec<ConfiguredLayer>,
}

#[derive(Debug, Serialize)]
struct ConfiguredLayer {
    name: String,
    key: String,
    restore_keys: Vec<String>,
    line: usize,
}

pub(crate) fn run_config(
    global: &Global,
    _: &ConfigArgs,
    config: &LoadedConfig,
) -> anyhow::Result<u8> {
    let scopes = setup::lookup_scopes(global)?.all();
    let scopes: Vec<String> = scopes.iter().map(ToString::to_string).collect();
    match global.format {
        OutputFormat::Json => output::print_json(&printed_config(config, scopes))?,
        _ => {
            print_config(config);
            output::print_text(&format!("\nscopes in use: {}", scopes.join(", ")));
        }
    }
    Ok(exit::SUCCESS)
}

fn print_config(config: &LoadedConfig) {
    for file in config.files() {
        let found = if file.found { "read" } else { "not there" };
        output::print_text(&format!("{}  {found}", output::format_path(&file.path)));
    }
    if config.files().is_empty() {
        output::print_text("no files read");
    }
    output::print_text("");
    print_table(&config.values());
    for cache in config.caches_said() {
        output::print_text(&format!("\n[cache.{}]  {}", cache.name, cache.place));
        print_table(&cache.values);
        for (number, (layer, place)) in cache.layers.iter().enumerate() {
            let prefixes = match layer.restore_keys.is_empty() {
                true => String::new(),
                false => format!(", or {}", layer.restore_keys.join(", ")),
            };
            output::print_text(&format!(
                "layer {}: {}  {}{prefixes}  {place}",
                number + 1,
                layer.name,
                layer.key,
            ));
        }
    }
}

/// Prints values in columns: name, value, origin.
fn print_table(values: &[SettingValue]) {
    let shown = |value: &SettingValue| match value.values.is_empty() {
        true => "-".to_owned(),
        false => without_secrets(value).join(", "),
    };
    let width = |texts: &mut dyn Iterator<Item = usize>| texts.max().unwrap_or(0);
    let names = width(&mut values.iter().map(|value| value.name.len()));
    // A long key must not push the origin column off the screen.
    let widths = values.iter().map(|value| shown(value).chars().count());
    let widest = width(&mut widths.filter(|width| *width <= 48));
    for value in values {
        output::print_text(&format!(
            "{:names$}  {:widest$}  {}",
            value.name,
            shown(value),
            value.origin
        ));
    }
}

fn printed_config(config: &LoadedConfig, scopes: Vec<String>) -> PrintedConfig {
    let files = config.files().iter().map(|file| PrintedFile {
        level: file.level,
        path: output::format_path(&file.path),
        found: file.found,
    });
    let caches = config
        .caches_said()
        .into_iter()
        .map(|cache| ConfiguredCache {
            name: cache.name,
            file: output::format_path(&cache.place.file),
            line: cache.place.line,
            settings: cache.values.into_iter().map(printed_value).collect(),
            layers: cache
                .layers
                .into_iter()
                .map(|(layer, place)| ConfiguredLayer {
                    name: layer.name,
                    key: layer.key,
                    restore_keys: layer.restore_keys,
                    line: place.line,
                })
                .collect(),
        });
    PrintedConfig {
        scopes,
        files: files.collect(),
        settings: config.values().into_iter().map(printed_value).collect(),
        caches: caches.collect(),
    }
}

/// The values with secrets redacted.
fn without_secrets(value: &SettingValue) -> Vec<String> {
    let values = value.values.iter();
    values
        .map(|value| remote::without_secrets(value).into_owned())
        .collect()
}

fn printed_value(value: SettingValue) -> PrintedValue {
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
        file: place.as_ref().map(|place| output::format_path(&place.file)),
        line: place.map(|place| place.line),
        variable,
    }
}
