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
Serves the identity and node calls of the Container Storage Interface, for inline volumes of pods.
--remote and the credentials here are those of the node; pods can bring others. The manifests are
in deploy/kubernetes, and docs/kubernetes.md tells how they work.")]
pub(crate) struct CsiArgs {
    /// The socket that kubelet calls at, such as unix:///csi/csi.sock
    #[arg(long, value_name = "URL", env = "CSI_ENDPOINT")]
    listen: Endpoint,
    /// What Kubernetes calls this node
    #[arg(long, value_name = "NAME", env = "CACHEFS_NODE_ID")]
    node_id: String,
    /// Keep keys of each namespace of Kubernetes in scopes of its own
    #[arg(long, env = "CACHEFS_NAMESPACED", value_parser = BoolishValueParser::new())]
    namespaced: bool,
    /// Longest time for a restore, after which the pod starts without its cache
    #[arg(long, value_name = "TIME", env = "CACHEFS_RESTORE_TIMEOUT", value_parser = parse_duration, default_value = "90s")]
    restore_timeout: Duration,
    /// Longest time for a save, after which the pod is taken down without it
    #[arg(long, value_name = "TIME", env = "CACHEFS_SAVE_TIMEOUT", value_parser = parse_duration, default_value = "10m")]
    save_timeout: Duration,
    /// Longest time until a call is answered; kubelet, which gives up after two minutes, asks again
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
