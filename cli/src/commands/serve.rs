//! `cachefs serve`.

use cachefs_store::refs::{Key, RefName};
use cachefs_store::save::SaveRequest;
use clap::Args;

use crate::global::Global;
use crate::integrations::serve::{ListenAddress, Namespace, NamespaceOptions, serve_registry};
use crate::{exit, machine_identity, output, setup};

/// Options of `serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  cachefs serve --listen 127.0.0.1:5000
  docker buildx build --cache-to type=registry,ref=localhost:5000/app,mode=max \\
    --cache-from type=registry,ref=localhost:5000/app .
  buildah build --layers --tls-verify=false --cache-to localhost:5000/app \\
    --cache-from localhost:5000/app .")]
pub(crate) struct ServeArgs {
    /// Listen at HOST:PORT on loopback, or at unix:///PATH
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5000")]
    listen: ListenAddress,
    /// Store everything under this key; servers with the same key and scope share their content
    #[arg(long, value_name = "KEY", default_value = "serve-registry")]
    key: String,
}

pub(crate) fn run_serve(global: &Global, args: &ServeArgs) -> anyhow::Result<u8> {
    let store = setup::open_store(global)?;
    let scopes = setup::lookup_scopes(global)?;
    let key = Key::new(args.key.clone()).map_err(cachefs::Error::from)?;
    let name = RefName::new(scopes.own, key);
    let namespace = Namespace::open(NamespaceOptions {
        remote: setup::remote_to_save_to(global, &store)?,
        deadline: global.timeout,
        request: SaveRequest {
            fallback: scopes.fallback,
            creator: machine_identity::current_creator(),
            platform: machine_identity::current_platform(),
            // Only this process writes to the spool, so a file that changes during the save is an
            // error.
            strict_consistency: true,
            ..SaveRequest::new(name.clone())
        },
        store,
    })?;
    serve_registry(&namespace, &args.listen, |address| {
        output::log_text(&format!("serving {name} at {address}"));
    })?;
    Ok(exit::SUCCESS)
}
