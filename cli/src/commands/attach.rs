//! `cachefs attach`.

use std::path::{Path, PathBuf};

use cachefs::containers::{self, Container};
use cachefs::mounts::{Attachment, Attachments, unmount_path};
use cachefs::paths::real_path;
use cachefs::restore::{MadeDirectories, RestoreOutcome};
use clap::Args;
use serde::Serialize;

use crate::caches::{self, CommonOptions, ResolvedCache, RestoreHow};
use crate::global::{Global, OutputFormat};
use crate::progress::Display;
use crate::{exit, output, setup};

/// Options of `attach`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  cachefs attach web /root/.npm --key npm-main")]
pub(crate) struct AttachArgs {
    /// Name or ID of a podman, docker or containerd container, or the PID of a process in it
    #[arg(value_name = "CONTAINER|PID")]
    container: String,
    /// Mount point in the container; created if missing
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Restore this key first, for example 'm2-{{ checksum "pom.xml" }}'
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Fall back to the newest key with this prefix (repeatable, in order)
    #[arg(long, value_name = "PREFIX", requires = "key")]
    restore_key: Vec<String>,
    /// Host directory to attach [default: with --key one in the store, otherwise PATH]
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    #[command(flatten)]
    common: CommonOptions,
    #[command(flatten)]
    how: RestoreHow,
}

/// Output of `--format json`.
#[derive(Debug, Serialize)]
struct PrintedAttach<'a> {
    container: &'a str,
    pid: u32,
    path: String,
    from: String,
    restored: bool,
}

pub(crate) fn run_attach(global: &Global, args: &AttachArgs) -> anyhow::Result<u8> {
    if !args.path.is_absolute() {
        return Err(relative_path_error(&args.path).into());
    }
    let container = containers::find_container(&args.container).map_err(cachefs::Error::from)?;
    let store = setup::open_store(global)?;
    let attachments = Attachments::new(&store);
    let path = attachments.resolve(&container, &args.path)?;
    let from = match (&args.from, &args.key) {
        (Some(from), _) => std::path::absolute(from)?,
        (None, Some(_)) => attachments.place(&container, &path),
        (None, None) => args.path.clone(),
    };
    // We restore or report a missing directory below.
    let from = real_path(&from);
    if let Some(shown) = attachments.at(&container, &path)? {
        // A container has several names, and each has its own directory in the store.
        let is_for_it = args.from.is_none() && args.key.is_some();
        if shown.from != from && !(is_for_it && attachments.is_place(&shown.from)) {
            return Err(occupied(&shown, &args.container).into());
        }
        output::log_text(&format!("{} already", attached_line(&shown)));
        return print_attachment(global, &shown, false);
    }
    let restored = match &args.key {
        None => false,
        Some(key) => match restore_for_attach(global, args, key, &from)? {
            AttachSource::There(restored) => restored,
            AttachSource::Ends(code) => return Ok(code),
        },
    };
    if !from.is_dir() {
        return Err(no_directory(&from).into());
    }
    let shown = attachments
        .attach(&from, &container, &path)
        .inspect_err(|_| {
            if restored && args.from.is_none() {
                // Otherwise the mount would stay at a path that nobody looks at. We return the
                // error of `attach`, so we ignore this one.
                let _ = unmount_path(&store, &from, false);
            }
        })?;
    output::log_text(&attached_line(&shown));
    if let Some(key) = &args.key {
        output::log_text(&format!(
            "  to save it: cachefs save --key '{key}' --path {}",
            output::format_path(&shown.from)
        ));
    }
    print_attachment(global, &shown, restored)
}

/// The source of an attachment, after the restore of `--key`.
enum AttachSource {
    /// The directory exists; true if it holds a restored cache, false after a miss.
    There(bool),
    /// Nothing to attach; exit with this code.
    Ends(u8),
}

fn restore_for_attach(
    global: &Global,
    args: &AttachArgs,
    key: &str,
    at: &Path,
) -> anyhow::Result<AttachSource> {
    let cache = ResolvedCache {
        name: None,
        workspace: setup::workspace_directory()?,
        key: Some(key.to_owned()),
        restore_keys: args.restore_key.clone(),
        paths: vec![at.to_owned()],
        layers: Vec::new(),
        only: None,
        common: args.common.clone(),
        restore: args.how.clone(),
        save: Default::default(),
    };
    let display = Display::start("copying")?;
    let restored = caches::restore_all(global, &[cache], &display)?;
    drop(display);
    let code = caches::worst_code(restored.iter().map(|one| one.code));
    let report = restored.first().and_then(|one| one.result.as_ref().ok());
    let outcome = match report.map(|report| &report.outcome) {
        None | Some(RestoreOutcome::Found) => AttachSource::Ends(code),
        Some(_) if code != exit::SUCCESS => AttachSource::Ends(code),
        // The container can fill the empty directory, and a later `save` can save it.
        Some(RestoreOutcome::Miss | RestoreOutcome::Skipped) => {
            MadeDirectories::make(at, args.how.owner)?;
            AttachSource::There(false)
        }
        Some(_) => AttachSource::There(true),
    };
    if let (AttachSource::Ends(_), OutputFormat::Json) = (&outcome, global.format) {
        caches::print_results(&restored)?;
    }
    Ok(outcome)
}

fn attached_line(shown: &Attachment) -> String {
    format!(
        "attached {} at {} in {}",
        output::format_path(&shown.from),
        output::format_path(&shown.path),
        container_name(&shown.container, shown.pid)
    )
}

/// The container's short name, for messages.
pub(super) fn container_name(container: &str, pid: u32) -> String {
    match container.parse::<u32>() {
        Ok(_) => format!("process {pid}"),
        Err(_) => format!("container {container} (process {pid})"),
    }
}

/// Prints an attachment with `--format json`; `restored` is true if it shows a cache that this
/// command restored.
pub(super) fn print_attachment(
    global: &Global,
    shown: &Attachment,
    restored: bool,
) -> anyhow::Result<u8> {
    if global.format == OutputFormat::Json {
        output::print_json(&PrintedAttach {
            container: &shown.container,
            pid: shown.pid,
            path: output::format_path(&shown.path),
            from: output::format_path(&shown.from),
            restored,
        })?;
    }
    Ok(exit::SUCCESS)
}

/// Finds the attachment of a container at a path; the container may have exited.
pub(super) fn find_attachment(
    attachments: &Attachments,
    container: &str,
    path: &Path,
) -> anyhow::Result<Option<Attachment>> {
    let found = containers::find_container(container).ok();
    let resolved = found
        .as_ref()
        .and_then(|found| attachments.resolve(found, path).ok());
    let path = resolved.as_deref().unwrap_or(path);
    let pid = found.map(|Container { pid, .. }| pid);
    let of = |shown: &Attachment| shown.container == container || Some(shown.pid) == pid;
    let all = attachments.all()?;
    Ok(all
        .into_iter()
        .find(|shown| of(shown) && shown.path == path))
}

fn occupied(shown: &Attachment, container: &str) -> cachefs::Error {
    let path = shown.path.display();
    cachefs::Error::usage(
        format!("{} is already attached at {path}", shown.from.display()),
        format!("detach it first: cachefs detach {container} {path}"),
    )
}

fn relative_path_error(path: &Path) -> cachefs::Error {
    cachefs::Error::usage(
        format!("{} is not an absolute path", path.display()),
        "use the path in the container, for example /root/.m2",
    )
}

fn no_directory(from: &Path) -> cachefs::Error {
    cachefs::Error::usage(
        format!("no directory {} on this machine", from.display()),
        "restore a key with --key, or attach a restored directory with --from",
    )
}
