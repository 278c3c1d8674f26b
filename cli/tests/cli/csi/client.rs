//! A CSI client: tonic over one HTTP/2 connection to a Unix socket.

use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::http::Response;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tonic::body::Body;
use tonic::client::{Grpc, GrpcService};
use tonic::{Request, Status};

use super::codec::Messages;

/// Maximum time for any call in a test.
const PATIENCE: Duration = Duration::from_secs(120);

/// A connection to the service.
pub(super) struct Client {
    runtime: Runtime,
    connection: Connection,
}

impl Client {
    /// Connects; fails if no service listens on the socket.
    pub(super) fn connect(socket: &Path) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let sender = runtime.block_on(async {
            let socket = TokioIo::new(UnixStream::connect(socket).await?);
            let (sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), socket)
                    .await
                    .map_err(std::io::Error::other)?;
            tokio::spawn(connection);
            Ok::<_, std::io::Error>(sender)
        })?;
        Ok(Self {
            runtime,
            connection: Connection(sender),
        })
    }

    /// Makes a `csi.v1` call, for example `Identity/Probe`.
    pub(super) fn call<Asked, Answer>(&self, call: &str, asked: Asked) -> Result<Answer, Status>
    where
        Asked: Message + Send + Sync + 'static,
        Answer: Message + Default + Send + Sync + 'static,
    {
        let path = format!("/csi.v1.{call}").parse().unwrap();
        let origin = hyper::http::Uri::from_static("http://localhost");
        let mut grpc = Grpc::with_origin(self.connection.clone(), origin);
        let answer = async {
            grpc.ready()
                .await
                .map_err(|error| Status::unknown(error.to_string()))?;
            let codec = Messages::<Asked, Answer>::new();
            let answer = grpc.unary(Request::new(asked), path, codec).await?;
            Ok(answer.into_inner())
        };
        self.runtime
            .block_on(async { tokio::time::timeout(PATIENCE, answer).await })
            .unwrap_or_else(|_| panic!("{call} was not answered within {PATIENCE:?}"))
    }
}

/// Wraps hyper's connection for tonic.
#[derive(Clone)]
struct Connection(SendRequest<Body>);

impl GrpcService<Body> for Connection {
    type ResponseBody = Incoming;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: hyper::http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}
