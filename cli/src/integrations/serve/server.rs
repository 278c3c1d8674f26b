//! The HTTP server.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::content::{AnswerBody, full_body};
use super::listener::{ClientStream, ListenAddress, RegistryListener};
use super::namespace::Namespace;
use super::oci::Registry;
use crate::integrations::client_limits::{Client, Clients};

/// Deadline for the first request of a connection.
const FIRST: Duration = Duration::from_secs(30);
/// The first byte of a TLS connection.
const TLS_HELLO: u8 = 0x16;
/// Maximum size of a TLS hello.
const MAX_HELLO: u64 = 64 << 10;
/// The response to a TLS hello. Docker and containerd try TLS first with registries on loopback,
/// and fall back to HTTP only if the response begins with `HTTP/`.
const NOT_TLS: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\ncontent-length: 52\r\nconnection: close\r\n\r\n\
    This server speaks HTTP, and the client sent HTTPS.\n";

/// Serves a registry until SIGTERM or SIGINT, and then saves all accepted files.
///
/// `listening` is called with the address once clients can connect.
///
/// # Errors
///
/// If the server cannot listen, or the last save fails; accepted files then stay in the spool.
pub(crate) fn serve_registry(
    namespace: &Arc<Namespace>,
    address: &ListenAddress,
    listening: impl FnOnce(&ListenAddress),
) -> anyhow::Result<()> {
    let stop = watch_signals()?;
    let registry = Arc::new(Registry::new(Arc::clone(namespace)));
    namespace.session().block_on(async {
        let listener = RegistryListener::bind(address).await?;
        listening(&listener.address(address));
        accept_connections(&listener, registry, stop).await;
        listener.close();
        anyhow::Ok(())
    })?;
    Ok(namespace.flush_now()?)
}

/// Resolves on the first signal to stop.
fn watch_signals() -> anyhow::Result<oneshot::Receiver<()>> {
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
        .spawn(wait)
        .context("cannot start a thread")?;
    Ok(stop)
}

async fn accept_connections(
    listener: &RegistryListener,
    registry: Arc<Registry>,
    mut stop: oneshot::Receiver<()>,
) {
    let clients = Clients::new(FIRST);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = &mut stop => return,
        };
        match accepted {
            Ok(stream) => {
                if let Some(client) = clients.admit() {
                    tokio::spawn(serve_client(stream, client, Arc::clone(&registry)));
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

async fn serve_client(stream: ClientStream, client: Arc<Client>, registry: Arc<Registry>) {
    match stream {
        ClientStream::Unix(stream) => serve_connection(stream, client, registry).await,
        ClientStream::Tcp(mut stream) => {
            if is_tls(&stream).await {
                // If the client is gone, it needs no response.
                let _ = tokio::time::timeout(FIRST, refuse_tls(&mut stream)).await;
                return;
            }
            serve_connection(stream, client, registry).await;
        }
    }
}

async fn is_tls(stream: &TcpStream) -> bool {
    let mut first = [0];
    let peeked = tokio::time::timeout(FIRST, stream.peek(&mut first)).await;
    matches!(peeked, Ok(Ok(1))) && first[0] == TLS_HELLO
}

/// Responds to a TLS hello, and reads the rest of the client's data: closing a connection with
/// unread bytes resets it, and the response could get lost.
async fn refuse_tls(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(NOT_TLS).await?;
    stream.shutdown().await?;
    let mut unread = stream.take(MAX_HELLO);
    tokio::io::copy(&mut unread, &mut tokio::io::sink()).await?;
    Ok(())
}

async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    client: Arc<Client>,
    registry: Arc<Registry>,
) {
    let asking = Arc::clone(&client);
    let service = service_fn(move |request: Request<Incoming>| {
        let answering = asking.answer();
        let registry = Arc::clone(&registry);
        async move {
            // A separate task: if the client disconnects, the received bytes of an upload must be
            // kept, so that the client can resume it.
            let answer = tokio::spawn(async move { registry.answer(request).await });
            let answer = answer.await.unwrap_or_else(|_| failed_answer());
            drop(answering);
            Ok::<_, Infallible>(answer)
        }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let served = tokio::select! {
        served = connection => served,
        () = client.is_silent() => return tracing::debug!("closed an idle connection"),
    };
    if let Err(error) = served {
        tracing::debug!("a connection ended early: {error}");
    }
}

fn failed_answer() -> Response<AnswerBody> {
    let mut response = Response::new(full_body("the request failed; the log says why\n"));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}
