//! The plugin's HTTP server.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;

use super::driver::{Caller, VolumeDriver};
use super::protocol::{Answer, For, answer_request};
use super::socket::Socket;
use super::sweep;
use crate::integrations::client_limits::{Client, Clients};

/// Maximum size of a request in bytes.
const LONGEST: usize = 1 << 20;
/// Deadline for an engine's first request, which it sends as soon as it is connected.
const FIRST: Duration = Duration::from_secs(5);
/// Content type of responses.
const ANSWER_TYPE: &str = "application/vnd.docker.plugins.v1.2+json";

/// Docker's timeout for an unmount, less a margin for the response.
const OF_DOCKER: Duration = Duration::from_secs(50);
/// Podman's default timeout, less a margin. After one timeout podman considers the volume mounted
/// forever and never requests an unmount again, so no response may be late.
const OF_PODMAN: Duration = Duration::from_secs(4);

/// Timeouts for engines and their containers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manners {
    /// The engine's timeout; `None` for the default of each engine.
    pub(crate) answer_within: Option<Duration>,
    /// Time without any visible process after which a container is considered gone.
    pub(crate) forget_after: Duration,
}

/// Serves engines until SIGTERM or SIGINT, and then finishes the work in progress.
///
/// # Errors
///
/// If the server cannot be started.
pub(crate) fn serve_plugin(
    socket: Socket,
    volumes: Arc<VolumeDriver>,
    manners: Manners,
) -> anyhow::Result<()> {
    let stop = stop_signal()?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the server")?;
    let listener = socket
        .listener
        .try_clone()
        .context("cannot use the socket")?;
    listener
        .set_nonblocking(true)
        .context("cannot use the socket")?;
    sweep::start_sweeping(Arc::clone(&volumes), manners.forget_after)
        .context("cannot watch the volumes")?;
    runtime.block_on(accept_connections(
        listener,
        Arc::clone(&volumes),
        manners,
        stop,
    ))?;
    // New clients now reach the next plugin.
    drop(socket);
    volumes.wait_until_idle();
    runtime.shutdown_background();
    Ok(())
}

/// Resolves on the first signal to stop.
fn stop_signal() -> anyhow::Result<oneshot::Receiver<()>> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let (sender, stop) = oneshot::channel();
    let wait = move || {
        if signals.forever().next().is_some() {
            // If the receiver is gone, the server has stopped already.
            let _ = sender.send(());
        }
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(wait)?;
    Ok(stop)
}

async fn accept_connections(
    listener: std::os::unix::net::UnixListener,
    volumes: Arc<VolumeDriver>,
    manners: Manners,
    mut stop: oneshot::Receiver<()>,
) -> anyhow::Result<()> {
    let listener = UnixListener::from_std(listener).context("cannot use the socket")?;
    let clients = Clients::new(FIRST);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stop => return Ok(()),
        };
        match accepted {
            Ok((stream, _)) => {
                // A client over the limit gets its connection closed, and retries.
                if let Some(client) = clients.admit() {
                    tokio::spawn(serve_connection(
                        stream,
                        client,
                        Arc::clone(&volumes),
                        manners,
                    ));
                }
            }
            Err(error) => {
                // For example, too many open files: a later attempt may succeed.
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Serves one connection.
async fn serve_connection(
    stream: UnixStream,
    client: Arc<Client>,
    volumes: Arc<VolumeDriver>,
    manners: Manners,
) {
    let visible = is_visible(&stream);
    let asking = Arc::clone(&client);
    let service = service_fn(move |request: Request<Incoming>| {
        // Only Docker sends an `Accept` header, podman does not.
        let own = match request.headers().contains_key(ACCEPT) {
            true => OF_DOCKER,
            false => OF_PODMAN,
        };
        let driver = For {
            volumes: Arc::clone(&volumes),
            caller: Caller {
                patience: manners.answer_within.unwrap_or(own),
                visible,
            },
        };
        let client = Arc::clone(&asking);
        async move { Ok::<_, Infallible>(respond_to(driver, &client, request).await) }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let served = tokio::select! {
        served = connection => served,
        () = client.is_silent() => return tracing::debug!("closed an idle connection"),
    };
    if let Err(error) = served {
        // After a timeout the engine closes the connection, and repeats the request later.
        tracing::debug!("a connection ended early: {error}");
    }
}

async fn respond_to(
    driver: For,
    client: &Arc<Client>,
    request: Request<Incoming>,
) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let (status, body) = match Limited::new(request.into_body(), LONGEST).collect().await {
        Ok(body) => {
            let _answering = client.answer();
            run_request(driver, path, body.to_bytes()).await
        }
        Err(error) => (
            400,
            json!({ "Err": format!("the request ended early: {error}") }),
        ),
    };
    let mut response = Response::new(Full::new(Bytes::from(format!("{body}\n"))));
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let content_type = hyper::header::HeaderValue::from_static(ANSWER_TYPE);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// Runs a request in a blocking thread; it finishes even if the engine times out.
async fn run_request(driver: For, path: String, body: Bytes) -> Answer {
    let asked = path.clone();
    let work = move || answer_request(&driver, &path, &body);
    let (status, body) = tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| {
            let message = format!("the plugin failed: {error}");
            (500, json!({ "Err": message }))
        });
    match body.get("Err").and_then(|error| error.as_str()) {
        // Engines query a volume before they create it, so a missing one is expected.
        Some(error) if asked != "/VolumeDriver.Get" => tracing::warn!("{asked}: {error}"),
        _ => tracing::debug!("{asked}: {body}"),
    }
    (status, body)
}

/// Whether the client's process, and so those of its containers, is visible in our PID namespace.
fn is_visible(stream: &UnixStream) -> bool {
    let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
    pid.is_some_and(|pid| {
        pid > 0
            && Path::new("/proc")
                .join(pid.to_string())
                .join("ns/mnt")
                .read_link()
                .is_ok()
    })
}
