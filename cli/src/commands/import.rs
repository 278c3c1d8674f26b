//! `cachefs import`.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cachefs::save::{ImportOptions, import_archive};
use cachefs_store::archive::{Names, ReadOptions};
use cachefs_store::refs::RefName;
use cachefs_store::remote::{ObjectKey, ObjectStream, RemoteSpec, RetryPolicy, open_remote};
use cachefs_store::save::import::{ArchiveSource, ImportReport};
use cachefs_store::save::{SaveOutcome, SaveRequest};
use clap::Args;
use serde::Serialize;
use tokio::runtime::Runtime;

use crate::global::{Global, OutputFormat, parse_size};
use crate::progress::Display;
use crate::{exit, keys, machine_identity, output, setup};

/// Options of `import`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cachefs import --key m2-2024 --path ~/.m2 cache.tar.gz
  cachefs import --key m2-2024 --path ~/.m2 s3://ci-cache/app/m2-2024/root/.m2
  zcat cache.tgz | cachefs import --key m2-2024 --strip-components 2 -")]
pub(crate) struct ImportArgs {
    /// Key or template, for example 'm2-{{ checksum "pom.xml" }}'
    #[arg(long, value_name = "KEY")]
    key: String,
    /// Directory that was archived, even if the archive names it differently
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    /// Name of that directory in the archive
    #[arg(long, value_name = "NAME", conflicts_with = "path")]
    path_in_archive: Option<String>,
    /// Strip this many leading components from member names
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    strip_components: usize,
    /// Refuse archives that unpack to more than this
    #[arg(long, value_name = "SIZE", value_parser = parse_size, default_value = "1T")]
    max_size: u64,
    /// Tar archive, plain or compressed with gzip or zstd: a file, s3://BUCKET/OBJECT,
    /// file:///FILE, or - for stdin
    #[arg(value_name = "FILE")]
    file: String,
}

/// Output of `--format json`.
#[derive(Debug, Serialize)]
struct PrintedImport<'a> {
    key: &'a str,
    scope: &'a str,
    result: &'static str,
    layers: usize,
    files: u64,
    bytes: u64,
    new_bytes: u64,
    outside: u64,
    path_in_archive: Option<&'a str>,
    skipped: Vec<String>,
    duration_ms: f64,
    requests: output::RequestCounts,
    bytes_sent: u64,
    bytes_received: u64,
}

/// The source of an archive.
pub(crate) enum ImportSource {
    /// Standard input, which can be read only once.
    Stdin,
    /// A file.
    File(PathBuf),
    /// An object on a remote.
    Object(Box<RemoteSpec>, ObjectKey),
}

impl ImportSource {
    /// Parses a name from the command line; objects use the options and credentials of the remote.
    fn new(name: &str, remote: &RemoteSpec) -> anyhow::Result<Self> {
        if name == "-" {
            return Ok(Self::Stdin);
        }
        if let Some(path) = name.strip_prefix("file://") {
            return Ok(Self::File(path.into()));
        }
        let Some((scheme, rest)) = name.split_once("://") else {
            return Ok(Self::File(name.into()));
        };
        let wrong = || {
            cachefs::Error::usage(
                format!("`{name}` does not name an object"),
                "use the bucket and the full name, for example s3://bucket/app/cache.tar.gz",
            )
        };
        let (bucket, object) = rest.split_once('/').ok_or_else(wrong)?;
        let url = format!("{scheme}://{bucket}");
        let object = ObjectKey::from_listing(object).ok_or_else(wrong)?;
        let spec = RemoteSpec {
            url,
            ..remote.clone()
        };
        Ok(Self::Object(Box::new(spec), object))
    }
}

/// Imports an archive; its members must be below the directory given by `names`.
pub(crate) fn run_import(
    global: &Global,
    archive: &ImportSource,
    (name, expanded): (RefName, &keys::ExpandedKey),
    read: ReadOptions,
    display: &Display,
) -> anyhow::Result<ImportReport> {
    let store = setup::open_store(global)?;
    let options = ImportOptions {
        remote: setup::remote_to_save_to(global, &store)?,
        deadline: global.timeout,
        request: SaveRequest {
            fallback: setup::lookup_scopes(global)?.fallback,
            creator: machine_identity::current_creator(),
            platform: machine_identity::current_platform(),
            parts: serde_json::to_value(&expanded.parts)?,
            ..SaveRequest::new(name)
        },
        read,
    };
    let runtime = Runtime::new().context("cannot start the network runtime")?;
    let mut rounds = 0;
    let mut begin = || -> cachefs::Result<Option<ArchiveSource<'static>>> {
        rounds += 1;
        Ok(Some(match archive {
            ImportSource::Stdin if rounds > 1 => return Ok(None),
            ImportSource::Stdin => Box::new(std::io::stdin()),
            ImportSource::File(path) => {
                Box::new(File::open(path).map_err(cachefs::Error::io("open", path))?)
            }
            ImportSource::Object(spec, object) => {
                let remote = open_remote(spec, RetryPolicy::within(global.timeout))?.remote;
                let stream = ObjectStream::open(remote, object.clone(), runtime.handle().clone())
                    .map_err(cachefs_store::Error::from)?;
                Box::new(stream)
            }
        }))
    };
    Ok(import_archive(
        &store,
        &options,
        &mut begin,
        &display.job(),
    )?)
}

