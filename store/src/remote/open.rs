//! From an address and its options to a remote.

use std::path::{Component, Path};
use std::sync::Arc;

use super::cloud::{AzureOptions, CloudRemote, ConnectionString, GoogleOptions};
use super::s3::{Role, S3Options, Storing};
use super::spec::{RemoteSpec, SpecError, without_secrets};
use super::{
    DynRemote, FileRemote, Hedge, Meter, ObjectKey, Remote, RemoteTraffic, Retry, RetryPolicy,
    S3Remote, TrafficMeter,
};

/// A remote ready for use, with its counters.
#[derive(Debug, Clone)]
pub struct OpenRemote {
    /// The remote, with retries and deadlines.
    pub remote: DynRemote,
    /// Requests of this remote so far.
    pub meter: Arc<TrafficMeter>,
}

impl OpenRemote {
    /// The traffic so far; subtract two values to measure a period.
    pub fn traffic(&self) -> RemoteTraffic {
        self.meter.traffic()
    }

    fn new(remote: impl Remote + 'static, policy: RetryPolicy) -> Self {
        let meter = Arc::new(TrafficMeter::default());
        let metered = Meter::new(remote, Arc::clone(&meter));
        let counting = Arc::clone(&meter);
        let remote: DynRemote = if metered.local_dir().is_some() {
            // A busy disk can take long to sync, and a second attempt would only add to its work.
            let policy = RetryPolicy {
                attempt: policy.attempt.max(policy.deadline),
                ..policy
            };
            Arc::new(Retry::new(metered, policy).counting_in(counting))
        } else {
            Arc::new(Retry::new(Hedge::new(metered), policy).counting_in(counting))
        };
        Self { remote, meter }
    }
}

/// Opens a remote: checks the spec only. Whether anything is there shows with the first request.
pub fn open_remote(spec: &RemoteSpec, policy: RetryPolicy) -> Result<OpenRemote, SpecError> {
    spec.check_no_secrets()?;
    let (scheme, rest) = match spec.url.split_once("://") {
        Some((scheme, rest)) if !scheme.is_empty() => (scheme, rest),
        _ => return Err(SpecError::NoScheme(spec.url.clone())),
    };
    if scheme != "s3"
        && let Some(option) = spec.first_option_of_s3()
    {
        return Err(SpecError::OnlyS3 {
            option,
            scheme: scheme.to_owned(),
        });
    }
    Ok(match scheme {
        "file" => {
            let remote = FileRemote::new(parse_directory(&spec.url, rest)?);
            let remote = match spec.no_sync {
                true => remote.without_sync(),
                false => remote,
            };
            OpenRemote::new(remote, policy)
        }
        "s3" => OpenRemote::new(S3Remote::new(s3_options(spec, rest)?), policy),
        "gs" => OpenRemote::new(CloudRemote::google(google_options(spec, rest)?), policy),
        "az" | "abfs" | "abfss" => OpenRemote::new(
            CloudRemote::azure(azure_options(spec, scheme, rest)?),
            policy,
        ),
        _ => {
            return Err(SpecError::Unsupported {
                scheme: scheme.to_owned(),
            });
        }
    })
}

fn parse_directory<'a>(url: &str, path: &'a str) -> Result<&'a str, SpecError> {
    if !path.starts_with('/') || path.contains('\0') {
        return Err(SpecError::RelativePath(url.to_owned()));
    }
    // A variable that is not set leads there: file://$CACHE_DIR/.
    let depth = Path::new(path)
        .components()
        .fold(0_usize, |depth, name| match name {
            Component::Normal(_) => depth + 1,
            Component::ParentDir => depth.saturating_sub(1),
            _ => depth,
        });
    if depth == 0 {
        return Err(SpecError::RootDirectory(url.to_owned()));
    }
    Ok(path.trim_end_matches('/'))
}

fn s3_options(spec: &RemoteSpec, rest: &str) -> Result<S3Options, SpecError> {
    let (bucket, prefix) = bucket_and_prefix(spec, rest)?;
    let from_env = || {
        spec.env
            .get("AWS_ENDPOINT_URL_S3")
            .or(spec.env.get("AWS_ENDPOINT_URL"))
    };
    let endpoint = parse_endpoint(spec.endpoint.as_deref().or_else(from_env))?;
    let role = spec.role_arn.as_ref().map(|arn| Role {
        arn: arn.clone(),
        external_id: spec.external_id.clone(),
        session_name: spec.role_session_name.clone(),
    });
    if role.is_none() && (spec.external_id.is_some() || spec.role_session_name.is_some()) {
        return Err(SpecError::NoRole);
    }
    Ok(S3Options {
        bucket,
        prefix,
        path_style: spec.path_style.unwrap_or(endpoint.is_some()),
        endpoint,
        region: spec.region.clone(),
        anonymous: spec.anonymous,
        role,
        storing: Storing::parse(spec)?,
        env: spec.env.clone(),
    })
}

