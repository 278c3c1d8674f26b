//! Requests for access tokens, and their answers.

use std::time::Duration;

use object_store::client::{HttpClient, HttpError, HttpRequestBody};
use serde::Deserialize;

use super::errors::CredentialError;
use super::http::response_body as body_of;

/// An access token and how long it is good for.
pub(super) struct AccessToken {
    pub(super) bearer: String,
    pub(super) lifetime: Duration,
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
