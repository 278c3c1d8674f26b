//! A container of Azure Blob Storage, and the search for its credentials.
//!
//! The search uses the environment that came with the remote, because the process that talks to the
//! container serves clients with other environments.

use std::fs;
use std::sync::Arc;

use http::Request;
use object_store::RetryConfig;
use object_store::azure::{
    AzureAuthorizer, AzureCredentialProvider, MicrosoftAzure, MicrosoftAzureBuilder,
};
use object_store::client::{HttpClient, HttpRequestBody};

use super::errors::CredentialError;
use super::google::innermost_cause;
use super::http::CloudHttpService;
use crate::remote::RemoteId;
use crate::remote::identity::IdentityFields;
use crate::remote::spec::Environment;

/// Which container, and how to reach it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AzureOptions {
    /// The storage account.
    pub account: String,
    /// The container.
    pub container: String,
    /// Prefix of all keys, without slashes at its ends; may be empty.
    pub prefix: String,
    /// The account's address, as `https://ACCOUNT.blob.core.windows.net`.
    pub endpoint: String,
    /// Whether to send requests without credentials.
    pub anonymous: bool,
    /// Where credentials are looked up.
    pub env: Environment,
}

/// Builds the client: no network, no files.
pub(super) fn build_azure(
    options: &AzureOptions,
    retry: RetryConfig,
) -> Result<(MicrosoftAzure, AzureDeleter), CredentialError> {
    let service = CloudHttpService::new(&options.endpoint);
    let builder = MicrosoftAzureBuilder::new()
        .with_account(&options.account)
        .with_container_name(&options.container)
        .with_endpoint(options.endpoint.clone())
        .with_allow_http(true)
        .with_retry(retry)
        .with_http_connector(service.clone());
    let credentials = match options.anonymous {
        true => AzureCredentials::Anonymous,
        false => find_azure_credentials(&options.env)?,
    };
    let (builder, place) = credentials.give_to(builder);
    // Address and names were checked before, so only the credentials can be wrong.
    let store = builder.build().map_err(|error| CredentialError::Unusable {
        place: place.to_owned(),
        reason: innermost_cause(&error),
    })?;
    let deletions = AzureDeleter {
        http: service.client(),
        credentials: (!options.anonymous).then(|| Arc::clone(store.credentials())),
        account: options.account.clone(),
        container: format!("{}/{}", options.endpoint, options.container),
    };
    Ok((store, deletions))
}

/// Identity of a container and of the credentials that [`find_azure_credentials`] would find.
pub(super) fn azure_identity(options: &AzureOptions) -> RemoteId {
    let place = IdentityFields::place()
        .text("store", "azure")
        .text("endpoint", &options.endpoint)
        .text("account", &options.account)
        .text("container", &options.container)
        .text("prefix", &options.prefix)
        .into_place();
    let client = IdentityFields::client();
    let client = match find_azure_credentials(&options.env) {
        _ if options.anonymous => client.text("kind", "anonymous"),
        Ok(AzureCredentials::Anonymous) | Err(_) => client.text("kind", "none"),
        Ok(AzureCredentials::Key { key, .. }) => client.text("key", &key),
        Ok(AzureCredentials::Sas { token, .. }) => client.text("signature", &token),
        Ok(AzureCredentials::Workload {
            client: name,
            tenant,
            authority,
            ..
        }) => client
            .text("workload", &name)
            .text("tenant", &tenant)
            .option("authority", authority.as_deref()),
        Ok(AzureCredentials::Secret {
            client: name,
            tenant,
            authority,
            secret,
        }) => client
            .text("client", &name)
            .text("tenant", &tenant)
            .option("authority", authority.as_deref())
            .text("secret", &secret),
        Ok(AzureCredentials::Managed {
            client: name,
            endpoint,
        }) => client
            .text("kind", "machine")
            .option("client", name.as_deref())
            .option("endpoint", endpoint.as_deref()),
    };
    RemoteId {
        place,
        client: client.into_client(),
    }
}

/// Deletes one blob with one request.
///
/// `object_store` sends even a single deletion as a batch, which accounts with a hierarchical
/// namespace do not take.
#[derive(Debug, Clone)]
pub(super) struct AzureDeleter {
    http: HttpClient,
    credentials: Option<AzureCredentialProvider>,
    account: String,
    /// The container's address.
    container: String,
}

impl AzureDeleter {
    /// Deletes a blob.
    pub(super) async fn delete(&self, name: &str) -> object_store::Result<()> {
        let generic = |source| object_store::Error::Generic {
            store: "Azure",
            source,
        };
        let uri = format!("{}/{}", self.container, encode_blob_name(name));
        let request = Request::delete(uri).body(HttpRequestBody::empty());
        let mut request = request.map_err(|error| generic(error.into()))?;
        if let Some(credentials) = &self.credentials {
            let credential = credentials.get_credential().await?;
            AzureAuthorizer::new(&credential, &self.account).try_authorize(&mut request)?;
        }
        let answer = self.http.execute(request).await;
        answer.map(drop).map_err(|error| generic(error.into()))
    }
}

