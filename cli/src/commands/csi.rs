//! `cachefs csi`.

use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{Args, Command};

use crate::exit;
use crate::global::{Global, parse_duration};
use crate::integrations::csi::{CsiService, Endpoint, serve_csi};

/// Options of `csi`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  cachefs csi --listen unix:///csi/csi.sock --node-id worker-1

Implements the identity and node services of the Container Storage Interface, for inline volumes.
Pods use the remote and the credentials of the node unless they bring their own. The manifests are
in deploy/kubernetes; docs/kubernetes.md explains them.")]
pub(crate) struct CsiArgs {
    /// Socket for kubelet, for example unix:///csi/csi.sock
    #[arg(long, value_name = "URL", env = "CSI_ENDPOINT")]
    listen: Endpoint,
    /// Name of this node in Kubernetes
    #[arg(long, value_name = "NAME", env = "CACHEFS_NODE_ID")]
    node_id: String,
    /// Give each Kubernetes namespace scopes of its own
    #[arg(long, env = "CACHEFS_NAMESPACED", value_parser = BoolishValueParser::new())]
    namespaced: bool,
    /// Deadline of a restore, then start the pod without its cache
    #[arg(long, value_name = "TIME", env = "CACHEFS_RESTORE_TIMEOUT", value_parser = parse_duration, default_value = "90s")]
    restore_timeout: Duration,
    /// Deadline of a save, then remove the pod without saving
    #[arg(long, value_name = "TIME", env = "CACHEFS_SAVE_TIMEOUT", value_parser = parse_duration, default_value = "10m")]
    save_timeout: Duration,
    /// Deadline of a response; kubelet gives up after two minutes and retries
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "100s", hide_short_help = true)]
    answer_within: Duration,
}

pub(crate) fn run_csi(global: &Global, args: &CsiArgs, parser: Command) -> anyhow::Result<u8> {
    let service = CsiService {
        endpoint: args.listen.clone(),
        node_id: args.node_id.clone(),
        namespaced: args.namespaced,
        restore_timeout: args.restore_timeout,
        save_timeout: args.save_timeout,
        answer_within: args.answer_within,
        parser,
    };
    serve_csi(global, &service)?;
    Ok(exit::SUCCESS)
}
