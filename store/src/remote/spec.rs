//! The settings of a remote.

use crate::hint::Hint;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The variable that forbids remotes to use the machine's own identity: no metadata service is
/// asked for credentials, in any cloud.
pub const NO_MACHINE_IDENTITY: &str = "CACHEFS_NO_MACHINE_IDENTITY";
/// Single variables that remotes look at.
const NAMES: [&str; 5] = [
    NO_MACHINE_IDENTITY,
    "HOME",
    "IDENTITY_ENDPOINT",
    "GCE_METADATA_HOST",
    "STORAGE_EMULATOR_HOST",
];
/// Prefixes of the other variables that remotes read.
const FAMILIES: [&str; 4] = ["AWS_", "AZURE_", "CLOUDSDK_", "GOOGLE_"];

/// The variables of a client's environment that credentials and regions are looked up in.
///
/// Collecting it from all variables keeps those that a remote looks at. Its `Debug` shows the names
/// only, because values can be secret.
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

    /// Whether the machine's own identity may be used.
    pub(super) fn has_machine_identity(&self) -> bool {
        !self.is_true(NO_MACHINE_IDENTITY)
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        self.get(name)
            .is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(variables: T) -> Self {
        let relevant = |name: &str| {
            NAMES.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family))
        };
        Self(
            variables
                .into_iter()
                .filter(|(name, _)| relevant(name))
                .collect(),
        )
    }
}

impl FromIterator<(OsString, OsString)> for Environment {
    /// Drops variables that are not UTF-8.
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
///
/// # Examples
///
/// ```
/// use cachefs_store::remote::RemoteSpec;
///
/// let bucket = RemoteSpec {
///     url: "s3://ci-caches/team".to_owned(),
///     region: Some("eu-central-1".to_owned()),
///     ..RemoteSpec::default()
/// };
/// assert!(bucket.check_no_secrets().is_ok());
///
/// let leaky = RemoteSpec {
///     endpoint: Some("https://user:password@minio.example:9000".to_owned()),
///     ..bucket
/// };
/// assert!(leaky.check_no_secrets().is_err());
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoteSpec {
    /// `file:///directory`, `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix` or
    /// `abfss://container@account.dfs.core.windows.net/prefix`.
    pub url: String,
    /// The address of a server other than the vendor's, as `https://host:port`; for Azure that of
    /// the account.
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
    /// The storage account of Azure, where the address does not name it.
    #[serde(default)]
    pub account: Option<String>,
    /// S3 only: the role to assume.
    #[serde(default)]
    pub role_arn: Option<String>,
    /// S3 only: external ID for the assumed role.
    #[serde(default)]
    pub external_id: Option<String>,
    /// S3 only: name of the role's session in the logs of AWS.
    #[serde(default)]
    pub role_session_name: Option<String>,
    /// S3 only: how objects are encrypted, as `AES256`, `aws:kms` or `aws:kms:KEY`.
    #[serde(default)]
    pub sse: Option<String>,
    /// S3 only: the canned access list of objects.
    #[serde(default)]
    pub acl: Option<String>,
    /// S3 only: the storage class of objects.
    #[serde(default)]
    pub storage_class: Option<String>,
    /// Directories only: writes return before they are on the disk. Of no effect elsewhere.
    #[serde(default)]
    pub no_sync: bool,
    /// Where credentials are looked up.
    #[serde(default)]
    pub env: Environment,
}

impl RemoteSpec {
    /// Checks that neither the address nor the endpoint has credentials in it.
    ///
    /// # Errors
    /// [`SpecError::Secret`].
    pub fn check_no_secrets(&self) -> Result<(), SpecError> {
        let mut addresses = std::iter::once(&self.url).chain(&self.endpoint);
        let shown = addresses.find_map(|address| match without_secrets(address) {
            Cow::Borrowed(_) => None,
            Cow::Owned(shown) => Some(shown),
        });
        shown.map_or(Ok(()), |shown| Err(SpecError::Secret(shown)))
    }

    /// The name of a given option that only S3 has.
    pub(super) fn first_option_of_s3(&self) -> Option<&'static str> {
        let options = [
            ("role-arn", &self.role_arn),
            ("external-id", &self.external_id),
            ("role-session-name", &self.role_session_name),
            ("sse", &self.sse),
            ("acl", &self.acl),
            ("storage-class", &self.storage_class),
        ];
        let mut given = options.iter().filter(|(_, value)| value.is_some());
        given.next().map(|(name, _)| *name)
    }
}

/// An address that is safe to print and to store: without its password, and without its query,
/// which may be a signature.
///
/// The container in `abfss://container@account...` is not a password, and stays.
pub fn without_secrets(address: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = address.split_once("://") else {
        return Cow::Borrowed(address);
    };
    if scheme == "file" {
        return Cow::Borrowed(address);
    }
    let (rest, query) = match rest.split_once('?') {
        Some((rest, _)) => (rest, "?..."),
        None => (rest, ""),
    };
    // A password may hold any character: the last `@` ends it.
    let (user, rest) = match rest.rsplit_once('@') {
        Some((user, rest)) if !scheme.starts_with("abfs") || user.contains(':') => {
            (user, format!("...@{rest}"))
        }
        _ => ("", rest.to_owned()),
    };
    if user.is_empty() && query.is_empty() {
        return Cow::Borrowed(address);
    }
    Cow::Owned(format!("{scheme}://{rest}{query}"))
}