/// Encodes a blob's name for an address.
fn encode_blob_name(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// The credentials of an environment; each variant has its own fields.
#[derive(PartialEq, Eq)]
enum AzureCredentials {
    Anonymous,
    Key {
        place: &'static str,
        key: String,
    },
    Sas {
        place: &'static str,
        token: String,
    },
    Workload {
        client: String,
        tenant: String,
        authority: Option<String>,
        token_file: String,
    },
    Secret {
        client: String,
        tenant: String,
        authority: Option<String>,
        secret: String,
    },
    /// The identity of the machine, or one of several by its client id.
    Managed {
        client: Option<String>,
        endpoint: Option<String>,
    },
}

impl AzureCredentials {
    /// Configures these and none else; returns where they come from, too.
    fn give_to(self, builder: MicrosoftAzureBuilder) -> (MicrosoftAzureBuilder, &'static str) {
        match self {
            Self::Anonymous => (builder.with_skip_signature(true), ""),
            Self::Key { place, key } => (builder.with_access_key(key), place),
            Self::Sas { place, token } => (
                builder.with_config(object_store::azure::AzureConfigKey::SasKey, token),
                place,
            ),
            Self::Workload {
                client,
                tenant,
                authority,
                token_file,
            } => {
                let builder = builder
                    .with_client_id(client)
                    .with_tenant_id(tenant)
                    .with_federated_token_file(token_file);
                (
                    with_authority(builder, authority),
                    "AZURE_FEDERATED_TOKEN_FILE",
                )
            }
            Self::Secret {
                client,
                tenant,
                authority,
                secret,
            } => {
                let builder = builder
                    .with_client_id(client)
                    .with_tenant_id(tenant)
                    .with_client_secret(secret);
                (with_authority(builder, authority), "AZURE_CLIENT_SECRET")
            }
            Self::Managed { client, endpoint } => {
                let builder = match client {
                    Some(client) => builder.with_client_id(client),
                    None => builder,
                };
                let builder = match endpoint {
                    Some(endpoint) => builder.with_msi_endpoint(endpoint),
                    None => builder,
                };
                (builder, "IDENTITY_ENDPOINT")
            }
        }
    }
}

fn with_authority(
    builder: MicrosoftAzureBuilder,
    authority: Option<String>,
) -> MicrosoftAzureBuilder {
    match authority {
        // Tools write it with a slash at its end, which `object_store` would double.
        Some(host) => builder.with_authority_host(host.trim_end_matches('/')),
        None => builder,
    }
}

/// Looks for credentials: those of the account, of a service principal, of the machine.
///
/// A source that is not configured is passed over; one that is and fails ends the search.
fn find_azure_credentials(env: &Environment) -> Result<AzureCredentials, CredentialError> {
    let get = |name| env.get(name).map(str::to_owned);
    for place in ["AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY"] {
        if let Some(key) = get(place) {
            return Ok(AzureCredentials::Key { place, key });
        }
    }
    if let Some(token) = get("AZURE_STORAGE_SAS_TOKEN") {
        let place = "AZURE_STORAGE_SAS_TOKEN";
        return Ok(AzureCredentials::Sas { place, token });
    }
    if let Some(string) = ConnectionString::from_env(env) {
        let place = "AZURE_STORAGE_CONNECTION_STRING";
        if let Some(key) = string.key {
            return Ok(AzureCredentials::Key { place, key });
        }
        if let Some(token) = string.sas {
            return Ok(AzureCredentials::Sas { place, token });
        }
    }
    let authority = get("AZURE_AUTHORITY_HOST");
    if let (Some(client), Some(tenant)) = (get("AZURE_CLIENT_ID"), get("AZURE_TENANT_ID")) {
        if let Some(secret) = get("AZURE_CLIENT_SECRET") {
            return Ok(AzureCredentials::Secret {
                client,
                tenant,
                authority,
                secret,
            });
        }
        if let Some(token_file) = get("AZURE_FEDERATED_TOKEN_FILE") {
            // Checked here, because later failures do not name the file.
            return match fs::metadata(&token_file) {
                Ok(_) => Ok(AzureCredentials::Workload {
                    client,
                    tenant,
                    authority,
                    token_file,
                }),
                Err(source) => Err(CredentialError::Unreadable {
                    path: token_file,
                    source: source.into(),
                }),
            };
        }
    }
    if !env.has_machine_identity() {
        return Err(CredentialError::None);
    }
    let endpoint = get("IDENTITY_ENDPOINT");
    if endpoint.is_some() || machine_is_azure() {
        let client = get("AZURE_CLIENT_ID");
        return Ok(AzureCredentials::Managed { client, endpoint });
    }
    Err(CredentialError::None)
}

/// The parsed `AZURE_STORAGE_CONNECTION_STRING`.
#[derive(Default)]
pub(in crate::remote) struct ConnectionString {
    pub(in crate::remote) account: Option<String>,
    pub(in crate::remote) endpoint: Option<String>,
    key: Option<String>,
    sas: Option<String>,
}

impl ConnectionString {
    /// `None` if the variable is not set.
    pub(in crate::remote) fn from_env(env: &Environment) -> Option<Self> {
        let text = env.get("AZURE_STORAGE_CONNECTION_STRING")?;
        let mut found = Self::default();
        let (mut protocol, mut suffix) = ("https", "core.windows.net");
        for part in text.split(';') {
            let Some((name, value)) = part.split_once('=') else {
                continue;
            };
            match name.trim() {
                "AccountName" => found.account = Some(value.to_owned()),
                "AccountKey" => found.key = Some(value.to_owned()),
                "SharedAccessSignature" => found.sas = Some(value.to_owned()),
                "BlobEndpoint" => {
                    found.endpoint = Some(value.trim_end_matches('/').to_owned());
                }
                "DefaultEndpointsProtocol" => protocol = value,
                "EndpointSuffix" => suffix = value,
                _ => {}
            }
        }
        if found.endpoint.is_none()
            && let Some(account) = &found.account
        {
            found.endpoint = Some(format!("{protocol}://{account}.blob.{suffix}"));
        }
        Some(found)
    }
}

/// Whether the machine says that it is one of Azure's. Elsewhere nothing answers at the address of
/// the metadata service, and waiting for that costs seconds.
fn machine_is_azure() -> bool {
    // All machines of Azure have the same tag, which is documented.
    fs::read_to_string("/sys/class/dmi/id/chassis_asset_tag")
        .is_ok_and(|tag| tag.trim() == "7783-7084-3265-9085-8269-3286-77")
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
    fn credentials_are_taken_in_the_documented_order() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let all = [
            ("AZURE_STORAGE_KEY", "a2V5"),
            ("AZURE_STORAGE_SAS_TOKEN", "sv=1&sig=2"),
            (
                "AZURE_STORAGE_CONNECTION_STRING",
                "AccountName=a;AccountKey=c3RyaW5n",
            ),
            ("AZURE_CLIENT_SECRET", "secret"),
            ("AZURE_FEDERATED_TOKEN_FILE", file.path().to_str().unwrap()),
            ("IDENTITY_ENDPOINT", "http://127.0.0.1/token"),
        ];
        let principal = [("AZURE_CLIENT_ID", "client"), ("AZURE_TENANT_ID", "tenant")];
        let kind = |from: usize| {
            let variables = [&principal[..], &all[from..]].concat();
            match find_azure_credentials(&environment(&variables)) {
                Ok(AzureCredentials::Anonymous) => "anonymous",
                Ok(AzureCredentials::Key { place, .. } | AzureCredentials::Sas { place, .. }) => {
                    place
                }
                Ok(AzureCredentials::Secret { .. }) => "secret",
                Ok(AzureCredentials::Workload { .. }) => "workload",
                Ok(AzureCredentials::Managed { .. }) => "managed",
                Err(_) => "none",
            }
        };
        let order = (0..all.len()).map(kind).collect::<Vec<_>>();
        let expected = [
            "AZURE_STORAGE_KEY",
            "AZURE_STORAGE_SAS_TOKEN",
            "AZURE_STORAGE_CONNECTION_STRING",
            "secret",
            "workload",
            "managed",
        ];
        assert_eq!(order, expected);
        let kept = environment(&[
            ("AZURE_CLIENT_SECRET", "without a client"),
            ("IDENTITY_ENDPOINT", "http://127.0.0.1/token"),
            (crate::remote::NO_MACHINE_IDENTITY, "true"),
        ]);
        assert!(matches!(
            find_azure_credentials(&kept),
            Err(CredentialError::None)
        ));
        if !machine_is_azure() {
            assert_eq!(kind(all.len()), "none");
        }
    }

    #[test]
    fn connection_strings() {
        let parse = |text: &str| {
            let env = environment(&[("AZURE_STORAGE_CONNECTION_STRING", text)]);
            ConnectionString::from_env(&env).unwrap()
        };
        let usual = parse(
            "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=a2V5PT0=;\
             EndpointSuffix=core.chinacloudapi.cn",
        );
        assert_eq!(usual.account.as_deref(), Some("acme"));
        assert_eq!(usual.key.as_deref(), Some("a2V5PT0="));
        assert_eq!(
            usual.endpoint.as_deref(),
            Some("https://acme.blob.core.chinacloudapi.cn")
        );
        let emulator = parse("BlobEndpoint=http://127.0.0.1:10000/dev/;SharedAccessSignature=sv=1");
        assert_eq!(
            emulator.endpoint.as_deref(),
            Some("http://127.0.0.1:10000/dev")
        );
        assert_eq!(emulator.sas.as_deref(), Some("sv=1"));
    }
}