impl ImportArgs {
    fn names(&self, workspace: &Path) -> anyhow::Result<Names> {
        let names = match (&self.path, &self.path_in_archive) {
            (Some(path), _) => Names::below_path(&std::path::absolute(path)?, workspace),
            (None, Some(name)) => {
                Names::below_name(name.as_bytes()).map_err(cachefs::Error::from)?
            }
            (None, None) => Names::all(),
        };
        Ok(names.stripping(self.strip_components))
    }
}

pub(crate) fn run_import_command(global: &Global, args: &ImportArgs) -> anyhow::Result<u8> {
    let workspace = setup::workspace_directory()?;
    let paths: Vec<PathBuf> = args.path.iter().cloned().collect();
    let (key, expanded) = setup::key_in(&workspace, &args.key, &paths)?;
    let name = RefName::new(setup::own_scope(global)?, key);
    let store = setup::open_store(global)?;
    let archive = ImportSource::new(&args.file, &setup::remote_spec(global, &store)?)?;
    let read = ReadOptions {
        names: args.names(&workspace)?,
        limit: args.max_size,
    };
    let display = Display::start("importing")?;
    let report = run_import(global, &archive, (name.clone(), &expanded), read, &display)?;
    drop(display);
    for line in import_lines(&name, &args.file, &report) {
        output::log_text(&line);
    }
    if global.format == OutputFormat::Json {
        print_import(&name, &report)?;
    }
    Ok(exit::SUCCESS)
}

/// The messages about an import.
pub(crate) fn import_lines(name: &RefName, from: &str, report: &ImportReport) -> Vec<String> {
    let save = &report.save;
    let mut lines = Vec::new();
    if let Some(found) = &report.found {
        lines.push(format!(
            "note: the directory is named `{found}` in the archive"
        ));
    }
    if report.outside > 0 {
        let outside = output::format_count(report.outside, "entry");
        lines.push(format!("note: skipped {outside} elsewhere in the archive"));
    }
    for skipped in save.skipped.iter().take(10) {
        lines.push(format!(
            "note: skipped {} ({})",
            output::format_path(&skipped.path),
            skipped.what
        ));
    }
    if save.skipped.len() > 10 {
        lines.push(format!("note: and {} more", save.skipped.len() - 10));
    }
    let size = format!(
        "{}, {}",
        output::format_count(save.scanned.0, "file"),
        output::format_bytes(save.scanned.1)
    );
    let took = output::format_span(save.elapsed);
    let traffic = output::format_traffic(&save.traffic);
    lines.push(match &save.outcome {
        SaveOutcome::Saved(layer) => format!(
            "imported {} from {from}: {size}, {} new as layer {} ({took}; {traffic})",
            name.key,
            output::format_bytes(layer.new_bytes),
            save.layers.len(),
        ),
        // The other outcomes need options that an import does not have.
        _ => format!(
            "unchanged {}: it already has the content of {from} ({size}; {took}; {traffic})",
            name.key
        ),
    });
    lines
}

fn print_import(name: &RefName, report: &ImportReport) -> anyhow::Result<()> {
    let save = &report.save;
    output::print_json(&PrintedImport {
        key: name.key.as_str(),
        scope: name.scope.as_str(),
        result: match save.outcome {
            SaveOutcome::Saved(_) => "imported",
            _ => "unchanged",
        },
        layers: save.layers.len(),
        files: save.scanned.0,
        bytes: save.scanned.1,
        new_bytes: match &save.outcome {
            SaveOutcome::Saved(layer) => layer.new_bytes,
            _ => 0,
        },
        outside: report.outside,
        path_in_archive: report.found.as_deref(),
        skipped: save
            .skipped
            .iter()
            .map(|skipped| output::format_path(&skipped.path))
            .collect(),
        duration_ms: save.elapsed.as_secs_f64() * 1000.0,
        requests: (&save.traffic).into(),
        bytes_sent: save.traffic.bytes_out,
        bytes_received: save.traffic.bytes_in,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_are_files_objects_and_standard_input() {
        let spec = RemoteSpec {
            url: "s3://other/prefix".to_owned(),
            region: Some("eu-west-1".to_owned()),
            ..RemoteSpec::default()
        };
        let archive = |name: &str| ImportSource::new(name, &spec);
        assert!(matches!(archive("-").unwrap(), ImportSource::Stdin));
        for name in ["a.tar", "/a/b.tgz"] {
            assert!(
                matches!(archive(name).unwrap(), ImportSource::File(path) if path == Path::new(name))
            );
        }
        assert!(
            matches!(archive("file:///a.tar").unwrap(), ImportSource::File(path) if path == Path::new("/a.tar"))
        );
        let ImportSource::Object(spec, object) = archive("s3://bucket/app/key/root/.m2").unwrap()
        else {
            panic!("it is an object");
        };
        assert_eq!(
            (&*spec.url, object.as_str()),
            ("s3://bucket", "app/key/root/.m2")
        );
        assert_eq!(spec.region.as_deref(), Some("eu-west-1"));
        for name in [
            "s3://bucket",
            "s3://bucket/",
            "s3://bucket/a//b",
            "s3://bucket/../b",
        ] {
            assert!(archive(name).is_err(), "{name}");
        }
    }
}
