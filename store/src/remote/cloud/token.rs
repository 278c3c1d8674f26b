//! Access tokens for Google Cloud Storage from sources that `object_store` does not know.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::{Method, Request};
use object_store::CredentialProvider;
use object_store::client::{HttpClient, HttpError, HttpRequestBody};
use object_store::gcp::GcpCredential;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::errors::CredentialError;
use super::external_account::ExternalAccount;
use super::http::response_body as body_of;

/// How long before its end a token is replaced: longer than any request takes.
const MARGIN: Duration = Duration::from_secs(4 * 60);

/// A service that issues tokens.
#[derive(Debug)]
pub(super) enum TokenSource {
    /// The metadata server of one of Google's machines, as `host` or `host:port`.
    Metadata { host: String },
    /// Another identity that Google trusts.
    External(ExternalAccount),
}

/// An access token and how long it is good for.
pub(super) struct AccessToken {
    pub(super) bearer: String,
    pub(super) lifetime: Duration,
}

/// Keeps a token while it is valid and gets the next one.
#[derive(Debug)]
pub(super) struct Tokens {
    source: TokenSource,
    client: HttpClient,
    current: Mutex<Option<(Arc<GcpCredential>, Instant)>>,
}

impl Tokens {
    pub(super) fn new(source: TokenSource, client: HttpClient) -> Self {
        Self {
            source,
            client,
            current: Mutex::new(None),
        }
    }
}

#[async_trait]
impl CredentialProvider for Tokens {
    type Credential = GcpCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<GcpCredential>> {
        // All waiting tasks need the same token; if one gives up, the next one requests it.
        let mut current = self.current.lock().await;
        if let Some((credential, end)) = &*current
            && Instant::now() + MARGIN < *end
        {
            return Ok(Arc::clone(credential));
        }
        let asked = Instant::now();
        let token = match &self.source {
            TokenSource::Metadata { host } => metadata_token(&self.client, host).await,
            TokenSource::External(account) => account.token(&self.client).await,
        };
        let token = token.map_err(|source| object_store::Error::Unauthenticated {
            path: String::new(),
            source,
        })?;
        let credential = Arc::new(GcpCredential {
            bearer: token.bearer,
        });
        *current = Some((Arc::clone(&credential), asked + token.lifetime));
        Ok(credential)
    }
}

/// An error with a `Failure` or a [`CredentialError`] in its chain.
pub(super) type TokenError = Box<dyn std::error::Error + Send + Sync>;

/// The answer of servers that give access tokens, Google's own and those of the standard.
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    access_token: String,
    expires_in: u64,
}

impl From<TokenAnswer> for AccessToken {
    fn from(answer: TokenAnswer) -> Self {
        Self {
            bearer: answer.access_token,
            lifetime: Duration::from_secs(answer.expires_in),
        }
    }
}

async fn metadata_token(client: &HttpClient, host: &str) -> Result<AccessToken, TokenError> {
    let request = Request::builder()
        .method(Method::GET)
        .uri(format!(
            "http://{host}/computeMetadata/v1/instance/service-accounts/default/token"
        ))
        .header("Metadata-Flavor", "Google");
    let answer: TokenAnswer = request_json(client, request, HttpRequestBody::empty()).await?;
    Ok(answer.into())
}

/// Sends a request and reads the answer as JSON.
pub(super) async fn request_json<T: for<'a> Deserialize<'a>>(
    client: &HttpClient,
    request: http::request::Builder,
    body: HttpRequestBody,
) -> Result<T, TokenError> {
    let body = request_bytes(client, request, body).await?;
    // The cause could quote a secret.
    Ok(serde_json::from_slice(&body).map_err(|_| CredentialError::Answer)?)
}

/// Sends a request and reads the answer.
pub(super) async fn request_bytes(
    client: &HttpClient,
    request: http::request::Builder,
    body: HttpRequestBody,
) -> Result<bytes::Bytes, TokenError> {
    let request = request.body(body)?;
    let answer: Result<_, HttpError> =
        async { body_of(client.execute(request).await?).await }.await;
    Ok(answer?)
}
