//! From an address and its options to a remote.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::s3::S3Options;
use super::{
    DynRemote, FileRemote, Hedge, Meter, ObjectKey, Remote, Retry, RetryPolicy, S3Remote, Traffic,
    TrafficMeter,
};

/// The variables of a client's environment that credentials and regions are looked up in.
///
/// Collecting it from all variables keeps those named `AWS_*` and `HOME`. Its `Debug` shows the
/// names only, because values can be secret.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The value of a variable; one that is empty counts as not set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(variables: T) -> Self {
        let relevant = |name: &str| name == "HOME" || name.starts_with("AWS_");
        Self(
            variables
                .into_iter()
                .filter(|(name, _)| relevant(name))
                .collect(),
        )
    }
}

impl FromIterator<(OsString, OsString)> for Environment {
    /// Leaves out what is not UTF-8.
    fn from_iter<T: IntoIterator<Item = (OsString, OsString)>>(variables: T) -> Self {
        let text = |(name, value): (OsString, OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        variables.into_iter().filter_map(text).collect()
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Everything it takes to reach a remote. Equal specs reach the same remote as the same user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteSpec {
    /// `file:///directory` or `s3://bucket/prefix`.
    pub url: String,
    /// The address of an S3 server other than AWS, as `https://host:port`.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The bucket's region.
    #[serde(default)]
    pub region: Option<String>,
    /// Whether the bucket's name goes in the path; by default when there is an endpoint.
    #[serde(default)]
    pub path_style: Option<bool>,
    /// Whether to send requests without credentials.
    #[serde(default)]
    pub anonymous: bool,
    /// Where credentials are looked up.
    #[serde(default)]
    pub env: Environment,
}

/// The address or an option of a remote is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// There is no `scheme://`.
    #[error("`{0}` is not the address of a remote")]
    NoScheme(String),
    /// A scheme that this version does not speak.
    #[error("{scheme}:// remotes are not supported in this version")]
    Unsupported {
        /// The scheme, without `://`.
        scheme: String,
    },
    /// A `file://` address without an absolute path, or with a host.
    #[error("`{0}` does not name an absolute directory")]
    RelativePath(String),
    /// An `s3://` address without a bucket, or with an impossible one.
    #[error("`{0}` does not name a bucket")]
    NoBucket(String),
    /// A prefix with empty segments, `..`, or characters other than printable ASCII.
    #[error("`{0}` is not a usable prefix in a bucket")]
    BadPrefix(String),
    /// An endpoint that is not `http://host` or `https://host`.
    #[error("`{0}` is not the address of an S3 server")]
    BadEndpoint(String),
}

impl SpecError {
    /// What the user could do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoScheme(_) | Self::Unsupported { .. } => {
                "use file:///directory or s3://bucket/prefix"
            }
            Self::RelativePath(_) => "write three slashes and the whole path: file:///var/cache/ci",
            Self::NoBucket(_) => "write s3://bucket or s3://bucket/prefix",
            Self::BadPrefix(_) => {
                "use printable ASCII segments with single slashes between: s3://bucket/team/cache"
            }
            Self::BadEndpoint(_) => "write http://host:port or https://host:port",
        }
    }
}

/// A remote ready for use, with its counters.
#[derive(Debug, Clone)]
pub struct OpenRemote {
    /// The remote, with retries and deadlines.
    pub remote: DynRemote,
    /// What was asked of it so far.
    pub meter: Arc<TrafficMeter>,
}

impl OpenRemote {
    /// The traffic so far; subtract two to know what happened between them.
    pub fn traffic(&self) -> Traffic {
        self.meter.traffic()
    }

    fn new(remote: impl Remote + 'static, policy: RetryPolicy) -> Self {
        let meter = Arc::new(TrafficMeter::default());
        let metered = Meter::new(remote, Arc::clone(&meter));
        let counting = Arc::clone(&meter);
        let remote: DynRemote = if metered.local_dir().is_some() {
            Arc::new(Retry::new(metered, policy).counting_in(counting))
        } else {
            Arc::new(Retry::new(Hedge::new(metered), policy).counting_in(counting))
        };
        Self { remote, meter }
    }
}

/// Opens a remote: checks the spec only. Whether anything is there shows with the first request.
pub fn open(spec: &RemoteSpec, policy: RetryPolicy) -> Result<OpenRemote, SpecError> {
    let (scheme, rest) = match spec.url.split_once("://") {
        Some((scheme, rest)) if !scheme.is_empty() => (scheme, rest),
        _ => return Err(SpecError::NoScheme(spec.url.clone())),
    };
    match scheme {
        "file" => Ok(OpenRemote::new(
            FileRemote::new(directory(&spec.url, rest)?),
            policy,
        )),
        "s3" => Ok(OpenRemote::new(S3Remote::new(bucket(spec, rest)?), policy)),
        _ => Err(SpecError::Unsupported {
            scheme: scheme.to_owned(),
        }),
    }
}

