//! Caches as volumes of pods: the node service of a CSI driver.
//!
//! Kubelet connects over a Unix socket ([`server`], [`wire`]). A volume is an inline volume of one
//! pod: it starts with a restore ([`publish`]) and ends with a save ([`unpublish`]); [`attributes`]
//! lists the settings of pods. Both are runs of this program in the mount namespace of the service,
//! from which mounts propagate to the host and to the pod ([`run`]). The state of volumes is on
//! disk ([`state`]), so the service can be replaced while pods run; secrets are only in memory
//! ([`credentials`]).

mod attributes;
mod codec;
mod credentials;
mod endpoint;
mod identity;
mod message;
mod node;
mod phase;
mod place;
mod publish;
mod run;
mod server;
mod spec;
mod state;
mod stats;
mod unpublish;
mod volumes;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::sync::watch;

pub(crate) use endpoint::Endpoint;

use crate::global::Global;
use crate::integrations::listen::listen_on;
use crate::{output, setup};
use node::NodeService;
use volumes::{CsiVolumes, Settings};

/// Grace period at shutdown for work that no call waits for.
const LEFTOVERS: Duration = Duration::from_secs(1);

/// Configuration of the service.
#[derive(Debug)]
pub(crate) struct CsiService {
    /// The socket that kubelet connects to.
    pub(crate) endpoint: Endpoint,
    /// The name of this node in Kubernetes.
    pub(crate) node_id: String,
    /// Whether scopes are prefixed with the namespace of the pod.
    pub(crate) namespaced: bool,
    /// Default time limit of a restore.
    pub(crate) restore_timeout: Duration,
    /// Default time limit of a save.
    pub(crate) save_timeout: Duration,
    /// Maximum time before a call is answered.
    pub(crate) answer_within: Duration,
    /// The command line of this program, which checks attributes.
    pub(crate) parser: clap::Command,
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
///
/// If it cannot listen, or the store cannot be opened.
pub(crate) fn serve_csi(global: &Global, service: &CsiService) -> anyhow::Result<()> {
    let volumes = CsiVolumes::open(Settings {
        store: setup::open_store(global)?,
        node: node_variables(global),
        rules: spec::Rules {
            scope: match &global.scope {
                Some(name) => setup::scope_named(name)?.to_string(),
                None => "default".to_owned(),
            },
            namespaced: service.namespaced,
            parser: service.parser.clone(),
        },
        restore_timeout: service.restore_timeout,
        save_timeout: service.save_timeout,
        answer_within: service.answer_within,
    })?;
    let node = Arc::new(NodeService::new(&service.node_id, volumes)?);
    let (stop, stopping) = watch::channel(false);
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the network runtime")?;
    // Kubelet and the sidecars are root. Nobody else may connect: calls carry the secrets of pods.
    let (listener, file) = listen_on(service.endpoint.path(), "--listen")?;
    let listener = {
        listener
            .set_nonblocking(true)
            .context("cannot use the socket")?;
        let _runtime = runtime.enter();
        tokio::net::UnixListener::from_std(listener).context("cannot use the socket")?
    };
    let wait = move || {
        if signals.forever().next().is_some() {
            stop.send_replace(true);
        }
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)?;
    output::log_text(&format!(
        "{} {} serves node {} at {}",
        identity::DRIVER,
        cachefs::VERSION,
        service.node_id,
        output::format_path(service.endpoint.path())
    ));
    runtime.block_on(server::serve_calls(listener, node, stopping));
    file.remove();
    runtime.shutdown_timeout(LEFTOVERS);
    Ok(())
}

/// The node's remote and its settings, as variables for runs of this program.
fn node_variables(global: &Global) -> Vec<(&'static str, String)> {
    let mut variables = global.remote.variables();
    if let Some(timeout) = global.timeout {
        variables.push(("CACHEFS_TIMEOUT", format!("{}ms", timeout.as_millis())));
    }
    variables
}
