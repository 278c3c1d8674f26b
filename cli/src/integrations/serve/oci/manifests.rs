//! Manifests: their references, and how we store them.
//!
//! The bytes of a manifest are a blob. Each repository with the manifest has a [`ManifestEntry`]
//! under its digest, and one under every tag.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::RegistryError;
use super::names::ContentDigest;

/// The content type of lists of manifests.
pub(super) const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// Maximum size of a manifest. The specification asks registries to accept at least 4 MiB.
pub(super) const MAX_MANIFEST: u64 = 4 << 20;
/// Maximum size of the annotations in the list of referrers, in bytes of JSON.
const MAX_ANNOTATIONS: usize = 64 << 10;

/// A reference in a manifest.
#[derive(Debug, Deserialize)]
struct ReferredContent {
    digest: String,
    /// Locations of content stored elsewhere, such as layers that may not be redistributed.
    #[serde(default)]
    urls: Vec<String>,
}

/// The members of image manifests and indexes that a registry reads.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestDocument {
    schema_version: Option<u64>,
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<ManifestConfig>,
    #[serde(default)]
    layers: Vec<ReferredContent>,
    #[serde(default)]
    manifests: Vec<ReferredContent>,
    #[serde(default)]
    blobs: Vec<ReferredContent>,
    subject: Option<ReferredContent>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManifestConfig {
    media_type: Option<String>,
    #[serde(flatten)]
    content: ReferredContent,
}

/// A validated manifest.
#[derive(Debug)]
pub(super) struct ParsedManifest {
    /// The entry to store in the repository.
    pub(super) entry: ManifestEntry,
    /// The content that must exist before the manifest.
    pub(super) needs: Vec<ContentDigest>,
    /// The manifest that this one refers to as its subject; it need not exist.
    pub(super) subject: Option<ContentDigest>,
}

/// A manifest in a repository: the descriptor that clients see, or a deleted one.
///
/// Saves are united file by file, so a deletion is an entry too: without it, the save of another
/// server could bring the manifest back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ManifestEntry {
    /// The content type of the push.
    pub(super) media_type: String,
    /// The digest of the manifest.
    pub(super) digest: String,
    /// Its size in bytes.
    pub(super) size: u64,
    /// The type of an artifact, for filters of the list of referrers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) artifact_type: Option<String>,
    /// The annotations of the manifest, if it has a subject.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
    /// Whether it was deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) deleted: bool,
}

impl ManifestEntry {
    /// The digest, if it is valid.
    pub(super) fn digest(&self) -> Option<ContentDigest> {
        ContentDigest::parse(&self.digest)
    }

    /// The entry for a tag, without the fields that only the list of referrers needs.
    pub(super) fn for_tag(&self) -> Self {
        Self {
            artifact_type: None,
            annotations: BTreeMap::new(),
            ..self.clone()
        }
    }

    /// The entry that marks the manifest as deleted.
    pub(super) fn deleted(self) -> Self {
        Self {
            annotations: BTreeMap::new(),
            deleted: true,
            ..self
        }
    }

    /// Encodes the entry as it is stored.
    pub(super) fn encode(&self) -> Result<Vec<u8>, RegistryError> {
        serde_json::to_vec(self)
            .map_err(|error| RegistryError::manifest_invalid(format!("not encodable: {error}")))
    }
}

