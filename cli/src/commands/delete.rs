//! `cachefs delete`.

use cachefs_store::refs::{RefName, delete, list_keys};
use clap::Args;

use crate::args::Global;
use crate::{exit, output, setup};

/// Options of `delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The keys
    #[arg(value_name = "KEY", required_unless_present = "all")]
    keys: Vec<String>,
    /// All keys of the scope, as when its branch or pull request is closed
    #[arg(long, conflicts_with = "keys")]
    all: bool,
    /// Only tell what would be deleted
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(global: &Global, args: &DeleteArgs) -> anyhow::Result<u8> {
    let scope = setup::scope(global)?;
    let (runtime, remote) = setup::remote(global)?;
    let listed = |prefix: &str| {
        runtime
            .block_on(async { list_keys(&remote.remote, &scope, prefix).await })
            .map_err(cachefs::Error::from)
    };
    let names: Vec<RefName> = if args.all {
        listed("")?.into_iter().map(|listed| listed.name).collect()
    } else {
        let names = args.keys.iter().map(|key| setup::name(global, key));
        names.collect::<anyhow::Result<_>>()?
    };
    if names.is_empty() {
        output::say(&format!("no keys in scope {scope}: nothing to delete"));
    }
    let mut code = exit::SUCCESS;
    for name in names {
        let is_there = if args.dry_run {
            let same_start = listed(name.key.as_str())?;
            same_start.iter().any(|listed| listed.name == name)
        } else {
            let saves = runtime.block_on(async { delete(&remote.remote, &name).await });
            saves.map_err(cachefs::Error::from)? > 0
        };
        match (is_there, args.dry_run) {
            (false, _) => {
                output::complain("error", &format!("there is no key {name}"), None);
                code = exit::MISS;
            }
            (true, true) => output::say(&format!("would delete {name}")),
            (true, false) => output::say(&format!(
                "deleted {name}; mounts of it go on, and `cachefs gc` removes its data in time"
            )),
        }
    }
    Ok(code)
}
