//! Credentials that a container's surroundings hand out over HTTP (ECS tasks, EKS pods).

use std::fs;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, Result as CredentialsResult, future};
use aws_sdk_s3::primitives::{ByteStream, DateTime, DateTimeFormat};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorSettings};
use aws_smithy_runtime_api::http::Request;
use serde::Deserialize;

use crate::remote::spec::Environment;

/// Where relative addresses are served, by definition of ECS.
const ECS_HOST: &str = "http://169.254.170.2";
/// Addresses other than loopback that may be used without TLS: those of ECS and EKS.
const PLAIN_HOSTS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks the address that the container's environment names.
#[derive(Debug, Clone)]
pub(super) struct ContainerCredentials {
    uri: String,
    env: Environment,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerCredentialsResponse {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

impl ContainerCredentials {
    /// `None` when the environment names no such address.
    pub(super) fn from_env(env: &Environment) -> Option<Self> {
        let relative = env.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
        let uri = match relative {
            Some(path) => format!("{ECS_HOST}{path}"),
            None => env.get("AWS_CONTAINER_CREDENTIALS_FULL_URI")?.to_owned(),
        };
        Some(Self {
            uri,
            env: env.clone(),
        })
    }

    /// The token to show; the file comes first because it is the one that is renewed.
    fn token(&self) -> Result<Option<String>, CredentialsError> {
        match self.env.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some(path) => match fs::read_to_string(path) {
                Ok(token) => Ok(Some(token.trim().to_owned())),
                Err(error) => Err(CredentialsError::invalid_configuration(error)),
            },
            None => Ok(self
                .env
                .get("AWS_CONTAINER_AUTHORIZATION_TOKEN")
                .map(str::to_owned)),
        }
    }

    async fn load(&self) -> CredentialsResult {
        if !may_be_asked(&self.uri) {
            return Err(CredentialsError::invalid_configuration(
                "the URL of the container's credentials is neither HTTPS nor local",
            ));
        }
        let mut request =
            Request::get(&self.uri).map_err(CredentialsError::invalid_configuration)?;
        if let Some(token) = self.token()? {
            let inserted = request.headers_mut().try_insert("authorization", token);
            inserted.map_err(CredentialsError::invalid_configuration)?;
        }
        let settings = HttpConnectorSettings::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .build();
        let connector = Connector::builder()
            .connector_settings(settings)
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build();
        let response = connector
            .call(request)
            .await
            .map_err(CredentialsError::provider_error)?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(CredentialsError::provider_error(format!(
                "the container's credentials were refused with status {status}"
            )));
        }
        let body = ByteStream::new(response.into_body()).collect().await;
        parse_credentials(&body.map_err(CredentialsError::provider_error)?.into_bytes())
    }
}

fn parse_credentials(body: &[u8]) -> CredentialsResult {
    let answer: ContainerCredentialsResponse =
        serde_json::from_slice(body).map_err(CredentialsError::unhandled)?;
    let expiration = match answer.expiration {
        Some(text) => {
            let time = DateTime::from_str(&text, DateTimeFormat::DateTimeWithOffset);
            let time = time.map_err(CredentialsError::unhandled)?;
            Some(SystemTime::try_from(time).map_err(CredentialsError::unhandled)?)
        }
        None => None,
    };
    Ok(Credentials::new(
        answer.access_key_id,
        answer.secret_access_key,
        answer.token,
        expiration,
        "container",
    ))
}

/// Whether credentials, and the token that buys them, may be sent over this address.
fn may_be_asked(uri: &str) -> bool {
    let Some(rest) = uri.strip_prefix("http://") else {
        return uri.starts_with("https://");
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    if authority.contains('@') {
        return false;
    }
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback() || PLAIN_HOSTS.contains(&host),
        Err(_) => host == "localhost",
    }
}

impl ProvideCredentials for ContainerCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.load())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn plain_http_goes_to_known_local_addresses_only() {
        for uri in [
            "https://creds.example/x",
            "http://127.0.0.1:51679/x",
            "http://localhost/x",
            "http://[::1]:80/x",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1/credentials",
        ] {
            assert!(may_be_asked(uri), "{uri}");
        }
        for uri in [
            "http://creds.example/x",
            "http://169.254.169.254/x",
            "http://127.0.0.1@creds.example/x",
            "http://127.0.0.1.creds.example/x",
            "file:///etc/passwd",
        ] {
            assert!(!may_be_asked(uri), "{uri}");
        }
    }

    #[tokio::test]
    async fn credentials_are_fetched_with_the_token_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let token = dir.path().join("token");
        fs::write(&token, "Bearer secret\n").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let uri = format!("http://{}/creds", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let length = socket.read(&mut request).unwrap();
            let body = r#"{"AccessKeyId":"A","SecretAccessKey":"B","Token":"C",
                "Expiration":"2030-01-02T03:04:05Z"}"#;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
            socket
                .write_all(format!("{head}{body}").as_bytes())
                .unwrap();
            String::from_utf8_lossy(&request[..length]).to_lowercase()
        });
        let env: Environment = [
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI".to_owned(), uri),
            (
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE".to_owned(),
                token.to_str().unwrap().to_owned(),
            ),
        ]
        .into_iter()
        .collect();
        let found = ContainerCredentials::from_env(&env)
            .unwrap()
            .load()
            .await
            .unwrap();
        let request = server.join().unwrap();
        assert!(request.starts_with("get /creds http/1.1\r\n"), "{request}");
        assert!(
            request.contains("authorization: bearer secret\r\n"),
            "{request}"
        );
        assert_eq!(
            (found.access_key_id(), found.session_token()),
            ("A", Some("C"))
        );
        assert!(found.expiry().is_some());
    }
}
