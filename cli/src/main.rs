//! The `cachefs` command.

mod keys;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};

/// Layered, content-addressed build caches, mounted on demand.
#[derive(Parser)]
#[command(name = "cachefs", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the key a template expands to, and the files behind it.
    Key(KeyArgs),
}

#[derive(clap::Args)]
struct KeyArgs {
    /// The template, for example 'm2-{{ checksum "pom.xml" }}'
    template: String,
    /// Directory that relative paths and patterns start from [default: the current one]
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// Accept missing files and unset variables
    #[arg(long)]
    allow_missing: bool,
    /// How to print the result
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

fn main() -> ExitCode {
    let Command::Key(args) = Cli::parse().command;
    match key(&args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn key(args: &KeyArgs) -> anyhow::Result<ExitCode> {
    let current = std::env::current_dir().context("cannot tell the current directory")?;
    let workspace = args
        .workspace
        .as_ref()
        .map_or(current.clone(), |dir| current.join(dir));
    // A variable that is not UTF-8 cannot be part of a key: it counts as not set.
    let env: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let context = keys::Context {
        workspace: &workspace,
        env: &env,
        now: SystemTime::now(),
        allow_missing: args.allow_missing,
        skip: &[],
    };
    let expanded = match keys::expand(&args.template, &context) {
        Ok(expanded) => expanded,
        Err(error) => {
            eprintln!(
                "error: {error}\n\n{}\n\nhint: {}",
                error.pointer(),
                error.hint()
            );
            return Ok(ExitCode::from(2));
        }
    };
    match args.format {
        Format::Json => println!("{}", serde_json::to_string_pretty(&expanded)?),
        Format::Text => {
            println!("{}", expanded.key);
            for part in &expanded.parts {
                for file in &part.files {
                    let hash = file.blake3.as_deref().unwrap_or("missing");
                    println!("  {hash}  {:>10}  {}", file.bytes, file.path);
                }
                for path in &part.skipped {
                    println!("  not followed: {path}");
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
