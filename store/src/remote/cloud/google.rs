//! A bucket of Google Cloud Storage, and the search for its credentials.
//!
//! The search uses the environment that came with the remote, because the process that talks to the
//! bucket serves clients with other environments.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::gcp::{GcpCredential, GoogleCloudStorage, GoogleCloudStorageBuilder};
use object_store::{RetryConfig, StaticCredentialProvider};
use serde::Deserialize;

use super::errors::CredentialError;
use super::external_account::ExternalAccount;
use super::http::CloudHttpService;
use super::token::{TokenSource, Tokens};
use crate::remote::RemoteId;
use crate::remote::identity::IdentityFields;
use crate::remote::spec::Environment;

/// Where Google Cloud Storage is.
const ENDPOINT: &str = "https://storage.googleapis.com";
/// The variable with a service account's key itself, for jobs that have secrets in variables only.
const KEY: &str = "GOOGLE_SERVICE_ACCOUNT_KEY";
/// The metadata server of Google's machines; a name that only they can resolve.
const METADATA_HOST: &str = "metadata.google.internal";

/// Which bucket, and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GoogleOptions {
    /// The bucket.
    pub bucket: String,
    /// Prefix of all keys, without slashes at its ends; may be empty.
    pub prefix: String,
    /// The server's address, as `https://host:port`, where it isn't Google's.
    pub endpoint: Option<String>,
    /// Whether to send requests without credentials.
    pub anonymous: bool,
    /// Where credentials are looked up.
    pub env: Environment,
}

/// Builds the client: no network, no more files than that of the credentials.
pub(super) fn build_google(
    options: &GoogleOptions,
    retry: RetryConfig,
) -> Result<GoogleCloudStorage, CredentialError> {
    let endpoint = options.endpoint.as_deref().unwrap_or(ENDPOINT);
    let service = CloudHttpService::new(endpoint);
    let builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(&options.bucket)
        .with_base_url(endpoint)
        .with_retry(retry)
        .with_http_connector(service.clone());
    let source = match options.anonymous {
        true => GoogleCredentials::Anonymous,
        false => find_google_credentials(&options.env)?,
    };
    let (builder, place) = match source {
        GoogleCredentials::Anonymous => {
            let none = GcpCredential {
                bearer: String::new(),
            };
            let none = Arc::new(StaticCredentialProvider::new(none));
            let builder = builder.with_skip_signature(true).with_credentials(none);
            (builder, String::new())
        }
        GoogleCredentials::Token { variable, token } => {
            (builder.with_bearer_token(token), variable.to_owned())
        }
        GoogleCredentials::Key(key) => (builder.with_service_account_key(key), KEY.to_owned()),
        GoogleCredentials::File(path) => (
            builder.with_application_credentials(path.clone()),
            format!("`{path}`"),
        ),
        GoogleCredentials::External(account) => {
            let tokens = Tokens::new(TokenSource::External(account), service.client());
            (builder.with_credentials(Arc::new(tokens)), String::new())
        }
        GoogleCredentials::Metadata { host } => {
            let tokens = Tokens::new(TokenSource::Metadata { host }, service.client());
            (builder.with_credentials(Arc::new(tokens)), String::new())
        }
    };
    // Address and bucket were checked before, so only the credentials can be wrong.
    builder.build().map_err(|error| CredentialError::Unusable {
        place,
        reason: innermost_cause(&error),
    })
}

