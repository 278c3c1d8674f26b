//! Access tokens for Google Cloud Storage from sources that `object_store` does not know.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::{Method, Request};
use object_store::CredentialProvider;
use object_store::client::{HttpClient, HttpRequestBody};
use object_store::gcp::GcpCredential;
use tokio::sync::Mutex;

use super::external_account::ExternalAccount;
use super::token_request::{AccessToken, TokenAnswer, TokenError, request_json};

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
