//! `cachefs export`.

use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use cachefs_store::archive::{Compression, WriteOptions};
use cachefs_store::export::ExportRequest;
use cachefs_store::refs::KeyQuery;
use cachefs_store::session::Session;
use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use serde::Serialize;

use super::key_scope::missing_key_error;
use crate::global::{Global, OutputFormat};
use crate::output_file::{NamedFile, NamedTarget};
use crate::progress::Display;
use crate::{exit, output, setup};

/// Options of `export`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cachefs export --key m2-2024 --output m2.tar.gz
  cachefs export --key m2-2024 --prefix root/.m2 | tar -x -C /")]
pub(crate) struct ExportArgs {
    /// Key or template, for example 'm2-{{ checksum "pom.xml" }}'
    #[arg(long, value_name = "KEY")]
    key: String,
    /// Output file; - for stdout
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// Compression [default: by the extension of the file; none for stdout, pipes and devices]
    #[arg(long, value_enum)]
    compression: Option<CompressionArg>,
    /// Prefix of all member names
    #[arg(long, value_name = "NAME", default_value = "")]
    prefix: String,
    /// Include device nodes, setuid and setgid bits, and file capabilities
    #[arg(long, env = "CACHEFS_ALLOW_PRIVILEGED", value_parser = BoolishValueParser::new())]
    allow_privileged: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CompressionArg {
    None,
    Gzip,
    Zstd,
}

/// Output of `--format json`.
#[derive(Debug, Serialize)]
struct PrintedExport<'a> {
    key: &'a str,
    output: String,
    entries: u64,
    files: u64,
    bytes: u64,
    archive_bytes: u64,
    duration_ms: f64,
    requests: output::RequestCounts,
    bytes_received: u64,
}

/// The compression that the extension of a file's name selects.
fn by_name(path: &Path) -> Option<Compression> {
    let name = path.file_name()?.to_str()?;
    [
        (".tar", Compression::None),
        (".tar.gz", Compression::Gzip),
        (".tgz", Compression::Gzip),
        (".tar.zst", Compression::Zstd),
        (".tzst", Compression::Zstd),
    ]
    .iter()
    .find(|(end, _)| name.ends_with(end))
    .map(|(_, compression)| *compression)
}

impl ExportArgs {
    fn target(&self) -> Result<NamedTarget, cachefs::Error> {
        match self.output == Path::new("-") {
            true => Ok(NamedTarget::Descriptor(1)),
            false => NamedTarget::of(&self.output).map_err(self.cannot("write")),
        }
    }

    fn cannot(&self, action: &'static str) -> impl FnOnce(std::io::Error) -> cachefs::Error {
        cachefs::Error::io(action, &self.output)
    }

    fn compression(&self, target: &NamedTarget) -> Result<Compression, cachefs::Error> {
        match self.compression {
            Some(CompressionArg::None) => Ok(Compression::None),
            Some(CompressionArg::Gzip) => Ok(Compression::Gzip),
            Some(CompressionArg::Zstd) => Ok(Compression::Zstd),
            None => by_name(&self.output)
                .or_else(|| target.is_stream().then_some(Compression::None))
                .ok_or_else(|| {
                    cachefs::Error::usage(
                        format!(
                            "cannot infer the compression from the name {}",
                            output::format_path(&self.output)
                        ),
                        "use the extension .tar, .tar.gz or .tar.zst, or set --compression",
                    )
                }),
        }
    }
}

pub(crate) fn run_export(global: &Global, args: &ExportArgs) -> anyhow::Result<u8> {
    let target = args.target()?;
    let to_stdout = target == NamedTarget::Descriptor(1);
    if to_stdout && std::io::stdout().is_terminal() {
        return Err(to_terminal().into());
    }
    if to_stdout && global.format == OutputFormat::Json {
        return Err(cachefs::Error::usage(
            "stdout cannot carry both the archive and JSON",
            "write the archive to a file with --output",
        )
        .into());
    }
    let store = setup::open_store(global)?;
    let name = setup::ref_name(global, &args.key)?;
    let remote = setup::remote_spec(global, &store)?;
    let request = ExportRequest {
        wanted: KeyQuery {
            scopes: setup::lookup_scopes(global)?.all(),
            key: name.key.clone(),
            prefixes: Vec::new(),
            chosen: None,
            role: None,
        },
        compression: args.compression(&target)?,
        write: WriteOptions {
            prefix: args.prefix.clone().into_bytes(),
        },
        privileged: args.allow_privileged,
    };
    // We create the file only when the archive is complete.
    let mut output = None;
    let begin = || -> cachefs::Result<Box<dyn Write>> {
        let file = NamedFile::create(target).map_err(args.cannot("create"))?;
        if file.is_terminal() {
            return Err(to_terminal());
        }
        let writer = file.writer().map_err(args.cannot("write"))?;
        output = Some(file);
        Ok(Box::new(writer))
    };
    let display = Display::start("exporting")?;
    let session = Session::open(store.local(), &remote, global.timeout);
    let session = session.map_err(cachefs::Error::from)?;
    let exported = session.export(&request, begin, &display.job());
    drop(display);
    let Some(report) = exported? else {
        let scopes = setup::lookup_scopes(global)?.all();
        return Err(session.block_on(missing_key_error(session.remote(), &scopes, &name.key)));
    };
    if let Some(output) = output {
        output.commit().map_err(args.cannot("write"))?;
    }
    let written = &report.written;
    let to = match to_stdout {
        true => "standard output".to_owned(),
        false => output::format_path(&args.output),
    };
    output::log_text(&format!(
        "exported {} to {to}: {}, {} ({}; {})",
        name.key,
        output::format_count(written.files, "file"),
        output::format_bytes(written.bytes),
        output::format_span(report.elapsed),
        output::format_traffic(&report.traffic),
    ));
    if global.format == OutputFormat::Json {
        output::print_json(&PrintedExport {
            key: name.key.as_str(),
            output: to,
            entries: written.entries,
            files: written.files,
            bytes: written.bytes,
            archive_bytes: written.archive,
            duration_ms: report.elapsed.as_secs_f64() * 1000.0,
            requests: (&report.traffic).into(),
            bytes_received: report.traffic.bytes_in,
        })?;
    }
    Ok(exit::SUCCESS)
}

/// The error for an archive on a terminal, as in `tar`: control characters would garble it.
fn to_terminal() -> cachefs::Error {
    cachefs::Error::usage(
        "cannot write an archive to a terminal",
        "write it to a file with --output, or pipe it into another command",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_name_says_how_to_compress() {
        for (name, compression) in [
            ("a.tar", Some(Compression::None)),
            ("x/a.tar.gz", Some(Compression::Gzip)),
            ("a.tgz", Some(Compression::Gzip)),
            ("a.tar.zst", Some(Compression::Zstd)),
            ("a.zip", None),
            ("a", None),
        ] {
            assert_eq!(by_name(Path::new(name)), compression, "{name}");
        }
    }
}