fn google_options(spec: &RemoteSpec, rest: &str) -> Result<GoogleOptions, SpecError> {
    let (bucket, prefix) = bucket_and_prefix(spec, rest)?;
    // Tools of Google take this for a server that wants no credentials.
    let emulator = spec
        .env
        .get("STORAGE_EMULATOR_HOST")
        .map(|host| match host.contains("://") {
            true => host.to_owned(),
            false => format!("http://{host}"),
        });
    let is_emulator = spec.endpoint.is_none() && emulator.is_some();
    Ok(GoogleOptions {
        bucket,
        prefix,
        endpoint: parse_endpoint(spec.endpoint.as_deref().or(emulator.as_deref()))?,
        anonymous: spec.anonymous || is_emulator,
        env: spec.env.clone(),
    })
}

/// `az://container/prefix`, or `abfss://container@account.dfs.core.windows.net/prefix`.
fn azure_options(spec: &RemoteSpec, scheme: &str, rest: &str) -> Result<AzureOptions, SpecError> {
    let no_container = || SpecError::NoBucket(spec.url.clone());
    let (place, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let (container, account, host) = if scheme == "az" {
        (place, None, None)
    } else {
        let (container, host) = place.split_once('@').ok_or_else(no_container)?;
        let (account, suffix) = host.split_once(".dfs.").ok_or_else(no_container)?;
        let named = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if account.is_empty() || !named(account) || !suffix.split('.').all(named) {
            return Err(no_container());
        }
        let host = format!("https://{account}.blob.{suffix}");
        (container, Some(account.to_owned()), Some(host))
    };
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let special = ["$root", "$web"].contains(&container);
    if !special && (!(3..=63).contains(&container.len()) || !container.bytes().all(allowed)) {
        return Err(no_container());
    }
    let string = ConnectionString::from_env(&spec.env).unwrap_or_default();
    let from_env = || {
        let names = ["AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"];
        let named = names.iter().find_map(|name| spec.env.get(name));
        named.map(str::to_owned)
    };
    let account = account
        .or_else(|| spec.account.clone())
        .or_else(from_env)
        .or_else(|| string.account.clone())
        .ok_or_else(|| SpecError::NoAccount(spec.url.clone()))?;
    let usual = format!("https://{account}.blob.core.windows.net");
    // The other parts of a connection string only apply to its own account.
    let same = string.account.as_ref() == Some(&account);
    let string = string.endpoint.filter(|_| same);
    let found = spec.endpoint.clone().or(host).or(string);
    Ok(AzureOptions {
        container: container.to_owned(),
        prefix: checked_prefix(spec, prefix)?,
        endpoint: parse_endpoint(found.as_deref())?.unwrap_or(usual),
        account,
        anonymous: spec.anonymous,
        env: spec.env.clone(),
    })
}

fn bucket_and_prefix(spec: &RemoteSpec, rest: &str) -> Result<(String, String), SpecError> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    // The stores' own limits, except that older buckets of S3 may have capitals and underscores.
    if bucket.is_empty() || !bucket.bytes().all(allowed) {
        return Err(SpecError::NoBucket(spec.url.clone()));
    }
    if !(3..=255).contains(&bucket.len()) {
        return Err(SpecError::BucketLength {
            url: spec.url.clone(),
            length: bucket.len(),
        });
    }
    Ok((bucket.to_owned(), checked_prefix(spec, prefix)?))
}

fn checked_prefix(spec: &RemoteSpec, prefix: &str) -> Result<String, SpecError> {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    if !prefix.is_empty() && ObjectKey::from_listing(prefix).is_none() {
        return Err(SpecError::BadPrefix(spec.url.clone()));
    }
    Ok(prefix.to_owned())
}

/// Checks an address and takes the slashes off its end.
fn parse_endpoint(address: Option<&str>) -> Result<Option<String>, SpecError> {
    match address {
        Some(address) if !is_http_address(address) => Err(SpecError::BadEndpoint(
            without_secrets(address).into_owned(),
        )),
        address => Ok(address.map(|address| address.trim_end_matches('/').to_owned())),
    }
}

