//! Names of the distribution protocol: repositories, digests, tags, and the routes that contain
//! them.

use std::fmt;

use sha2::{Digest as _, Sha256, Sha512};

/// Longest repository name. Clients limit host and name together to 255 bytes.
const MAX_REPOSITORY: usize = 255;
/// Longest tag, from the specification.
const MAX_TAG: usize = 128;

/// The name of a repository, such as `team/app`.
///
/// Every name is a relative path of plain components, none of which starts with `_`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct RepositoryName(String);

impl RepositoryName {
    /// Parses a name by the grammar of the distribution specification: components of
    /// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`, separated by `/`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_valid = text.len() <= MAX_REPOSITORY && text.split('/').all(is_component);
        is_valid.then(|| Self(text.to_owned()))
    }
}

fn is_component(text: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let separators = text.as_bytes().split(is_word).filter(|it| !it.is_empty());
    let is_separator =
        |text: &[u8]| matches!(text, b"." | b"_" | b"__") || text.iter().all(|byte| *byte == b'-');
    let bytes = text.as_bytes();
    bytes.first().is_some_and(is_word)
        && bytes.last().is_some_and(is_word)
        && separators.into_iter().all(is_separator)
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A hash function that names content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum DigestAlgorithm {
    Sha256,
    Sha512,
}

impl DigestAlgorithm {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn hex_length(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// The digest of a blob or a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ContentDigest {
    algorithm: DigestAlgorithm,
    hex: String,
}

impl ContentDigest {
    /// Parses a digest such as `sha256:9f86…`. Only lowercase digits are valid.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (algorithm, hex) = text.split_once(':')?;
        let algorithm = match algorithm {
            "sha256" => DigestAlgorithm::Sha256,
            "sha512" => DigestAlgorithm::Sha512,
            _ => return None,
        };
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_valid = hex.len() == algorithm.hex_length() && hex.bytes().all(is_hex);
        is_valid.then(|| Self {
            algorithm,
            hex: hex.to_owned(),
        })
    }

    /// The digest of bytes.
    pub(super) fn of(algorithm: DigestAlgorithm, bytes: &[u8]) -> Self {
        let mut hasher = ContentHasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    pub(super) fn algorithm(&self) -> DigestAlgorithm {
        self.algorithm
    }

    /// The path of content with this digest, relative to a directory.
    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.algorithm.name(), self.hex)
    }

    /// Like [`ContentDigest::path`], but with a directory for the first byte, for large
    /// directories.
    pub(super) fn sharded_path(&self) -> String {
        format!("{}/{}/{}", self.algorithm.name(), &self.hex[..2], self.hex)
    }

    /// The tag under which clients that predate the referrers API list referrers.
    pub(super) fn referrers_tag(&self) -> String {
        let tag = format!("{}-{}", self.algorithm.name(), self.hex);
        tag.chars().take(MAX_TAG).collect()
    }
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

/// A digest in progress.
#[derive(Clone)]
pub(super) enum ContentHasher {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl ContentHasher {
    pub(super) fn new(algorithm: DigestAlgorithm) -> Self {
        match algorithm {
            DigestAlgorithm::Sha256 => Self::Sha256(Sha256::new()),
            DigestAlgorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    pub(super) fn finish(self) -> ContentDigest {
        let (algorithm, bytes) = match self {
            Self::Sha256(hasher) => (DigestAlgorithm::Sha256, hasher.finalize().to_vec()),
            Self::Sha512(hasher) => (DigestAlgorithm::Sha512, hasher.finalize().to_vec()),
        };
        let hex = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        ContentDigest { algorithm, hex }
    }
}

/// A reference to a manifest: its tag or its digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ManifestReference {
    Tag(String),
    Digest(ContentDigest),
}

impl ManifestReference {
    fn parse(text: &str) -> Result<Self, RouteError> {
        if text.contains(':') {
            let digest = ContentDigest::parse(text).ok_or(RouteError::Digest)?;
            return Ok(Self::Digest(digest));
        }
        if !is_tag(text) {
            return Err(RouteError::Tag);
        }
        Ok(Self::Tag(text.to_owned()))
    }
}

impl fmt::Display for ManifestReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// Whether a text may be a tag.
pub(super) fn is_tag(text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut bytes = text.bytes();
    text.len() <= MAX_TAG
        && bytes.next().is_some_and(is_word)
        && bytes.all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

/// A resource of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RegistryRoute {
    /// `/v2/`
    Base,
    /// `/v2/NAME/blobs/DIGEST`
    Blob(RepositoryName, ContentDigest),
    /// `/v2/NAME/blobs/uploads/`
    Uploads(RepositoryName),
    /// `/v2/NAME/blobs/uploads/ID`
    Upload(RepositoryName, String),
    /// `/v2/NAME/manifests/REFERENCE`
    Manifest(RepositoryName, ManifestReference),
    /// `/v2/NAME/tags/list`
    Tags(RepositoryName),
    /// `/v2/NAME/referrers/DIGEST`
    Referrers(RepositoryName, ContentDigest),
}

/// The reason why a path is not a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RouteError {
    /// The protocol has no such path.
    Unknown,
    /// The repository name is invalid.
    Name,
    /// The digest is invalid.
    Digest,
    /// The tag is invalid.
    Tag,
}

impl RegistryRoute {
    /// Parses the path of a request. Repository names may contain any of the keywords, so we parse
    /// paths from the end.
    pub(super) fn parse(path: &str) -> Result<Self, RouteError> {
        let path = path.strip_prefix("/v2").ok_or(RouteError::Unknown)?;
        if path.is_empty() || path == "/" {
            return Ok(Self::Base);
        }
        let path = path.strip_prefix('/').ok_or(RouteError::Unknown)?;
        let repository = |name: &str| RepositoryName::parse(name).ok_or(RouteError::Name);
        let digest = |text: &str| ContentDigest::parse(text).ok_or(RouteError::Digest);
        let uploads = path.strip_suffix('/').unwrap_or(path);
        if let Some(name) = uploads.strip_suffix("/blobs/uploads") {
            return Ok(Self::Uploads(repository(name)?));
        }
        if let Some(name) = path.strip_suffix("/tags/list") {
            return Ok(Self::Tags(repository(name)?));
        }
        let (rest, last) = path.rsplit_once('/').ok_or(RouteError::Unknown)?;
        if let Some(name) = rest.strip_suffix("/blobs/uploads") {
            return Ok(Self::Upload(repository(name)?, last.to_owned()));
        }
        let (name, kind) = rest.rsplit_once('/').ok_or(RouteError::Unknown)?;
        match kind {
            "blobs" => Ok(Self::Blob(repository(name)?, digest(last)?)),
            "referrers" => Ok(Self::Referrers(repository(name)?, digest(last)?)),
            "manifests" => {
                let name = repository(name)?;
                Ok(Self::Manifest(name, ManifestReference::parse(last)?))
            }
            _ => Err(RouteError::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn name(text: &str) -> RepositoryName {
        RepositoryName::parse(text).unwrap()
    }

    #[test]
    fn routes_are_read_from_the_end() {
        let digest = ContentDigest::of(DigestAlgorithm::Sha256, b"test");
        assert_eq!(digest.to_string(), format!("sha256:{HEX}"));
        let tag = |text: &str| ManifestReference::Tag(text.to_owned());
        for (path, route) in [
            ("/v2/", RegistryRoute::Base),
            ("/v2", RegistryRoute::Base),
            ("/v2/a/blobs/uploads/", RegistryRoute::Uploads(name("a"))),
            ("/v2/a/b/blobs/uploads", RegistryRoute::Uploads(name("a/b"))),
            (
                "/v2/a/blobs/uploads/7-x",
                RegistryRoute::Upload(name("a"), "7-x".to_owned()),
            ),
            (
                "/v2/blobs/manifests/manifests/v1",
                RegistryRoute::Manifest(name("blobs/manifests"), tag("v1")),
            ),
            ("/v2/tags/tags/list", RegistryRoute::Tags(name("tags"))),
        ] {
            assert_eq!(RegistryRoute::parse(path), Ok(route), "{path}");
        }
        let blob = format!("/v2/a/blobs/sha256:{HEX}");
        assert_eq!(
            RegistryRoute::parse(&blob),
            Ok(RegistryRoute::Blob(name("a"), digest))
        );
    }

    #[test]
    fn invalid_names_are_refused_with_their_kind() {
        for (path, error) in [
            ("/", RouteError::Unknown),
            ("/v1/a/tags/list", RouteError::Unknown),
            ("/v2/a", RouteError::Unknown),
            ("/v2/a/things/x", RouteError::Unknown),
            ("/v2/A/tags/list", RouteError::Name),
            ("/v2/../tags/list", RouteError::Name),
            ("/v2/a//b/tags/list", RouteError::Name),
            ("/v2/a/_tags/tags/list", RouteError::Name),
            ("/v2/a/manifests/-x", RouteError::Tag),
            ("/v2/a/manifests/..", RouteError::Tag),
            ("/v2/a/manifests/sha256:12", RouteError::Digest),
            ("/v2/a/blobs/md5:12", RouteError::Digest),
            ("/v2/a/blobs/sha256:../../x", RouteError::Unknown),
        ] {
            assert_eq!(RegistryRoute::parse(path), Err(error), "{path}");
        }
        assert!(!is_tag(&"x".repeat(129)) && is_tag(&"x".repeat(128)));
    }

    #[test]
    fn repository_names_follow_the_grammar_of_the_specification() {
        for valid in ["a", "a-b/c.d/e_f", "a__b", "a---b", "0/1"] {
            assert!(RepositoryName::parse(valid).is_some(), "{valid}");
        }
        for invalid in ["", "-a", "a-", "a..b", "a___b", "a._b", "ä", "a/", "a b"] {
            assert!(RepositoryName::parse(invalid).is_none(), "{invalid}");
        }
    }
}
