//! `cachefs volume-plugin`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::config::LoadedConfig;
use crate::global::{Global, parse_duration};
use crate::integrations::container_cache::{Defaults, WorkspaceArgs};
use crate::integrations::volumes::{Manners, Socket, VolumeDriver, default_socket, serve_plugin};
use crate::{exit, output, setup};

/// Options of `volume-plugin`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  cachefs volume-plugin --socket /run/docker/plugins/cachefs.sock")]
pub(crate) struct VolumePluginArgs {
    /// Listening socket, unless systemd passes one [default: /run/docker/plugins/cachefs.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Deadline of a response; longer work, such as a large save, continues in the background
    /// [default: 50s for docker, 4s for podman]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    answer_within: Option<Duration>,
    /// Treat a container as removed if it is not running and no engine has mentioned it for this
    /// long
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = parse_duration)]
    forget_after: Duration,
    #[command(flatten)]
    workspaces: WorkspaceArgs,
}

pub(crate) fn run_volume_plugin(
    global: &Global,
    args: &VolumePluginArgs,
    config: &LoadedConfig,
) -> anyhow::Result<u8> {
    let store = setup::open_store(global)?;
    let defaults = Defaults {
        vocabulary: config.vocabulary(),
        workspaces: args.workspaces.checked()?,
    };
    let volumes = Arc::new(VolumeDriver::new(store, defaults)?);
    let path = args.socket.clone().unwrap_or_else(default_socket);
    let socket = Socket::open(&path)?;
    output::log_text(&format!("listening on {}", socket.describe()));
    let manners = Manners {
        answer_within: args.answer_within,
        forget_after: args.forget_after,
    };
    serve_plugin(socket, volumes, manners)?;
    Ok(exit::SUCCESS)
}