/// Identity of a bucket and of the credentials that [`find_google_credentials`] would find.
pub(super) fn google_identity(options: &GoogleOptions) -> RemoteId {
    let place = IdentityFields::place()
        .text("store", "google")
        .option("endpoint", options.endpoint.as_deref())
        .text("bucket", &options.bucket)
        .text("prefix", &options.prefix)
        .into_place();
    let client = IdentityFields::client();
    let client = match find_google_credentials(&options.env) {
        _ if options.anonymous => client.text("kind", "anonymous"),
        Ok(GoogleCredentials::Anonymous) | Err(_) => client.text("kind", "none"),
        Ok(GoogleCredentials::Token { token, .. }) => client.text("token", &token),
        Ok(GoogleCredentials::Key(key)) => client.text("key", &key),
        Ok(GoogleCredentials::File(path)) => client.file("file", Path::new(&path)),
        Ok(GoogleCredentials::External(account)) => account.identify(client),
        Ok(GoogleCredentials::Metadata { host }) => client.text("metadata", &host),
    };
    RemoteId {
        place,
        client: client.into_client(),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum GoogleCredentials {
    Anonymous,
    Token {
        variable: &'static str,
        token: String,
    },
    /// A service account's key, in a variable.
    Key(String),
    /// A file of a kind that `object_store` reads.
    File(String),
    External(ExternalAccount),
    Metadata {
        host: String,
    },
}

#[derive(Deserialize)]
struct FileType {
    r#type: String,
}

/// Looks for credentials: a token, a key, the named file, the file of `gcloud`, the metadata server.
///
/// A source that is not configured is passed over; one that is and fails ends the search.
fn find_google_credentials(env: &Environment) -> Result<GoogleCredentials, CredentialError> {
    for variable in ["CLOUDSDK_AUTH_ACCESS_TOKEN", "GOOGLE_OAUTH_ACCESS_TOKEN"] {
        if let Some(token) = env.get(variable) {
            let token = token.to_owned();
            return Ok(GoogleCredentials::Token { variable, token });
        }
    }
    if let Some(key) = env.get(KEY) {
        return Ok(GoogleCredentials::Key(key.to_owned()));
    }
    if let Some(path) = env.get("GOOGLE_APPLICATION_CREDENTIALS") {
        return credentials_file(path);
    }
    let gcloud = match env.get("CLOUDSDK_CONFIG") {
        Some(dir) => Some(PathBuf::from(dir)),
        None => env
            .get("HOME")
            .map(|home| Path::new(home).join(".config/gcloud")),
    };
    let gcloud = gcloud.map(|dir| dir.join("application_default_credentials.json"));
    // The parts of the path are UTF-8, as they come from an `Environment`.
    if let Some(path) = gcloud.as_ref().filter(|path| path.exists())
        && let Some(path) = path.to_str()
    {
        return credentials_file(path);
    }
    if !env.has_machine_identity() {
        return Err(CredentialError::None);
    }
    match env.get("GCE_METADATA_HOST") {
        Some(host) => Ok(GoogleCredentials::Metadata {
            host: host.to_owned(),
        }),
        None if machine_is_google() => Ok(GoogleCredentials::Metadata {
            host: METADATA_HOST.to_owned(),
        }),
        None => Err(CredentialError::None),
    }
}

fn credentials_file(path: &str) -> Result<GoogleCredentials, CredentialError> {
    let text = fs::read(path).map_err(|source| CredentialError::Unreadable {
        path: path.to_owned(),
        source: Arc::new(source),
    })?;
    let unusable = |reason: String| CredentialError::Unusable {
        place: format!("`{path}`"),
        reason,
    };
    let kind: FileType =
        serde_json::from_slice(&text).map_err(|error| unusable(error.to_string()))?;
    match kind.r#type.as_str() {
        "service_account" | "authorized_user" => Ok(GoogleCredentials::File(path.to_owned())),
        "external_account" => ExternalAccount::parse(&text)
            .map(GoogleCredentials::External)
            .map_err(unusable),
        other => Err(unusable(format!("the type `{other}` is not supported"))),
    }
}

/// Whether the machine says that it is one of Google's. Elsewhere nothing answers to the name of
/// the metadata server, and waiting for that costs seconds.
fn machine_is_google() -> bool {
    fs::read_to_string("/sys/class/dmi/id/product_name")
        .is_ok_and(|name| name.starts_with("Google"))
}

/// The last cause of the chain, which is shorter and more precise than the errors above it.
pub(super) fn innermost_cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect()
    }

    #[test]
    fn a_token_comes_before_a_file_and_a_named_file_before_that_of_gcloud() {
        let dir = tempfile::tempdir().unwrap();
        let named = dir.path().join("named.json");
        fs::write(&named, r#"{"type":"service_account"}"#).unwrap();
        let named = named.to_str().unwrap();
        let gcloud = dir.path().join("application_default_credentials.json");
        fs::write(&gcloud, r#"{"type":"authorized_user"}"#).unwrap();
        let gcloud_dir = ("CLOUDSDK_CONFIG", dir.path().to_str().unwrap());

        let all = [
            ("GOOGLE_OAUTH_ACCESS_TOKEN", "t"),
            ("GOOGLE_APPLICATION_CREDENTIALS", named),
            gcloud_dir,
        ];
        let found = find_google_credentials(&environment(&all)).unwrap();
        assert!(
            matches!(found, GoogleCredentials::Token { .. }),
            "{found:?}"
        );
        let found = find_google_credentials(&environment(&all[1..])).unwrap();
        assert_eq!(found, GoogleCredentials::File(named.to_owned()));
        let found = find_google_credentials(&environment(&all[2..])).unwrap();
        assert_eq!(
            found,
            GoogleCredentials::File(gcloud.to_str().unwrap().to_owned())
        );
    }

    #[test]
    fn a_named_file_that_is_missing_or_of_another_kind_ends_the_search() {
        let absent = [("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere/key.json")];
        let error = find_google_credentials(&environment(&absent)).unwrap_err();
        assert_eq!(error.to_string(), "cannot read `/nowhere/key.json`");

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.json");
        fs::write(&path, r#"{"type":"gdch_service_account"}"#).unwrap();
        let named = [("GOOGLE_APPLICATION_CREDENTIALS", path.to_str().unwrap())];
        let error = find_google_credentials(&environment(&named))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`gdch_service_account` is not supported"),
            "{error}"
        );
    }

    #[test]
    fn the_metadata_server_is_only_asked_where_there_is_one() {
        let kept = [
            ("GCE_METADATA_HOST", "127.0.0.1:1"),
            (crate::remote::NO_MACHINE_IDENTITY, "true"),
        ];
        assert!(matches!(
            find_google_credentials(&environment(&kept)),
            Err(CredentialError::None)
        ));
        let named = environment(&[("GCE_METADATA_HOST", "127.0.0.1:1")]);
        let expected = GoogleCredentials::Metadata {
            host: "127.0.0.1:1".to_owned(),
        };
        assert_eq!(find_google_credentials(&named).unwrap(), expected);
        if !machine_is_google() {
            let none = find_google_credentials(&environment(&[])).unwrap_err();
            assert!(matches!(none, CredentialError::None), "{none:?}");
        }
    }

    #[test]
    fn a_key_that_is_none_is_told_without_being_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.json");
        let text = r#"{"type":"service_account","private_key":"hunter2",
            "private_key_id":"1","client_email":"ci@example.org"}"#;
        fs::write(&path, text).unwrap();
        let path = path.to_str().unwrap();
        let options = GoogleOptions {
            bucket: "bucket".into(),
            prefix: String::new(),
            endpoint: None,
            anonymous: false,
            env: environment(&[("GOOGLE_APPLICATION_CREDENTIALS", path)]),
        };
        let error = build_google(&options, RetryConfig::default()).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains(path) && !text.contains("hunter2"), "{text}");
    }
}
