//! Roles that are assumed: with other credentials, or with a token of another identity provider.

use std::fs;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{
    ProvideCredentials, Result as CredentialsResult, SharedCredentialsProvider, future,
};
use aws_sdk_sts::Client;
use aws_sdk_sts::config::{BehaviorVersion, Config, Region, SharedHttpClient};
use aws_smithy_types::retry::RetryConfig;

use super::timeouts::client_timeouts;
use crate::remote::spec::Environment;

/// Default name of an assumed role's session.
const SESSION_NAME: &str = "cachefs";

/// A role that requests are sent in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Role {
    /// Its ARN.
    pub arn: String,
    /// External ID that the owner of the role requires, if it belongs to another account.
    pub external_id: Option<String>,
    /// Name of the session in the logs of AWS; by default `AWS_ROLE_SESSION_NAME` or `cachefs`.
    pub session_name: Option<String>,
}

impl Role {
    /// The role that the environment names.
    pub(super) fn from_env(env: &Environment) -> Option<Self> {
        Some(Self {
            arn: env.get("AWS_ROLE_ARN")?.to_owned(),
            external_id: None,
            session_name: None,
        })
    }
}

/// The token of another identity provider that a role is assumed with.
#[derive(Debug, Clone)]
pub(super) enum WebIdentityToken {
    /// A file, read each time because another process renews it.
    File(String),
    /// The token itself is in the environment.
    Variable(Environment),
}

const TOKEN_VARIABLE: &str = "AWS_WEB_IDENTITY_TOKEN";

impl WebIdentityToken {
    /// `None` when the environment names no token.
    pub(super) fn from_env(env: &Environment) -> Option<Self> {
        match env.get("AWS_WEB_IDENTITY_TOKEN_FILE") {
            Some(path) => Some(Self::File(path.to_owned())),
            None => env.get(TOKEN_VARIABLE).map(|_| Self::Variable(env.clone())),
        }
    }

    fn read(&self) -> Result<String, CredentialsError> {
        match self {
            Self::File(path) => fs::read_to_string(path)
                .map(|token| token.trim().to_owned())
                .map_err(|error| {
                    CredentialsError::invalid_configuration(format!(
                        "cannot read AWS_WEB_IDENTITY_TOKEN_FILE, `{path}`: {error}"
                    ))
                }),
            Self::Variable(env) => Ok(env.get(TOKEN_VARIABLE).unwrap_or_default().to_owned()),
        }
    }
}

/// How the token service is reached.
#[derive(Debug, Clone)]
pub(super) struct TokenService {
    pub(super) http: SharedHttpClient,
    pub(super) region: Region,
    pub(super) env: Environment,
}

impl TokenService {
    /// The service's address where it isn't that of AWS.
    pub(super) fn endpoint(env: &Environment) -> Option<&str> {
        env.get("AWS_ENDPOINT_URL_STS")
            .or(env.get("AWS_ENDPOINT_URL"))
    }

    fn config(&self) -> aws_sdk_sts::config::Builder {
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(self.http.clone())
            .region(self.region.clone())
            .retry_config(RetryConfig::disabled())
            .timeout_config(client_timeouts());
        if let Some(endpoint) = Self::endpoint(&self.env) {
            config = config.endpoint_url(endpoint);
        }
        config
    }

    fn session_name(&self, role: &Role) -> String {
        let named = role.session_name.as_deref();
        let named = named.or_else(|| self.env.get("AWS_ROLE_SESSION_NAME"));
        named.unwrap_or(SESSION_NAME).to_owned()
    }

    /// Assumes a role with the credentials of `base`.
    pub(super) fn assume(&self, role: Role, base: SharedCredentialsProvider) -> AssumedRole {
        AssumedRole {
            client: Client::from_conf(self.config().credentials_provider(base).build()),
            session_name: self.session_name(&role),
            role,
            token: None,
        }
    }

    /// Assumes a role with a token.
    pub(super) fn exchange(&self, role: Role, token: WebIdentityToken) -> AssumedRole {
        AssumedRole {
            client: Client::from_conf(self.config().allow_no_auth().build()),
            session_name: self.session_name(&role),
            role,
            token: Some(token),
        }
    }
}

/// Credentials of a role. The caller keeps them until shortly before they expire.
#[derive(Debug)]
pub(super) struct AssumedRole {
    client: Client,
    role: Role,
    session_name: String,
    token: Option<WebIdentityToken>,
}

impl AssumedRole {
    async fn load(&self) -> CredentialsResult {
        let credentials = match &self.token {
            None => {
                let request = self
                    .client
                    .assume_role()
                    .role_arn(&self.role.arn)
                    .role_session_name(&self.session_name)
                    .set_external_id(self.role.external_id.clone());
                let answer = request.send().await;
                answer
                    .map_err(CredentialsError::provider_error)?
                    .credentials
            }
            Some(token) => {
                let request = self
                    .client
                    .assume_role_with_web_identity()
                    .role_arn(&self.role.arn)
                    .role_session_name(&self.session_name)
                    .web_identity_token(token.read()?);
                let answer = request.send().await;
                answer
                    .map_err(CredentialsError::provider_error)?
                    .credentials
            }
        };
        let found = credentials.ok_or_else(|| {
            CredentialsError::unhandled("the response has no credentials of the role")
        })?;
        let expiration =
            SystemTime::try_from(found.expiration).map_err(CredentialsError::unhandled)?;
        Ok(Credentials::new(
            found.access_key_id,
            found.secret_access_key,
            Some(found.session_token),
            Some(expiration),
            "role",
        ))
    }
}

impl ProvideCredentials for AssumedRole {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}
