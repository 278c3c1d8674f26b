//! gRPC over a Unix socket: HTTP/2 by hyper, messages by tonic, and a table of calls.
//!
//! tonic's own server would add a router, a resolver and TLS, which we do not need.
//!
//! This HTTP/2 implementation only accepts requests whose authority is a host. Kubelet sends
//! `localhost` since Kubernetes 1.26, as do its sidecars; a client that sends the path of the
//! socket must be configured to do so.

use std::convert::Infallible;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tonic::body::Body;
use tonic::server::{Grpc, UnaryService};
use tonic::{Request, Response, Status};

use super::codec::Messages;
use super::node::NodeService;
use super::{identity, wire};
use crate::integrations::client_limits::{Client, Clients};

/// The largest message that is taken, in bytes. Those of a node service have a few kilobytes.
const MAX_MESSAGE: usize = 1 << 20;
/// How long calls under way may take when the service is to end, in all.
const GRACE: Duration = Duration::from_secs(20);
/// How long a client may take for its first call. Sidecars connect before they have something to
/// ask.
const FIRST: Duration = Duration::from_secs(60);
/// How long a silent client may take to hang up by itself.
const FAREWELL: Duration = Duration::from_secs(1);

/// Answers calls until `stop` is set; then those under way are answered, if they end soon.
pub(super) async fn serve_calls(
    listener: UnixListener,
    node: Arc<NodeService>,
    stop: watch::Receiver<bool>,
) {
    let clients = Clients::new(FIRST);
    let mut connections = tokio::task::JoinSet::new();
    let mut stopping = stop.clone();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => {
                    // One too many finds its connection closed, and connects again.
                    if let Some(client) = clients.admit() {
                        connections.spawn(serve_connection(socket, client, Arc::clone(&node), stop.clone()));
                    }
                }
                Err(error) => {
                    tracing::warn!("a connection is lost: {error}");
                    // Out of descriptors, most likely: others end meanwhile.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            _ = stopping.wait_for(|stop| *stop) => break,
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, all).await.is_err() {
        tracing::warn!("abandoned calls in flight; kubelet will retry them");
    }
}

/// Why a connection ends.
enum ConnectionEnd {
    /// It has ended.
    Here(hyper::Result<()>),
    /// The service is to end.
    Stopping,
    /// Its client has nothing to say.
    Silent,
}

/// Serves one connection.
async fn serve_connection(
    socket: UnixStream,
    client: Arc<Client>,
    node: Arc<NodeService>,
    mut stop: watch::Receiver<bool>,
) {
    let asking = Arc::clone(&client);
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        let node = Arc::clone(&node);
        request.extensions_mut().insert(Arc::clone(&asking));
        async move { Ok::<_, Infallible>(dispatch_call(&node, request).await) }
    });
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(socket), service);
    tokio::pin!(connection);
    let end = tokio::select! {
        ended = &mut connection => ConnectionEnd::Here(ended),
        _ = stop.wait_for(|stop| *stop) => ConnectionEnd::Stopping,
        () = client.is_silent() => ConnectionEnd::Silent,
    };
    let ended = match end {
        ConnectionEnd::Here(ended) => ended,
        ConnectionEnd::Stopping => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        ConnectionEnd::Silent => {
            tracing::debug!("closed an idle connection");
            connection.as_mut().graceful_shutdown();
            // A client that is well connects again for its next call; others do not answer.
            let _ = tokio::time::timeout(FAREWELL, connection).await;
            return;
        }
    };
    if let Err(error) = ended {
        tracing::debug!("a connection broke: {error}");
    }
}

/// The table of calls.
async fn dispatch_call(
    node: &Arc<NodeService>,
    request: http::Request<Incoming>,
) -> http::Response<Body> {
    let node = Arc::clone(node);
    match request.uri().path() {
        "/csi.v1.Identity/GetPluginInfo" => {
            answer_unary(request, |_: wire::Empty| async {
                Ok(identity::plugin_info())
            })
            .await
        }
        "/csi.v1.Identity/GetPluginCapabilities" => {
            // No optional capability applies: there is no controller, and no topology.
            answer_unary(request, |_: wire::Empty| async { Ok(wire::Empty {}) }).await
        }
        "/csi.v1.Identity/Probe" => {
            let probe = |_: wire::Empty| async move { identity::probe_state(node.volumes()) };
            answer_unary(request, probe).await
        }
        "/csi.v1.Node/NodeGetCapabilities" => {
            answer_unary(request, |_: wire::Empty| async {
                Ok(NodeService::capabilities())
            })
            .await
        }
        "/csi.v1.Node/NodeGetInfo" => {
            answer_unary(request, |_: wire::Empty| async move { Ok(node.info()) }).await
        }
        "/csi.v1.Node/NodePublishVolume" => {
            answer_unary(request, |asked| async move { node.publish(asked).await }).await
        }
        "/csi.v1.Node/NodeUnpublishVolume" => {
            answer_unary(request, |asked| async move { node.unpublish(asked).await }).await
        }
        "/csi.v1.Node/NodeGetVolumeStats" => {
            answer_unary(request, |asked| async move { node.stats(asked).await }).await
        }
        other => {
            let call = other.rsplit('/').next().unwrap_or_default();
            let message = format!("this driver does not implement {call}");
            Status::unimplemented(message).into_http()
        }
    }
}

/// Has one call answered, with the frames and trailers of gRPC around it.
async fn answer_unary<Asked, Answer, F, A>(
    request: http::Request<Incoming>,
    handler: F,
) -> http::Response<Body>
where
    Asked: prost::Message + Default + 'static,
    Answer: prost::Message + Default + 'static,
    F: FnOnce(Asked) -> A + Send,
    A: Future<Output = Result<Answer, Status>> + Send + 'static,
{
    let codec = Messages::<Answer, Asked>::new();
    let once = Once {
        handler: Some(handler),
        asked: PhantomData,
    };
    Grpc::new(codec)
        .max_decoding_message_size(MAX_MESSAGE)
        .unary(once, request)
        .await
}

/// A function as the service of one call.
struct Once<F, Asked> {
    handler: Option<F>,
    asked: PhantomData<fn(Asked)>,
}

type Answering<T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send>>;

impl<Asked, Answer, F, A> UnaryService<Asked> for Once<F, Asked>
where
    F: FnOnce(Asked) -> A,
    A: Future<Output = Result<Answer, Status>> + Send + 'static,
{
    type Response = Answer;
    type Future = Answering<Answer>;

    fn call(&mut self, request: Request<Asked>) -> Self::Future {
        let client = request.extensions().get::<Arc<Client>>();
        let answering = client.map(Client::answer);
        let answer = self
            .handler
            .take()
            .map(|handler| handler(request.into_inner()));
        Box::pin(async move {
            let _answering = answering;
            match answer {
                Some(answer) => answer.await.map(Response::new),
                None => Err(Status::internal("one request was answered twice")),
            }
        })
    }
}
