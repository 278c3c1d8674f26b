//! The search for credentials, in the order of other S3 tools.
//!
//! The search uses the environment that came with the remote, because the process that talks to the
//! bucket serves clients with other environments.

use std::fs;
use std::path::PathBuf;

use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{
    ProvideCredentials, Result as CredentialsResult, SharedCredentialsProvider, future,
};
use aws_runtime::env_config::file::{EnvConfigFileKind, EnvConfigFiles};

use super::S3Options;
use super::container_credentials::ContainerCredentials;
use super::sts::{Role, TokenService, WebIdentityToken};
use crate::id::ClientId;
use crate::remote::identity::IdentityFields;
use crate::remote::spec::Environment;

/// Returns the credential chain, or a role that is assumed with it.
///
/// If there is a token without a role of its own, the token is used for the requested role.
pub(super) fn credential_provider(
    role: Option<&Role>,
    service: &TokenService,
    config: &ProviderConfig,
) -> SharedCredentialsProvider {
    let env = &service.env;
    let own = Role::from_env(env);
    let has_keys = StaticKeys(env.clone()).are_there();
    match role {
        None => SharedCredentialsProvider::new(credential_chain(own, service, config)),
        Some(role) if WebIdentityToken::from_env(env).is_some() && !has_keys => match own {
            Some(own) if own.arn != role.arn => {
                let base =
                    SharedCredentialsProvider::new(credential_chain(Some(own), service, config));
                SharedCredentialsProvider::new(service.assume(role.clone(), base))
            }
            _ => SharedCredentialsProvider::new(credential_chain(
                Some(role.clone()),
                service,
                config,
            )),
        },
        Some(role) => {
            let base = SharedCredentialsProvider::new(credential_chain(own, service, config));
            SharedCredentialsProvider::new(service.assume(role.clone(), base))
        }
    }
}

/// Identity of the credentials that [`credential_provider`] would find, without any request.
///
/// A token that is exchanged for a role is not included: a client without a valid token is rejected
/// by AWS, and tokens are renewed all the time. Session keys that were issued elsewhere count as
/// different from any others, because they do not name their owner.
pub(super) fn s3_identity(options: &S3Options) -> ClientId {
    let client = IdentityFields::client();
    if options.anonymous {
        return client.text("kind", "anonymous").into_client();
    }
    let env = &options.env;
    let client = match &options.role {
        Some(role) => client
            .text("assumed", &role.arn)
            .option("external id", role.external_id.as_deref()),
        None => client,
    };
    let client = match TokenService::endpoint(env) {
        Some(endpoint) => client.text("tokens", endpoint),
        None => client,
    };
    if StaticKeys(env.clone()).are_there() {
        let names = [
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
        ];
        return client.variables(env, &names).into_client();
    }
    let has_token = WebIdentityToken::from_env(env).is_some();
    if has_token && (options.role.is_some() || Role::from_env(env).is_some()) {
        return client.variables(env, &["AWS_ROLE_ARN"]).into_client();
    }
    let names = [
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    ];
    let mut client = client
        .text("profile", &profile_name(env))
        .variables(env, &names);
    for (variable, name) in PROFILE_FILES {
        if let Some(path) = profile_file(env, variable, name) {
            client = client.file(variable, &path);
        }
    }
    client.into_client()
}

/// Builds the chain: static keys, web identity, profile, container, instance metadata.
///
/// A source that is not configured is left out or passed over; one that is and fails ends the
/// search, so that a mistake in it shows instead of another identity being used. A token, if there
/// is one, is for `own`.
fn credential_chain(
    own: Option<Role>,
    service: &TokenService,
    config: &ProviderConfig,
) -> CredentialsProviderChain {
    let env = &service.env;
    let keys = StaticKeys(env.clone());
    let container = ContainerCredentials::from_env(env);
    let mut chain = CredentialsProviderChain::first_try("environment", keys.clone());
    if let (Some(role), Some(token)) = (own, WebIdentityToken::from_env(env)) {
        chain = chain.or_else("web identity", service.exchange(role, token));
    }
    let mut profile = ProfileFileCredentialsProvider::builder()
        .configure(config)
        .profile_files(profile_files(env))
        .profile_name(profile_name(env))
        // The sources that `credential_source` of a profile may name.
        .with_custom_provider("Environment", keys);
    if let Some(container) = container.clone() {
        profile = profile.with_custom_provider("EcsContainer", container);
    }
    chain = chain.or_else("profile", profile.build());
    if let Some(container) = container {
        chain = chain.or_else("container", container);
    }
    let is_allowed = env.has_machine_identity() && !env.is_true("AWS_EC2_METADATA_DISABLED");
    if is_allowed && machine_is_ec2() {
        let metadata = ImdsCredentialsProvider::builder().configure(config).build();
        chain = chain.or_else("instance metadata", metadata);
    }
    chain
}

/// The profile that the environment selects.
pub(super) fn profile_name(env: &Environment) -> String {
    env.get("AWS_PROFILE").unwrap_or("default").to_owned()
}

/// The variables that name the files that profiles are in, and the names that these have at home.
const PROFILE_FILES: [(&str, &str); 2] = [
    ("AWS_CONFIG_FILE", "config"),
    ("AWS_SHARED_CREDENTIALS_FILE", "credentials"),
];