fn directory<'a>(url: &str, path: &'a str) -> Result<&'a str, SpecError> {
    if !path.starts_with('/') || path.contains('\0') {
        return Err(SpecError::RelativePath(url.to_owned()));
    }
    match path.trim_end_matches('/') {
        "" => Ok("/"),
        path => Ok(path),
    }
}

fn bucket(spec: &RemoteSpec, rest: &str) -> Result<S3Options, SpecError> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    // S3's own limits, except that older buckets may have capitals and underscores.
    if !(3..=255).contains(&bucket.len()) || !bucket.bytes().all(allowed) {
        return Err(SpecError::NoBucket(spec.url.clone()));
    }
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    if !prefix.is_empty() && ObjectKey::from_listing(prefix).is_none() {
        return Err(SpecError::BadPrefix(spec.url.clone()));
    }
    let from_env = || {
        spec.env
            .get("AWS_ENDPOINT_URL_S3")
            .or(spec.env.get("AWS_ENDPOINT_URL"))
    };
    let endpoint = spec.endpoint.as_deref().or_else(from_env);
    if let Some(endpoint) = endpoint
        && !is_http_address(endpoint)
    {
        return Err(SpecError::BadEndpoint(endpoint.to_owned()));
    }
    Ok(S3Options {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        endpoint: endpoint.map(str::to_owned),
        region: spec.region.clone(),
        path_style: spec.path_style.unwrap_or(endpoint.is_some()),
        anonymous: spec.anonymous,
        env: spec.env.clone(),
    })
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

    fn spec(url: &str) -> RemoteSpec {
        RemoteSpec {
            url: url.to_owned(),
            ..RemoteSpec::default()
        }
    }

    fn error(url: &str) -> SpecError {
        open(&spec(url), RetryPolicy::default()).unwrap_err()
    }

    #[test]
    fn addresses_are_read_and_shown_without_loose_slashes() {
        for (url, shown) in [
            ("file:///var/cache/", "file:///var/cache"),
            ("s3://bucket", "s3://bucket"),
            ("s3://bucket/", "s3://bucket"),
            ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ] {
            let opened = open(&spec(url), RetryPolicy::default()).unwrap();
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
            error("gs://bucket"),
            SpecError::Unsupported {
                scheme: "gs".into()
            }
        );
        assert_eq!(
            error("az://x/y"),
            SpecError::Unsupported {
                scheme: "az".into()
            }
        );
        for url in ["file://cache", "file://./cache", "file://"] {
            assert_eq!(error(url), SpecError::RelativePath(url.into()));
        }
        for url in [
            "s3://",
            "s3:///prefix",
            "s3://a b/c",
            "s3://user:pass@host/x",
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
        assert!(!bucket(&spec, "bucket").unwrap().path_style);
        spec.env = [("AWS_ENDPOINT_URL".to_owned(), "http://host:9000".to_owned())]
            .into_iter()
            .collect();
        assert!(bucket(&spec, "bucket").unwrap().path_style);
        spec.path_style = Some(false);
        assert!(!bucket(&spec, "bucket").unwrap().path_style);
        for endpoint in [
            "host:9000",
            "http://",
            "ftp://host",
            "https://user:pass@host",
        ] {
            spec.endpoint = Some(endpoint.to_owned());
            let error = open(&spec, RetryPolicy::default()).unwrap_err();
            assert_eq!(error, SpecError::BadEndpoint(endpoint.into()));
        }
    }

    #[test]
    fn only_what_matters_of_the_environment_is_kept_and_none_of_it_shown() {
        let env: Environment = [
            ("AWS_SECRET_ACCESS_KEY".to_owned(), "hunter2".to_owned()),
            ("HOME".to_owned(), "/root".to_owned()),
            ("GITHUB_TOKEN".to_owned(), "hunter3".to_owned()),
        ]
        .into_iter()
        .collect();
        assert_eq!(env.get("GITHUB_TOKEN"), None);
        let shown = format!(
            "{:?}",
            RemoteSpec {
                env,
                ..spec("s3://bucket")
            }
        );
        assert!(
            shown.contains("AWS_SECRET_ACCESS_KEY") && !shown.contains("hunter"),
            "{shown}"
        );
    }
}
