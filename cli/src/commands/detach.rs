//! `cachefs detach`.

use std::path::PathBuf;

use cachefs::mounts::Attachments;
use clap::Args;

use super::attach::{container_name, find_attachment, print_attachment};
use crate::global::Global;
use crate::{output, setup};

/// Options of `detach`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  cachefs detach web /root/.npm")]
pub(crate) struct DetachArgs {
    /// The container, by the name that `attach` got, or the PID of a process in it
    #[arg(value_name = "CONTAINER|PID")]
    container: String,
    /// Mount point in the container
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Detach even while processes use it; they keep their open files
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
            "attachments end with their container; `cachefs stats` lists them",
        )
        .into());
    };
    attachments.detach(&shown, args.lazy)?;
    output::log_text(&format!(
        "detached {} from {}; it is still mounted at {}",
        output::format_path(&shown.path),
        container_name(&shown.container, shown.pid),
        output::format_path(&shown.from)
    ));
    print_attachment(global, &shown, false)
}
