//! `cachefs daemon share`, `unshare` and `shares`.

use std::path::{Path, PathBuf};

use cachefs::shares::{ClientGrant, Grant, ShareInfo, open_share};
use cachefs::{DaemonClient, Error};
use clap::Args;
use clap::builder::BoolishValueParser;
use serde::Serialize;
use serde_json::json;

use crate::global::{Global, OutputFormat};
use crate::{exit, output, setup};

/// Options of `daemon share`. The remote and the scope are those of every command.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  cachefs daemon share /run/job-7.sock --scope pr/7 --fallback-scope branch/main
  podman run -v /run/job-7.sock:/run/cachefs.sock -e CACHEFS_DAEMON=/run/cachefs.sock ...
  cachefs daemon unshare /run/job-7.sock

The container never sees the credentials. The daemon runs as long as there are shares.")]
pub(super) struct ShareArgs {
    /// Socket to create
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Let clients also search this scope, after --scope (repeatable)
    #[arg(
        long,
        value_name = "NAME",
        env = "CACHEFS_FALLBACK_SCOPE",
        value_delimiter = ','
    )]
    fallback_scope: Vec<String>,
    /// User ID on the host that may connect, besides root [default: the current user]
    #[arg(long, value_name = "UID")]
    uid: Option<u32>,
    /// Do not publish the clients' reads for prefetching
    #[arg(long, env = "CACHEFS_READ_ONLY", value_parser = BoolishValueParser::new())]
    read_only: bool,
    /// Allow `--prefetch all` for large caches; otherwise it means auto
    #[arg(long)]
    prefetch_all: bool,
}

/// A share in the output of `--format json`.
#[derive(Debug, Serialize)]
struct PrintedShare {
    path: String,
    remote: String,
    scopes: Vec<String>,
    uid: Option<u32>,
    read_only: bool,
    connections: usize,
}

/// Output of `daemon shares --format json`.
#[derive(Debug, Serialize)]
struct All {
    shares: Vec<PrintedShare>,
}

impl From<&ShareInfo> for PrintedShare {
    fn from(share: &ShareInfo) -> Self {
        Self {
            path: output::format_path(&share.path),
            remote: share.allowed.remote.url.clone(),
            scopes: key_names(&share.allowed),
            uid: share.uid,
            read_only: share.allowed.read_only,
            connections: share.connections,
        }
    }
}

fn key_names(allowed: &ClientGrant) -> Vec<String> {
    allowed.scopes.iter().map(ToString::to_string).collect()
}

/// The purpose of a share, in words.
pub(super) fn purpose_text(allowed: &ClientGrant) -> String {
    format!(
        "restores from scope {} of {}",
        key_names(allowed).join(" and "),
        allowed.remote.url
    )
}

pub(super) fn run_open_share(global: &Global, args: &ShareArgs) -> anyhow::Result<u8> {
    let store = setup::open_store(global)?.with_own_daemon();
    let path = absolute_path(&args.path)?;
    let grant = Grant {
        remote: setup::remote_spec(global, &store)?,
        deadline_ms: global.timeout.map(|timeout| timeout.as_millis() as u64),
        scopes: setup::lookup_scopes(global)?
            .with(&args.fallback_scope)?
            .all(),
        uid: args.uid,
        read_only: args.read_only,
        prefetch_all: args.prefetch_all,
    };
    let told = grant.allowed();
    let (uid, read_only) = (grant.uid, grant.read_only);
    open_share(&store, &path, grant)?;
    output::log_text(&format!(
        "shared {}: {}",
        output::format_path(&path),
        purpose_text(&told)
    ));
    if global.format == OutputFormat::Json {
        output::print_json(&PrintedShare {
            path: output::format_path(&path),
            remote: told.remote.url.clone(),
            scopes: key_names(&told),
            uid,
            read_only,
            connections: 0,
        })?;
    }
    Ok(exit::SUCCESS)
}

pub(super) fn run_close_share(global: &Global, path: &Path) -> anyhow::Result<u8> {
    let path = absolute_path(path)?;
    let mut client = running_daemon(global)?.ok_or_else(|| {
        Error::usage(
            format!("{} is not shared", path.display()),
            "the daemon is not running; check --store",
        )
    })?;
    client.unshare(path.clone())?;
    output::log_text(&format!(
        "{} is no longer shared",
        output::format_path(&path)
    ));
    if global.format == OutputFormat::Json {
        output::print_json(&json!({ "path": output::format_path(&path), "result": "unshared" }))?;
    }
    Ok(exit::SUCCESS)
}

pub(super) fn list_shares(global: &Global) -> anyhow::Result<u8> {
    let shares = match running_daemon(global)? {
        Some(mut client) => client.shares()?,
        None => Vec::new(),
    };
    match global.format {
        OutputFormat::Json => {
            let shares = shares.iter().map(PrintedShare::from).collect();
            output::print_json(&All { shares })?;
        }
        _ if shares.is_empty() => output::log_text("no shares"),
        _ => {
            for share in &shares {
                let user = share.uid.map(|uid| format!(", for user {uid}"));
                output::print_text(&format!(
                    "{}  {}{}",
                    output::format_path(&share.path),
                    purpose_text(&share.allowed),
                    user.unwrap_or_default()
                ));
            }
        }
    }
    Ok(exit::SUCCESS)
}

fn running_daemon(global: &Global) -> anyhow::Result<Option<DaemonClient>> {
    let store = setup::open_store(global)?.with_own_daemon();
    Ok(DaemonClient::connect_running(&store)?)
}

/// The absolute path by which the daemon identifies the share.
fn absolute_path(path: &Path) -> anyhow::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    if path.to_str().is_none() {
        let message = format!("the name {} is not UTF-8", output::format_path(&path));
        return Err(Error::usage(message, "choose another").into());
    }
    Ok(path)
}
