//! `cachefs restore`.

use std::path::PathBuf;

use cachefs::Prefetch;
use cachefs::restore::{Lower, Mode, Outcome, Report, RestoreOptions, restore};
use cachefs_store::refs::{MatchKind, Resolved, Wanted};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::args::{Format, Global};
use crate::progress::Display;
use crate::{exit, machine, output, setup};

/// Options of `restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The key, such as 'm2-{{ checksum "pom.xml" }}'
    #[arg(long, value_name = "KEY", required_unless_present = "layer")]
    key: Option<String>,
    /// Prefix of keys that will do when there is no such key, the newest first (repeatable)
    #[arg(long, value_name = "PREFIX")]
    restore_key: Vec<String>,
    /// Stack another cache below, bottom first: a name for it and its key (repeatable)
    #[arg(long, value_name = "NAME=KEY")]
    layer: Vec<String>,
    /// Where the cache belongs
    #[arg(long, value_name = "DIR")]
    path: PathBuf,
    /// Mount it, copy it, or mount where that works
    #[arg(long, value_enum, default_value_t = ModeArg::Auto)]
    mode: ModeArg,
    /// What a mount is made of: an EROFS image where the kernel takes one, or files over FUSE
    #[arg(
        long,
        value_enum,
        value_name = "KIND",
        env = "CACHEFS_LOWER",
        default_value_t = LowerArg::Auto,
        hide_short_help = true
    )]
    lower: LowerArg,
    /// What to fetch before it is asked for: nothing, what earlier jobs read, that and then all of
    /// it, or all unless it is large
    #[arg(long, value_enum, default_value_t = PrefetchArg::Auto)]
    prefetch: PrefetchArg,
    /// Do not note what this job reads for the next one
    #[arg(long, env = "CACHEFS_NO_TRACE")]
    no_trace: bool,
    /// Look in this scope too, after --scope (repeatable)
    #[arg(
        long,
        value_name = "NAME",
        env = "CACHEFS_FALLBACK_SCOPE",
        value_delimiter = ','
    )]
    fallback_scope: Vec<String>,
    /// Exit with code 3 when nothing matches
    #[arg(long)]
    fail_on_cache_miss: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ModeArg {
    Auto,
    Mount,
    Copy,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LowerArg {
    Auto,
    Fuse,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PrefetchArg {
    None,
    Trace,
    Auto,
    All,
}

/// What is printed with `--format json`.
#[derive(Debug, Serialize)]
struct Printed<'a> {
    key: &'a str,
    path: String,
    matched_key: Option<&'a str>,
    #[serde(rename = "match")]
    matched: &'static str,
    result: &'static str,
    layers: usize,
    files: u64,
    bytes: u64,
    milliseconds: f64,
    requests: output::Requests,
    bytes_received: u64,
    notes: &'a [String],
}

pub(crate) fn run(global: &Global, args: &RestoreArgs) -> anyhow::Result<u8> {
    let paths = [args.path.clone()];
    let scopes = setup::scopes(global, &args.fallback_scope)?.all();
    let mut wanted = Vec::new();
    let mut keys = Vec::new();
    for layer in &args.layer {
        let (_, template) = layer.split_once('=').ok_or_else(|| {
            cachefs::Error::usage(
                format!("`{layer}` is not NAME=KEY"),
                "for example --layer base=m2-main",
            )
        })?;
        let (key, _) = setup::key(template, &paths)?;
        keys.push(key.clone());
        wanted.push(Wanted {
            scopes: scopes.clone(),
            key,
            prefixes: Vec::new(),
        });
    }
    if let Some(template) = &args.key {
        let (key, _) = setup::key(template, &paths)?;
        let prefixes = args
            .restore_key
            .iter()
            .map(|prefix| setup::expand(prefix, &paths).map(|expanded| expanded.key))
            .collect::<anyhow::Result<_>>()?;
        keys.push(key.clone());
        wanted.push(Wanted {
            scopes,
            key,
            prefixes,
        });
    }
    let store = setup::store(global)?;
    let options = RestoreOptions {
        path: args.path.clone(),
        remote: setup::remote_spec(global, &store)?,
        wanted,
        mode: match args.mode {
            ModeArg::Auto => Mode::Auto,
            ModeArg::Mount => Mode::Mount,
            ModeArg::Copy => Mode::Copy,
        },
        lower: match args.lower {
            LowerArg::Auto => Lower::Auto,
            LowerArg::Fuse => Lower::Fuse,
        },
        prefetch: match args.prefetch {
            PrefetchArg::None => Prefetch::None,
            PrefetchArg::Trace => Prefetch::Trace,
            PrefetchArg::Auto => Prefetch::Auto,
            PrefetchArg::All => Prefetch::All,
        },
        trace: !args.no_trace,
        deadline: global.timeout,
    };
    let display = Display::start("copying")?;
    let report = restore(&store, &options, &display)?;
    drop(display);
    let key = keys.last().map_or("", |key| key.as_str());
    print(global, key, &report)?;
    let complete = report.matched.last().is_some_and(Option::is_some)
        || matches!(report.outcome, Outcome::Remounted);
    Ok(if args.fail_on_cache_miss && !complete {
        exit::MISS
    } else {
        exit::SUCCESS
    })
}

fn print(global: &Global, key: &str, report: &Report) -> anyhow::Result<()> {
    for note in &report.notes {
        output::say(&format!("note: {note}"));
    }
    warn_of_platform(report);
    let main = report.matched.last().and_then(Option::as_ref);
    summary(key, report, main);
    if global.format == Format::Json {
        let printed = Printed {
            key,
            path: output::path(&report.path),
            matched_key: main.map(|resolved| resolved.name.key.as_str()),
            matched: match main.map(|resolved| &resolved.kind) {
                Some(MatchKind::Exact) => "exact",
                Some(MatchKind::Prefix(_)) => "prefix",
                None => "miss",
            },
            result: match report.outcome {
                Outcome::Miss => "miss",
                Outcome::Mounted => "mounted",
                Outcome::AlreadyMounted => "already_mounted",
                Outcome::Remounted => "remounted",
                Outcome::Copied { .. } => "copied",
            },
            layers: report.layers.len(),
            files: report.layers.iter().map(|layer| layer.summary.files).sum(),
            bytes: report.layers.iter().map(|layer| layer.summary.bytes).sum(),
            milliseconds: report.elapsed.as_secs_f64() * 1000.0,
            requests: (&report.traffic).into(),
            bytes_received: report.traffic.bytes_in,
            notes: &report.notes,
        };
        output::print_json(&printed)?;
    }
    Ok(())
}

fn warn_of_platform(report: &Report) {
    let here = machine::platform();
    let records = report
        .matched
        .iter()
        .flatten()
        .flat_map(|resolved| &resolved.records);
    if let Some(other) = records
        .map(|record| &record.platform)
        .find(|platform| **platform != here)
    {
        output::say(&format!(
            "warning: this cache was made on {} {} ({}), and this is {} {} ({}): compiled files in it may not work",
            other.os,
            other.arch,
            other.libc.as_deref().unwrap_or("unknown libc"),
            here.os,
            here.arch,
            here.libc.as_deref().unwrap_or("unknown libc"),
        ));
    }
}

fn summary(key: &str, report: &Report, main: Option<&Resolved>) {
    let path = output::path(&report.path);
    let took = output::span(report.elapsed);
    let layers = output::count(report.layers.len() as u64, "layer");
    let files = output::count(
        report.layers.iter().map(|layer| layer.summary.files).sum(),
        "file",
    );
    let size = output::bytes(report.layers.iter().map(|layer| layer.summary.bytes).sum());
    let traffic = output::traffic(&report.traffic);
    let matched = match main {
        Some(Resolved {
            kind: MatchKind::Exact,
            ..
        }) => format!("hit {key}"),
        Some(
            resolved @ Resolved {
                kind: MatchKind::Prefix(prefix),
                ..
            },
        ) => {
            format!(
                "partial hit {} (prefix {prefix}; no {key})",
                resolved.name.key
            )
        }
        None if report.layers.is_empty() => format!("miss {key}"),
        None => format!("miss {key}, lower layers found"),
    };
    let origin = main
        .and_then(|resolved| resolved.records.last())
        .map(|record| {
            let by = record
                .creator
                .job
                .as_deref()
                .unwrap_or(&record.creator.host);
            format!(", saved {} by {by}", output::age(record.id.micros))
        })
        .unwrap_or_default();
    output::say(&match &report.outcome {
        Outcome::Miss => format!("{matched}: {path} is unchanged ({took}; {traffic})"),
        Outcome::Mounted => format!(
            "{matched}: mounted at {path} in {took} ({layers}, {files}, {size}{origin}; {traffic})"
        ),
        Outcome::AlreadyMounted => {
            format!("{matched}: mounted at {path} already ({layers}, {files}, {size}{origin})")
        }
        Outcome::Remounted => format!("remounted at {path} in {took} ({layers}, {files}, {size})"),
        Outcome::Copied { report: copied, .. } => format!(
            "{matched}: copied to {path} in {took} ({layers}, {}, {}{origin}; {traffic})",
            output::count(copied.entries, "entry"),
            output::bytes(copied.bytes),
        ),
    });
    if let Outcome::Copied {
        report: copied,
        instead_of_mount,
    } = &report.outcome
    {
        if let Some(why) = instead_of_mount {
            output::say(&format!(
                "note: copied because mounting is not possible here: {why}"
            ));
            output::say(
                "  hint: `cachefs doctor` says what is missing; --mode copy chooses this without the note",
            );
        }
        for issue in copied.issues.iter().take(10) {
            output::say(&format!(
                "warning: {}: {}",
                output::path(&issue.path),
                issue.detail
            ));
        }
        let total = copied.not_created + copied.attributes_lost;
        if total > 10 {
            output::say(&format!("warning: and {} more like these", total - 10));
        }
    }
}
