//! The HTTP that `object_store` speaks through: the libraries that S3 uses already.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::Response;
use http::uri::Scheme;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService,
};

use super::errors::{Asked, CloudFailure, CloudResponse};
use crate::remote::body::{LONGEST_ANSWER, LONGEST_REFUSAL};

/// How long a connection may take to come about, as with S3.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

type Plain = Client<TcpConnector, HttpRequestBody>;
type Tls = Client<HttpsConnector<TcpConnector>, HttpRequestBody>;

/// Sends requests to a store, and to the services that issue its credentials.
///
/// Every unsuccessful answer becomes an error with a [`CloudFailure`] in its chain, so that one
/// place classifies its status and code. Clones share connections.
#[derive(Debug, Clone)]
pub(super) struct CloudHttpService(Arc<SharedHttpService>);

#[derive(Debug)]
struct SharedHttpService {
    /// The store's `host:port`; requests to any other host are for credentials.
    store: String,
    plain: Plain,
    tls: OnceLock<Tls>,
}

impl CloudHttpService {
    /// `endpoint` is the store's address, as `https://host:port/path`.
    pub(super) fn new(endpoint: &str) -> Self {
        let host = endpoint
            .split_once("://")
            .map_or(endpoint, |(_, rest)| rest)
            .split('/')
            .next()
            .unwrap_or_default();
        Self(Arc::new(SharedHttpService {
            store: host.to_owned(),
            plain: client_builder().build(tcp_connector()),
            tls: OnceLock::new(),
        }))
    }

    /// A client for requests of our own.
    pub(super) fn client(&self) -> HttpClient {
        HttpClient::new(self.clone())
    }

    /// The client for `https`. Hundreds of certificates are read for it: with the first request
    /// that needs it, and never for a plain endpoint.
    fn tls(&self) -> Result<&Tls, CloudFailure> {
        if let Some(tls) = self.0.tls.get() {
            return Ok(tls);
        }
        let mut tcp = tcp_connector();
        tcp.enforce_http(false);
        // One connection per request in flight. Over a shared HTTP/2 connection they would share
        // one flow-control window, which parallel ranges are meant to avoid.
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
            .map_err(|error| CloudFailure::Certificates(Arc::new(error)))?
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Ok(self.0.tls.get_or_init(|| client_builder().build(connector)))
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, CloudFailure> {
        let asked = match request.uri().authority() {
            Some(authority) if authority.as_str() != self.0.store => Asked::Credentials,
            _ => Asked::Store,
        };
        let is_object = asked == Asked::Store && is_for_object(&request);
        let result = if request.uri().scheme() == Some(&Scheme::HTTPS) {
            self.tls()?.request(request).await
        } else {
            self.0.plain.request(request).await
        };
        let response = result.map_err(|error| CloudFailure::Unanswered(asked, Arc::new(error)))?;
        let (parts, body) = response.into_parts();
        if parts.status.is_success() {
            // `object_store` collects everything but objects before it parses it.
            let limit = if is_object {
                usize::MAX
            } else {
                LONGEST_ANSWER
            };
            let body = Limited::new(body, limit).map_err(|error| {
                let failure = match error.is::<LengthLimitError>() {
                    true => CloudFailure::TooLong,
                    false => CloudFailure::Broken(Arc::from(error)),
                };
                HttpError::new(HttpErrorKind::Unknown, failure)
            });
            return Ok(Response::from_parts(parts, HttpResponseBody::new(body)));
        }
        // Without a body the status has to do.
        let body = Limited::new(body, LONGEST_REFUSAL).collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        let header = parts.headers.get("x-ms-error-code");
        let code = header.and_then(|code| code.to_str().ok());
        let answered = CloudResponse::new(parts.status.as_u16(), code, &body);
        Err(CloudFailure::Answered(asked, answered))
    }
}

#[async_trait]
impl HttpService for CloudHttpService {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // Not a kind that would be tried again: retries have a place of their own.
        self.send(request)
            .await
            .map_err(|failure| HttpError::new(HttpErrorKind::Unknown, failure))
    }
}

impl HttpConnector for CloudHttpService {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(self.client())
    }
}

/// The whole body of an answer to a request of our own.
pub(super) async fn response_body(response: HttpResponse) -> Result<Bytes, HttpError> {
    let body = Limited::new(response.into_body(), LONGEST_REFUSAL);
    match body.collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) => Err(HttpError::new_boxed(HttpErrorKind::Decode, error)),
    }
}

/// Whether a request is for an object, whose body [`Body`](crate::remote::body::Body) bounds while
/// it streams. Listings are GET requests as well.
fn is_for_object(request: &HttpRequest) -> bool {
    let query = request.uri().query().unwrap_or_default();
    let is_listing = |part: &str| part == "comp=list" || part.starts_with("list-type=");
    request.method() == http::Method::GET && !query.split('&').any(is_listing)
}

fn tcp_connector() -> TcpConnector {
    let mut tcp = TcpConnector::new();
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp
}

fn client_builder() -> hyper_util::client::legacy::Builder {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new());
    builder
}
