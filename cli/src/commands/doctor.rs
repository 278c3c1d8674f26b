//! `cachefs doctor`.

use std::path::PathBuf;

use cachefs::sys::probe::{Probe, ProbeStatus, probe_containers};
use cachefs::{StoreDir, Unsaved};
use cachefs_store::refs::list_keys;
use clap::Args;
use serde::Serialize;

use super::stats;
use crate::global::{Global, OutputFormat};
use crate::hints::word_hint;
use crate::{exit, output, setup};

/// Options of `doctor`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cachefs doctor
  cachefs doctor /srv/caches")]
pub(crate) struct DoctorArgs {
    /// Also check whether running containers would see mounts in these directories
    #[arg(value_name = "DIR")]
    paths: Vec<PathBuf>,
}

/// A finding in the output of `--format json`.
#[derive(Debug, Serialize)]
struct PrintedFinding {
    name: String,
    status: &'static str,
    detail: String,
    hint: Option<String>,
}

/// Output of `--format json`.
#[derive(Debug, Serialize)]
struct PrintedDoctor {
    mode: &'static str,
    findings: Vec<PrintedFinding>,
}

pub(crate) fn run_doctor(global: &Global, args: &DoctorArgs) -> anyhow::Result<u8> {
    let store = setup::open_store(global)?;
    let probe = Probe::run(store.path());
    let mode = if probe.obstacle().is_none() {
        "mount"
    } else {
        "copy"
    };
    let mut findings: Vec<_> = probe
        .findings
        .into_iter()
        .chain(probe_containers(&probed_paths(args)?))
        .map(|finding| PrintedFinding {
            name: finding.name.to_owned(),
            status: match finding.status {
                ProbeStatus::Ok => "ok",
                ProbeStatus::Warn => "warn",
                ProbeStatus::Fail => "fail",
            },
            detail: finding.detail,
            hint: finding.hint.as_ref().map(word_hint),
        })
        .collect();
    findings.push(check_unsaved(&store));
    findings.push(check_remote(global)?);
    let broken = findings
        .iter()
        .any(|finding| finding.name == "remote" && finding.status == "fail");
    if global.format == OutputFormat::Json {
        output::print_json(&PrintedDoctor { mode, findings })?;
    } else {
        for finding in findings {
            output::print_text(&format!(
                "{:4}  {:18}  {}",
                finding.status, finding.name, finding.detail
            ));
            if let Some(hint) = finding.hint {
                output::print_text(&format!("{:26}{hint}", ""));
            }
        }
        output::print_text(&format!("\n`cachefs restore` will {mode} caches here"));
    }
    Ok(if broken { exit::BACKEND } else { exit::SUCCESS })
}

/// The directories to test, as absolute paths.
fn probed_paths(args: &DoctorArgs) -> std::io::Result<Vec<PathBuf>> {
    args.paths.iter().map(std::path::absolute).collect()
}

/// Reports changes that cancelled jobs left in the store.
fn check_unsaved(store: &StoreDir) -> PrintedFinding {
    let amount = Unsaved::new(store).amount();
    let directory = output::format_path(&store.unsaved());
    PrintedFinding {
        name: "unsaved changes".to_owned(),
        status: "ok",
        detail: match amount.directories {
            0 => format!("none in {directory}"),
            _ => format!("{} in {directory}", stats::unsaved_text(&amount)),
        },
        hint: (amount.directories > 0).then(|| {
            "they are removed after 7 days; end jobs with `cachefs umount --all`, or run them with `cachefs exec`".to_owned()
        }),
    }
}

/// Tests the remote with the first request of a restore.
fn check_remote(global: &Global) -> anyhow::Result<PrintedFinding> {
    let (runtime, remote) = setup::connect_remote(global)?;
    let scope = setup::own_scope(global)?;
    let started = std::time::Instant::now();
    let listed = runtime.block_on(async { list_keys(&remote.remote, &scope, "").await });
    let url = remote.remote.url().to_owned();
    Ok(match listed.map_err(cachefs::Error::from) {
        Ok(keys) => PrintedFinding {
            name: "remote".to_owned(),
            status: "ok",
            detail: format!(
                "{url} answered in {} and has {} in scope {scope}",
                output::format_span(started.elapsed()),
                output::format_count(keys.len() as u64, "key")
            ),
            hint: None,
        },
        Err(error) => PrintedFinding {
            name: "remote".to_owned(),
            status: if is_new(&error) { "warn" } else { "fail" },
            detail: format!("{url}: {}", cachefs::describe_chain(&error)),
            hint: error.hint().as_ref().map(word_hint),
        },
    })
}

/// A local remote that does not exist yet is no error: the first save creates it.
fn is_new(error: &cachefs::Error) -> bool {
    use cachefs_store::remote::RemoteErrorKind::NoRemote;
    matches!(error, cachefs::Error::Store(cachefs_store::Error::Remote(error)) if error.kind() == NoRemote)
}