/// The address or an option of a remote is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// The address or the endpoint has a password or a signature in it; shown without.
    #[error("`{0}` contains credentials")]
    Secret(String),
    /// The address lacks a `scheme://`.
    #[error("`{0}` is not the URL of a remote")]
    NoScheme(String),
    /// A scheme that this version does not speak.
    #[error("{scheme}:// remotes are not supported")]
    Unsupported {
        /// The scheme, without `://`.
        scheme: String,
    },
    /// A `file://` address without an absolute path, or with a host.
    #[error("`{0}` does not name an absolute directory")]
    RelativePath(String),
    /// A `file://` address of the root directory.
    #[error("`{0}` is the root directory of this machine")]
    RootDirectory(String),
    /// An address without a bucket or container, or with an impossible one.
    #[error("`{0}` does not name a bucket or container")]
    NoBucket(String),
    /// A bucket name that is shorter or longer than stores allow.
    #[error("the bucket name of `{url}` has {length} characters; a name has 3 to 63")]
    BucketLength {
        /// The address.
        url: String,
        /// Characters of the name; at least one.
        length: usize,
    },
    /// Nothing says which storage account of Azure the container is in.
    #[error("no storage account for `{0}`")]
    NoAccount(String),
    /// A prefix with empty segments, `..`, or characters other than printable ASCII.
    #[error("`{0}` is not a valid prefix in a bucket")]
    BadPrefix(String),
    /// An endpoint that is not `http://host` or `https://host`.
    #[error("`{0}` is not the URL of a server")]
    BadEndpoint(String),
    /// An option that only S3 has.
    #[error("the option {option} does not apply to {scheme}:// remotes")]
    OnlyS3 {
        /// The option, as in a configuration file.
        option: &'static str,
        /// The scheme, without `://`.
        scheme: String,
    },
    /// An external id or a session's name without a role.
    #[error("no role to assume")]
    NoRole,
    /// A value that an option of S3 does not have.
    #[error("invalid value `{value}` for the option {option}")]
    BadValue {
        /// The option, as in a configuration file.
        option: &'static str,
        /// The given value.
        value: String,
        /// The allowed values.
        values: &'static str,
    },
}

impl SpecError {
    /// Advice for the user.
    pub fn hint(&self) -> Hint {
        let text = match self {
            Self::Secret(_) => {
                "URLs are logged: pass credentials in the environment, for example AWS_SECRET_ACCESS_KEY or AZURE_STORAGE_SAS_TOKEN"
            }
            Self::NoScheme(_) | Self::Unsupported { .. } => {
                "use file:///directory, s3://bucket/prefix, gs://bucket/prefix or \
                 az://container/prefix"
            }
            Self::RootDirectory(_) => "name a directory for caches: file:///var/cache/ci",
            Self::RelativePath(_) => "use three slashes and an absolute path: file:///var/cache/ci",
            Self::NoBucket(url) if url.starts_with("gs:") => {
                "use gs://bucket or gs://bucket/prefix"
            }
            Self::NoBucket(url) if url.starts_with("az:") => {
                "use az://container or az://container/prefix"
            }
            Self::NoBucket(url) if url.starts_with("abfs") => {
                "write abfss://container@account.dfs.core.windows.net/prefix"
            }
            Self::NoBucket(_) => "use s3://bucket or s3://bucket/prefix",
            Self::BucketLength { .. } => {
                "use the full name of the bucket, for example s3://my-bucket/prefix"
            }
            Self::NoAccount(_) => return Hint::SetAzureAccount,
            Self::BadPrefix(_) => {
                "use printable ASCII, with single slashes between segments: s3://bucket/team/cache"
            }
            Self::BadEndpoint(_) => "use http://host:port or https://host:port",
            Self::OnlyS3 { .. } => "remove it, or use an s3:// remote",
            Self::NoRole => return Hint::SetRole,
            Self::BadValue { values, .. } => values,
        };
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_addresses_are_refused_and_not_shown() {
        for (address, shown) in [
            ("s3://KEY:hunter2@cache/team", "s3://...@cache/team"),
            ("s3://KEY:hun/t@er2@cache", "s3://...@cache"),
            ("az://cache?sv=1&sig=hunter2", "az://cache?..."),
            (
                "abfss://c:hunter2@a.dfs.core.windows.net",
                "abfss://...@a.dfs.core.windows.net",
            ),
            ("https://hunter2@s3.example/", "https://...@s3.example/"),
        ] {
            assert_eq!(without_secrets(address), shown);
            let in_url = RemoteSpec {
                url: address.to_owned(),
                ..RemoteSpec::default()
            };
            let in_endpoint = RemoteSpec {
                url: "s3://cache".to_owned(),
                endpoint: Some(address.to_owned()),
                ..RemoteSpec::default()
            };
            for spec in [in_url, in_endpoint] {
                let error = spec.check_no_secrets().unwrap_err();
                assert_eq!(error, SpecError::Secret(shown.to_owned()));
            }
        }
        for address in [
            "s3://cache/team",
            "abfss://cache@account.dfs.core.windows.net/team",
            "file:///var/what?/a@b",
            "https://s3.example:9000",
            "nonsense",
        ] {
            assert_eq!(without_secrets(address), address);
            let spec = RemoteSpec {
                url: address.to_owned(),
                ..RemoteSpec::default()
            };
            assert_eq!(spec.check_no_secrets(), Ok(()));
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
                url: "s3://bucket".to_owned(),
                ..RemoteSpec::default()
            }
        );
        assert!(
            shown.contains("AWS_SECRET_ACCESS_KEY") && !shown.contains("hunter"),
            "{shown}"
        );
    }
}
