//! `cachefs umount`.

use std::path::PathBuf;

use cachefs::mounts::{How, Records, unmount};
use clap::Args;

use crate::args::Global;
use crate::{exit, output, setup};

/// Options of `umount`.
#[derive(Debug, Args)]
pub(crate) struct UmountArgs {
    /// The restored path
    #[arg(value_name = "DIR", required_unless_present = "all")]
    path: Option<PathBuf>,
    /// Every path that was restored from this store
    #[arg(long, conflicts_with = "path")]
    all: bool,
    /// Take it away even while processes use it; they keep what they have open
    #[arg(long)]
    lazy: bool,
}

pub(crate) fn run(global: &Global, args: &UmountArgs) -> anyhow::Result<u8> {
    let store = setup::store(global)?;
    let paths = match &args.path {
        Some(path) => vec![path.clone()],
        None => Records::new(&store)
            .all()?
            .into_iter()
            .map(|record| record.path)
            .collect(),
    };
    for path in paths {
        let done = unmount(&store, &path, args.lazy)?;
        let path = output::path(&done.record.path);
        match done.record.how {
            How::Mount => output::say(&format!("unmounted {path}")),
            How::Copy => output::say(&format!("forgot {path}: it is a plain directory and stays")),
        }
        if done.dropped_changes {
            output::say("note: changes made there were never saved and are gone");
        }
    }
    Ok(exit::SUCCESS)
}