/// Parses and validates a manifest.
pub(super) fn parse_manifest(
    bytes: &[u8],
    content_type: Option<&str>,
    digest: &ContentDigest,
) -> Result<ParsedManifest, RegistryError> {
    let invalid = RegistryError::manifest_invalid;
    let document: ManifestDocument = serde_json::from_slice(bytes)
        .map_err(|error| invalid(format!("the manifest cannot be parsed: {error}")))?;
    if document.schema_version != Some(2) {
        return Err(invalid(
            "only manifests with schemaVersion 2 are supported".to_owned(),
        ));
    }
    let media_type = content_type.or(document.media_type.as_deref());
    let media_type = media_type.ok_or_else(|| invalid("there is no Content-Type".to_owned()))?;
    if document
        .media_type
        .as_deref()
        .is_some_and(|own| own != media_type)
    {
        return Err(invalid(format!(
            "the manifest has another mediaType than {media_type}, its Content-Type"
        )));
    }
    let config = document.config.as_ref();
    let referred = config.map(|config| &config.content).into_iter();
    let referred = referred
        .chain(&document.layers)
        .chain(&document.manifests)
        .chain(&document.blobs);
    let mut needs = Vec::new();
    for content in referred {
        let digest = parse_reference(content)?;
        if content.urls.is_empty() {
            needs.push(digest);
        }
    }
    let subject = document.subject.as_ref().map(parse_reference).transpose()?;
    let annotations = document.annotations;
    if subject.is_some() && encoded_length(&annotations) > MAX_ANNOTATIONS {
        return Err(invalid(format!(
            "more than {MAX_ANNOTATIONS} bytes of annotations"
        )));
    }
    let of_config = document.config.and_then(|config| config.media_type);
    Ok(ParsedManifest {
        entry: ManifestEntry {
            media_type: media_type.to_owned(),
            digest: digest.to_string(),
            size: bytes.len() as u64,
            artifact_type: document.artifact_type.or(of_config),
            annotations: subject.as_ref().map(|_| annotations).unwrap_or_default(),
            deleted: false,
        },
        needs,
        subject,
    })
}

fn parse_reference(content: &ReferredContent) -> Result<ContentDigest, RegistryError> {
    ContentDigest::parse(&content.digest).ok_or_else(|| {
        RegistryError::manifest_invalid(format!("`{}` is not a digest", content.digest))
    })
}

fn encoded_length(annotations: &BTreeMap<String, String>) -> usize {
    serde_json::to_value(annotations).map_or(0, |value: Value| value.to_string().len())
}

#[cfg(test)]
mod tests {
    use super::super::names::DigestAlgorithm;
    use super::*;

    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

    fn digest(of: &str) -> ContentDigest {
        ContentDigest::of(DigestAlgorithm::Sha256, of.as_bytes())
    }

    fn parse(text: &str, content_type: Option<&str>) -> Result<ParsedManifest, RegistryError> {
        parse_manifest(text.as_bytes(), content_type, &digest(text))
    }

    #[test]
    fn an_image_needs_its_config_and_its_layers_but_not_its_subject() {
        let text = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": IMAGE,
            "config": { "mediaType": "application/vnd.example", "digest": digest("c").to_string() },
            "layers": [
                { "digest": digest("a").to_string() },
                { "digest": digest("b").to_string(), "urls": ["https://example.com/b"] },
            ],
            "subject": { "digest": digest("s").to_string() },
            "annotations": { "k": "v" },
        });
        let text = text.to_string();
        let parsed = parse(&text, Some(IMAGE)).unwrap();
        assert_eq!(parsed.needs, [digest("c"), digest("a")]);
        assert_eq!(parsed.subject, Some(digest("s")));
        let entry = parsed.entry;
        assert_eq!(
            entry.artifact_type.as_deref(),
            Some("application/vnd.example")
        );
        assert_eq!(entry.annotations["k"], "v");
        assert_eq!(
            (entry.size, entry.digest()),
            (text.len() as u64, Some(digest(&text)))
        );
        let stored: ManifestEntry = serde_json::from_slice(&entry.encode().unwrap()).unwrap();
        assert_eq!(stored, entry);
        assert!(entry.deleted().deleted);
    }

    #[test]
    fn an_index_needs_its_manifests() {
        let text = serde_json::json!({
            "schemaVersion": 2,
            "manifests": [{ "digest": digest("m").to_string() }],
        });
        let parsed = parse(&text.to_string(), Some(INDEX)).unwrap();
        assert_eq!(parsed.needs, [digest("m")]);
    }

    #[test]
    fn invalid_manifests_are_refused() {
        for (text, content_type) in [
            ("", Some(IMAGE)),
            ("[]", Some(IMAGE)),
            (r#"{"schemaVersion": 1, "fsLayers": []}"#, Some(IMAGE)),
            (r#"{"schemaVersion": 2}"#, None),
            (r#"{"schemaVersion": 2, "mediaType": "a/b"}"#, Some(IMAGE)),
            (
                r#"{"schemaVersion": 2, "layers": [{"digest": "x"}]}"#,
                Some(IMAGE),
            ),
        ] {
            assert!(parse(text, content_type).is_err(), "{text}");
        }
    }
}
