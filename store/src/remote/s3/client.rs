//! Builds the S3 client: no network, no more files than the profile.

use crate::hint::Hint;
use aws_config::meta::region::ProvideRegion;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    BehaviorVersion, Config, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_types::retry::RetryConfig;

use super::bounded_body::bound_answers;
use super::sts::TokenService;
use super::timeouts::client_timeouts;
use super::{S3Options, credentials};

/// The default region of servers other than AWS.
const DEFAULT_REGION: &str = "us-east-1";

/// The settings don't say enough to reach the bucket.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error("no region set for the bucket")]
    NoRegion,
    #[error("cannot read the certificates of AWS_CA_BUNDLE, `{path}`")]
    UnreadableCertificates {
        path: String,
        source: std::io::Error,
    },
    #[error("cannot use the certificates of AWS_CA_BUNDLE, `{path}`")]
    InvalidCertificates {
        path: String,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ClientError {
    pub(super) fn hint(&self) -> Hint {
        match self {
            Self::NoRegion => Hint::SetRegion,
            Self::UnreadableCertificates { .. } | Self::InvalidCertificates { .. } => {
                "AWS_CA_BUNDLE must name a readable file of PEM certificates".into()
            }
        }
    }
}

pub(super) async fn build_client(options: &S3Options) -> Result<Client, ClientError> {
    let plain = options
        .endpoint
        .as_deref()
        .is_some_and(|address| address.starts_with("http://"));
    let without_tls = bound_answers(aws_smithy_http_client::Builder::new().build_http());
    // TLS reads hundreds of certificates, which takes longer than a round trip, so we set it up
    // only if the store, or the source of its credentials, may need it.
    let has_keys = options.env.get("AWS_ACCESS_KEY_ID").is_some();
    let plain_tokens =
        TokenService::endpoint(&options.env).is_some_and(|address| address.starts_with("http://"));
    let knows_who = has_keys && (options.role.is_none() || plain_tokens);
    let tls = if plain && (options.anonymous || knows_who) {
        without_tls.clone()
    } else {
        bound_answers(tls_client(options)?)
    };
    let providers = ProviderConfig::empty()
        .with_behavior_version(Some(BehaviorVersion::latest()))
        .with_http_client(tls.clone())
        .with_retry_config(RetryConfig::disabled())
        .with_timeout_config(client_timeouts());
    let region = find_region(options, &providers).await?;
    let providers = providers.with_region(Some(region.clone()));
    let service = TokenService {
        http: tls.clone(),
        region: region.clone(),
        env: options.env.clone(),
    };

    let http = if plain { without_tls } else { tls };
    let mut config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .region(region)
        .force_path_style(options.path_style)
        .retry_config(RetryConfig::disabled())
        .timeout_config(client_timeouts())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // Every frame carries a hash of its own, and many servers know no S3 checksums.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(endpoint) = &options.endpoint {
        config = config.endpoint_url(endpoint);
    }
    config = if options.anonymous {
        config.allow_no_auth()
    } else {
        config.credentials_provider(credentials::credential_provider(
            options.role.as_ref(),
            &service,
            &providers,
        ))
    };
    Ok(Client::from_conf(config.build()))
}

async fn find_region(
    options: &S3Options,
    providers: &ProviderConfig,
) -> Result<Region, ClientError> {
    let env = &options.env;
    let explicit = options.region.as_deref();
    let named = explicit
        .or_else(|| env.get("AWS_REGION"))
        .or_else(|| env.get("AWS_DEFAULT_REGION"));
    if let Some(region) = named {
        return Ok(Region::new(region.to_owned()));
    }
    let profile = ProfileFileRegionProvider::builder()
        .configure(providers)
        .profile_files(credentials::profile_files(env))
        .profile_name(credentials::profile_name(env))
        .build();
    match profile.region().await {
        Some(region) => Ok(region),
        None if options.endpoint.is_some() => Ok(Region::from_static(DEFAULT_REGION)),
        None => Err(ClientError::NoRegion),
    }
}

fn tls_client(options: &S3Options) -> Result<SharedHttpClient, ClientError> {
    let mut roots = TrustStore::default();
    if let Some(path) = options.env.get("AWS_CA_BUNDLE") {
        let path = path.to_owned();
        match std::fs::read(&path) {
            Ok(pem) => roots = roots.with_pem_certificate(pem),
            Err(source) => return Err(ClientError::UnreadableCertificates { path, source }),
        }
    }
    let context = TlsContext::builder()
        .with_trust_store(roots)
        .build()
        .map_err(|source| {
            let path = options
                .env
                .get("AWS_CA_BUNDLE")
                .unwrap_or_default()
                .to_owned();
            ClientError::InvalidCertificates {
                path,
                source: source.into(),
            }
        })?;
    Ok(aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(context)
        .build_https())
}
