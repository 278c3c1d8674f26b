//! `cachefs delete`.

use cachefs_store::refs::delete_key;
use clap::Args;

use crate::args::Global;
use crate::{exit, output, setup};

/// Options of `delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The keys
    #[arg(value_name = "KEY", required = true)]
    keys: Vec<String>,
}

pub(crate) fn run(global: &Global, args: &DeleteArgs) -> anyhow::Result<u8> {
    let (runtime, remote) = setup::remote(global)?;
    let mut code = exit::SUCCESS;
    for key in &args.keys {
        let name = setup::name(global, key)?;
        let saves = runtime
            .block_on(async { delete_key(&remote.remote, &name.scope, &name.key).await })
            .map_err(cachefs::Error::from)?;
        if saves == 0 {
            output::complain("error", &format!("there is no key {name}"), None);
            code = exit::MISS;
        } else {
            output::say(&format!(
                "deleted {name}; mounts of it go on, and its data stays in the remote"
            ));
        }
    }
    Ok(code)
}