fn profile_file(env: &Environment, variable: &str, name: &str) -> Option<PathBuf> {
    let named = env.get(variable).map(PathBuf::from);
    named.or_else(|| Some(PathBuf::from(env.get("HOME")?).join(".aws").join(name)))
}

/// The files that profiles are in; a file that does not exist is as good as an empty one.
pub(super) fn profile_files(env: &Environment) -> EnvConfigFiles {
    let kinds = [EnvConfigFileKind::Config, EnvConfigFileKind::Credentials];
    let mut builder = EnvConfigFiles::builder();
    for (kind, (variable, name)) in kinds.into_iter().zip(PROFILE_FILES) {
        let path = profile_file(env, variable, name);
        builder = match path.filter(|path| path.exists()) {
            Some(path) => builder.with_file(kind, path),
            None => builder.with_contents(kind, ""),
        };
    }
    builder.build()
}

/// Keys that are in the environment itself.
#[derive(Debug, Clone)]
struct StaticKeys(Environment);

impl StaticKeys {
    /// Whether this source is configured, even if only partly and by mistake.
    fn are_there(&self) -> bool {
        let names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
        names.iter().any(|name| self.0.get(name).is_some())
    }

    fn credentials(&self) -> CredentialsResult {
        let get = |name| self.0.get(name);
        match (get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY")) {
            (Some(id), Some(secret)) => {
                let token = get("AWS_SESSION_TOKEN").map(str::to_owned);
                Ok(Credentials::new(id, secret, token, None, "environment"))
            }
            (None, None) => Err(CredentialsError::not_loaded("no keys in the environment")),
            // Half a pair is a mistake; another identity in its stead would hide it.
            (Some(_), None) => Err(CredentialsError::invalid_configuration(
                "AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY",
            )),
            (None, Some(_)) => Err(CredentialsError::invalid_configuration(
                "AWS_SECRET_ACCESS_KEY is set without AWS_ACCESS_KEY_ID",
            )),
        }
    }
}

impl ProvideCredentials for StaticKeys {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(self.credentials())
    }
}

/// Whether the machine says that it is an EC2 instance. Elsewhere nothing answers at the address
/// of the metadata service, and waiting for that costs seconds.
fn machine_is_ec2() -> bool {
    let dmi = |name: &str| fs::read_to_string(format!("/sys/class/dmi/id/{name}"));
    let vendor = dmi("sys_vendor").is_ok_and(|vendor| vendor.starts_with("Amazon EC2"));
    let tag = dmi("board_asset_tag").is_ok_and(|tag| tag.starts_with("i-"));
    // The older, Xen-based instance types.
    let uuid = fs::read_to_string("/sys/hypervisor/uuid");
    vendor || tag || uuid.is_ok_and(|uuid| uuid.starts_with("ec2"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_s3::config::Region;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        variables
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect()
    }

    async fn resolve(variables: &[(&str, &str)]) -> CredentialsResult {
        let http = aws_smithy_http_client::Builder::new().build_http();
        let config = ProviderConfig::empty().with_http_client(http.clone());
        let service = TokenService {
            http,
            region: Region::from_static("us-east-1"),
            env: environment(variables),
        };
        credential_provider(None, &service, &config)
            .provide_credentials()
            .await
    }

    #[tokio::test]
    async fn keys_in_the_environment_come_before_a_profile() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("credentials");
        std::fs::write(
            &file,
            "[default]\naws_access_key_id = FILE\naws_secret_access_key = s\n\
             [ci]\naws_access_key_id = CI\naws_secret_access_key = s\naws_session_token = t\n",
        )
        .unwrap();
        let file = ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().unwrap());

        let keys = [
            ("AWS_ACCESS_KEY_ID", "ENV"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            file,
        ];
        assert_eq!(resolve(&keys).await.unwrap().access_key_id(), "ENV");
        assert_eq!(resolve(&[file]).await.unwrap().access_key_id(), "FILE");
        let profile = resolve(&[("AWS_PROFILE", "ci"), file]).await.unwrap();
        assert_eq!(
            (profile.access_key_id(), profile.session_token()),
            ("CI", Some("t"))
        );
    }

    #[tokio::test]
    async fn a_profile_in_the_home_of_the_client_is_found() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        let text = "[default]\naws_access_key_id = HOME\naws_secret_access_key = s\n";
        std::fs::write(home.path().join(".aws/config"), text).unwrap();
        let found = resolve(&[("HOME", home.path().to_str().unwrap())])
            .await
            .unwrap();
        assert_eq!(found.access_key_id(), "HOME");
    }

    #[tokio::test]
    async fn half_a_pair_of_keys_is_a_mistake_and_none_is_no_credentials() {
        let half = resolve(&[("AWS_ACCESS_KEY_ID", "ENV")]).await.unwrap_err();
        assert!(
            matches!(half, CredentialsError::InvalidConfiguration(_)),
            "{half:?}"
        );
        let none = resolve(&[("AWS_EC2_METADATA_DISABLED", "true")])
            .await
            .unwrap_err();
        assert!(
            matches!(none, CredentialsError::CredentialsNotLoaded(_)),
            "{none:?}"
        );
    }

    #[tokio::test]
    async fn a_profile_that_does_not_exist_is_an_error() {
        let none = resolve(&[
            ("AWS_PROFILE", "absent"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]);
        assert!(none.await.is_err());
    }
}
