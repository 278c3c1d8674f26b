//! `cachefs detach`.

use std::path::PathBuf;

use cachefs::mounts::Attachments;
use clap::Args;

use super::attach::{container_name, find_attachment, print_attachment};
use crate::global::Global;
use crate::{output, setup};

/// Options of `detach`.
#[derive(Debug, Args)]
pub(crate) struct DetachArgs {
    /// The container, as it was called when the path was attached, or a process in it
    #[arg(value_name = "CONTAINER|PID")]
    container: String,
    /// The path in the container
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Take it away even while processes use it; they keep what they have open
    #[arg(long)]
    lazy: bool,
}

pub(crate) fn run_detach(global: &Global, args: &DetachArgs) -> anyhow::Result<u8> {
    let attachments = Attachments::new(&setup::open_store(global)?);
    let Some(shown) = find_attachment(&attachments, &args.container, &args.path)? else {
        return Err(cachefs::Error::usage(
            format!(
                "nothing is attached at {} in {}",
                args.path.display(),
                args.container
            ),
            "what a container shows goes with it when it ends; `cachefs stats` lists what there is",
        )
        .into());
    };
    attachments.detach(&shown, args.lazy)?;
    output::log_text(&format!(
        "detached {} from {}; it stays at {}",
        output::format_path(&shown.path),
        container_name(&shown.container, shown.pid),
        output::format_path(&shown.from)
    ));
    print_attachment(global, &shown, false)
}
