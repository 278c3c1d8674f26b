//! Workload identity federation: a token of another identity provider, exchanged for Google's.
//!
//! The file is the one that `gcloud iam workload-identity-pools create-cred-config` and Google's
//! GitHub action write. Its tokens come from a file or from an address.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{Method, Request, Uri};
use object_store::client::{HttpClient, HttpRequestBody};
use serde::Deserialize;
use serde_json::{Value, json};

use super::errors::CredentialError;
use super::token_request::{AccessToken, TokenAnswer, TokenError, request_bytes, request_json};
use crate::remote::identity::IdentityFields;

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// How long tokens in the name of a service account are asked to be good for.
const LIFETIME: Duration = Duration::from_secs(3600);

/// The content of the credentials file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct ExternalAccount {
    audience: String,
    subject_token_type: String,
    token_url: String,
    service_account_impersonation_url: Option<String>,
    credential_source: CredentialSource,
}

/// Where the other provider's token is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct CredentialSource {
    file: Option<String>,
    url: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, Secret>,
    #[serde(default)]
    format: SubjectTokenFormat,
}

/// A header's value, which may be a token.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
struct Secret(String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
struct SubjectTokenFormat {
    subject_token_field_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Impersonated {
    access_token: String,
}

impl ExternalAccount {
    /// The identity behind its tokens: the service account if it names one. Otherwise it is the
    /// subject of the other provider's token, which differs in each job.
    pub(super) fn identify(&self, client: IdentityFields) -> IdentityFields {
        let client = client
            .text("audience", &self.audience)
            .text("tokens", &self.token_url);
        if let Some(account) = &self.service_account_impersonation_url {
            return client.text("account", account);
        }
        let source = &self.credential_source;
        let headers = source.headers.iter();
        headers.fold(
            client
                .option("file", source.file.as_deref())
                .option("url", source.url.as_deref()),
            |client, (name, value)| client.text(name, &value.0),
        )
    }

    /// Parses the file; the error describes the mistake.
    pub(super) fn parse(text: &[u8]) -> Result<Self, String> {
        let account: Self = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        match (
            &account.credential_source.file,
            &account.credential_source.url,
        ) {
            (Some(_), None) | (None, Some(_)) => {}
            _ => return Err("only tokens from a file or a URL are supported".to_owned()),
        }
        let urls = [
            Some(&account.token_url),
            account.service_account_impersonation_url.as_ref(),
            account.credential_source.url.as_ref(),
        ];
        for url in urls.into_iter().flatten() {
            if url
                .parse::<Uri>()
                .map_or(true, |uri| uri.authority().is_none())
            {
                return Err(format!("`{url}` is not a URL"));
            }
        }
        Ok(account)
    }

    /// Gets an access token: that of the pool, or of the service account it may speak for.
    pub(super) async fn token(&self, client: &HttpClient) -> Result<AccessToken, TokenError> {
        let subject = self.subject_token(client).await?;
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", GRANT)
            .append_pair("audience", &self.audience)
            .append_pair("scope", SCOPE)
            .append_pair("requested_token_type", ACCESS_TOKEN)
            .append_pair("subject_token", &subject)
            .append_pair("subject_token_type", &self.subject_token_type)
            .finish();
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.token_url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let pool: TokenAnswer = request_json(client, request, form.into()).await?;
        let pool = AccessToken::from(pool);
        let Some(url) = &self.service_account_impersonation_url else {
            return Ok(pool);
        };
        let body = json!({
            "scope": [SCOPE],
            "lifetime": format!("{}s", LIFETIME.as_secs()),
        });
        let request = Request::builder()
            .method(Method::POST)
            .uri(url)
            .header(AUTHORIZATION, format!("Bearer {}", pool.bearer))
            .header(CONTENT_TYPE, "application/json");
        let answer: Impersonated = request_json(client, request, body.to_string().into()).await?;
        Ok(AccessToken {
            bearer: answer.access_token,
            lifetime: LIFETIME,
        })
    }

    async fn subject_token(&self, client: &HttpClient) -> Result<String, TokenError> {
        let source = &self.credential_source;
        let text = match (&source.file, &source.url) {
            // Read each time, because another process renews it.
            (Some(path), _) => fs::read(path).map_err(|source| CredentialError::Unreadable {
                path: path.clone(),
                source: Arc::new(source),
            })?,
            (None, url) => {
                let url = url.as_deref().unwrap_or_default();
                let mut request = Request::builder()
                    .method(Method::GET)
                    .uri(url)
                    .header(ACCEPT, "application/json");
                for (name, value) in &source.headers {
                    request = request.header(name, &value.0);
                }
                request_bytes(client, request, HttpRequestBody::empty())
                    .await?
                    .to_vec()
            }
        };
        let token = match &source.format.subject_token_field_name {
            None => String::from_utf8(text).ok(),
            Some(field) => serde_json::from_slice::<Value>(&text)
                .ok()
                .and_then(|value| Some(value.get(field)?.as_str()?.to_owned())),
        };
        let token = token.map(|token| token.trim().to_owned());
        match token.filter(|token| !token.is_empty()) {
            Some(token) => Ok(token),
            None => Err(CredentialError::Answer.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_may_say() {
        let file = |source: &str| {
            format!(
                r#"{{"type":"external_account","audience":"//iam/pool","subject_token_type":"jwt",
                "token_url":"https://sts.example/token","credential_source":{source}}}"#
            )
        };
        let parse = |source: &str| ExternalAccount::parse(file(source).as_bytes());
        assert!(parse(r#"{"file":"/token"}"#).is_ok());
        let action = r#"{"url":"https://token.example","headers":{"Authorization":"hunter2"},
            "format":{"type":"json","subject_token_field_name":"value"}}"#;
        let account = parse(action).unwrap();
        assert!(!format!("{account:?}").contains("hunter2"));
        for refused in [
            r#"{"environment_id":"aws1","url":"/relative"}"#,
            r#"{"executable":{"command":"rm -r /"}}"#,
            r#"{}"#,
        ] {
            assert!(parse(refused).is_err(), "{refused}");
        }
    }
}