/// Whether this is `http[s]://host...` without a password in it.
fn is_http_address(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split('/').next());
    host.is_some_and(|host| {
        !host.is_empty() && !host.contains('@') && host.bytes().all(|byte| byte.is_ascii_graphic())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::spec::Environment;

    fn spec(url: &str) -> RemoteSpec {
        RemoteSpec {
            url: url.to_owned(),
            ..RemoteSpec::default()
        }
    }

    fn error(url: &str) -> SpecError {
        open_remote(&spec(url), RetryPolicy::default()).unwrap_err()
    }

    #[test]
    fn addresses_are_read_and_shown_without_loose_slashes() {
        for (url, shown) in [
            ("file:///var/cache/", "file:///var/cache"),
            ("s3://bucket", "s3://bucket"),
            ("s3://bucket/", "s3://bucket"),
            ("s3://bucket/a/b/", "s3://bucket/a/b"),
            ("gs://bucket/a/", "gs://bucket/a"),
            ("abfss://cache@acme.dfs.core.windows.net/a/", "az://cache/a"),
        ] {
            let opened = open_remote(&spec(url), RetryPolicy::default()).unwrap();
            assert_eq!(opened.remote.url(), shown);
        }
    }

    #[test]
    fn wrong_addresses_are_told_apart() {
        assert_eq!(
            error("/var/cache"),
            SpecError::NoScheme("/var/cache".into())
        );
        assert_eq!(
            error("ftp://bucket"),
            SpecError::Unsupported {
                scheme: "ftp".into()
            }
        );
        assert_eq!(
            error("az://container"),
            SpecError::NoAccount("az://container".into())
        );
        for url in ["file://cache", "file://./cache", "file://"] {
            assert_eq!(error(url), SpecError::RelativePath(url.into()));
        }
        for url in ["file:///", "file:////", "file:///.", "file:///var/../"] {
            assert_eq!(error(url), SpecError::RootDirectory(url.into()));
        }
        for url in [
            "s3://",
            "s3:///prefix",
            "s3://a b/c",
            "gs://",
            "gs://a b",
            "az://",
            "az://Capital/x",
            "abfss://container/x",
            "abfss://container@account/x",
            "abfss://container@.dfs.core.windows.net/x",
            "abfss://container@evil.org/x.dfs.y",
        ] {
            assert_eq!(error(url), SpecError::NoBucket(url.into()));
        }
        for url in ["s3://bucket/a//b", "s3://bucket/../b", "s3://bucket/ü"] {
            assert_eq!(error(url), SpecError::BadPrefix(url.into()));
        }
    }

    #[test]
    fn an_endpoint_is_checked_and_makes_the_bucket_go_into_the_path() {
        let mut spec = spec("s3://bucket");
        assert!(!s3_options(&spec, "bucket").unwrap().path_style);
        spec.env = [("AWS_ENDPOINT_URL".to_owned(), "http://host:9000".to_owned())]
            .into_iter()
            .collect();
        assert!(s3_options(&spec, "bucket").unwrap().path_style);
        spec.path_style = Some(false);
        assert!(!s3_options(&spec, "bucket").unwrap().path_style);
        for endpoint in ["host:9000", "http://", "ftp://host"] {
            spec.endpoint = Some(endpoint.to_owned());
            let error = open_remote(&spec, RetryPolicy::default()).unwrap_err();
            assert_eq!(error, SpecError::BadEndpoint(endpoint.into()));
        }
    }

    fn env(variables: &[(&str, &str)]) -> Environment {
        variables
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect()
    }

    #[test]
    fn the_account_is_in_the_address_an_option_or_the_environment() {
        let named = [
            ("AZURE_STORAGE_ACCOUNT", "fromenv"),
            (
                "AZURE_STORAGE_CONNECTION_STRING",
                "AccountName=fromstring;BlobEndpoint=http://127.0.0.1:1/fromstring",
            ),
        ];
        let account = |url: &str, option: Option<&str>, variables: &[(&str, &str)]| {
            let spec = RemoteSpec {
                account: option.map(str::to_owned),
                env: env(variables),
                ..spec(url)
            };
            let (scheme, rest) = url.split_once("://").unwrap();
            let options = azure_options(&spec, scheme, rest).unwrap();
            (options.account, options.endpoint)
        };
        let usual = |account: &str| {
            let host = format!("https://{account}.blob.core.windows.net");
            (account.to_owned(), host)
        };
        let url = "abfss://cache@acme.dfs.core.windows.net/x";
        assert_eq!(account(url, Some("option"), &named), usual("acme"));
        let china = "abfs://cache@acme.dfs.core.chinacloudapi.cn";
        assert_eq!(
            account(china, None, &[]).1,
            "https://acme.blob.core.chinacloudapi.cn"
        );
        let az = "az://cache/x";
        assert_eq!(account(az, Some("option"), &named), usual("option"));
        assert_eq!(account(az, None, &named), usual("fromenv"));
        assert_eq!(
            account(az, None, &named[1..]),
            (
                "fromstring".to_owned(),
                "http://127.0.0.1:1/fromstring".to_owned()
            )
        );
    }

    #[test]
    fn an_emulator_of_google_is_asked_without_credentials() {
        let spec = RemoteSpec {
            env: env(&[("STORAGE_EMULATOR_HOST", "127.0.0.1:4443")]),
            ..spec("gs://bucket")
        };
        let options = google_options(&spec, "bucket").unwrap();
        assert_eq!(options.endpoint.as_deref(), Some("http://127.0.0.1:4443"));
        assert!(options.anonymous);
    }

    #[test]
    fn what_only_s3_has_is_refused_elsewhere() {
        for url in ["file:///x", "gs://bucket", "az://container"] {
            let spec = RemoteSpec {
                sse: Some("AES256".into()),
                ..spec(url)
            };
            let error = open_remote(&spec, RetryPolicy::default()).unwrap_err();
            let scheme = url.split("://").next().unwrap().to_owned();
            assert_eq!(
                error,
                SpecError::OnlyS3 {
                    option: "sse",
                    scheme
                }
            );
        }
        let no_role = RemoteSpec {
            external_id: Some("x".into()),
            ..spec("s3://bucket")
        };
        let error = open_remote(&no_role, RetryPolicy::default()).unwrap_err();
        assert_eq!(error, SpecError::NoRole);
    }
}
