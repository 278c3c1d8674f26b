//! Reads the manifests, tags and referrers of repositories.

use std::collections::HashSet;

use super::entry_names::{
    blob_name, manifest_name, manifests_name, referrers_name, tag_name, tags_name,
};
use super::error::RegistryError;
use super::manifests::{INDEX_TYPE, MAX_MANIFEST, ManifestEntry};
use super::names::{ContentDigest, ManifestReference, RepositoryName, is_tag};
use super::registry::Registry;

/// Maximum size of an entry of a manifest or a tag: a descriptor with annotations.
const MAX_ENTRY: u64 = 256 << 10;

impl Registry {
    /// A manifest of a repository, and its digest.
    pub(super) async fn find_manifest(
        &self,
        name: &RepositoryName,
        reference: &ManifestReference,
    ) -> Result<(ManifestEntry, ContentDigest), RegistryError> {
        let unknown = || RegistryError::manifest_unknown(reference);
        let digest = match reference {
            ManifestReference::Digest(digest) => digest.clone(),
            ManifestReference::Tag(tag) => {
                let entry = self.read_entry(&tag_name(name, tag)).await?;
                let entry = entry.ok_or_else(unknown)?;
                entry.digest().ok_or_else(unknown)?
            }
        };
        // A deleted manifest is also gone under its tags.
        let entry = self.read_entry(&manifest_name(name, &digest)).await?;
        Ok((entry.ok_or_else(unknown)?, digest))
    }

    /// An entry; `None` if it does not exist or was deleted.
    async fn read_entry(&self, name: &str) -> Result<Option<ManifestEntry>, RegistryError> {
        let Some(content) = self.namespace.find(name).await? else {
            return Ok(None);
        };
        if content.size() > MAX_ENTRY {
            return Err(damaged_entry(name, "it is too large"));
        }
        let bytes = content.read().await?;
        let entry: ManifestEntry = serde_json::from_slice(&bytes)
            .map_err(|error| damaged_entry(name, &error.to_string()))?;
        Ok((!entry.deleted).then_some(entry))
    }

    /// The tags of a repository, sorted.
    pub(super) async fn tags(&self, name: &RepositoryName) -> Result<Vec<String>, RegistryError> {
        let directory = tags_name(name);
        let listed = self.namespace.list(&directory).await?;
        if listed.is_empty() && self.namespace.list(&manifests_name(name)).await?.is_empty() {
            let status = hyper::StatusCode::NOT_FOUND;
            let message = format!("there is no repository {name}");
            return Err(RegistryError::new(status, "NAME_UNKNOWN", message));
        }
        let mut tags = Vec::new();
        for tag in listed.into_iter().filter(|tag| is_tag(tag)) {
            let reference = ManifestReference::Tag(tag);
            match self.find_manifest(name, &reference).await {
                Ok(_) => tags.push(reference.to_string()),
                Err(error) if error.is_unknown() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(tags)
    }

    /// The manifests that refer to `subject`: those pushed with it as their subject, and those in
    /// the index that clients keep under a tag for registries without this list.
    pub(super) async fn referrers(
        &self,
        name: &RepositoryName,
        subject: &ContentDigest,
    ) -> Result<Vec<ManifestEntry>, RegistryError> {
        let directory = referrers_name(name, subject);
        let mut referrers = Vec::new();
        for file in self.namespace.list(&directory).await? {
            let entry = self.read_entry(&format!("{directory}/{file}")).await?;
            referrers.extend(entry);
        }
        let known: HashSet<_> = referrers.iter().map(|entry| entry.digest.clone()).collect();
        let tagged = self.tagged_referrers(name, subject).await?;
        referrers.extend(
            tagged
                .into_iter()
                .filter(|entry| !known.contains(&entry.digest)),
        );
        Ok(referrers)
    }

    async fn tagged_referrers(
        &self,
        name: &RepositoryName,
        subject: &ContentDigest,
    ) -> Result<Vec<ManifestEntry>, RegistryError> {
        let reference = ManifestReference::Tag(subject.referrers_tag());
        let digest = match self.find_manifest(name, &reference).await {
            Ok((entry, digest)) if entry.media_type == INDEX_TYPE => digest,
            Ok(_) => return Ok(Vec::new()),
            Err(error) if error.is_unknown() => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        #[derive(serde::Deserialize)]
        struct ReferrersIndex {
            manifests: Vec<ManifestEntry>,
        }
        let index = self.read_manifest_blob(&digest).await?;
        let index: Option<ReferrersIndex> = index.and_then(|it| serde_json::from_slice(&it).ok());
        Ok(index.map(|index| index.manifests).unwrap_or_default())
    }

    /// The subject of a stored manifest.
    pub(super) async fn subject_of(
        &self,
        digest: &ContentDigest,
    ) -> Result<Option<ContentDigest>, RegistryError> {
        let Some(bytes) = self.read_manifest_blob(digest).await? else {
            return Ok(None);
        };
        let document: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
        let subject = document
            .as_ref()
            .and_then(|it| it["subject"]["digest"].as_str());
        Ok(subject.and_then(ContentDigest::parse))
    }

    async fn read_manifest_blob(
        &self,
        digest: &ContentDigest,
    ) -> Result<Option<Vec<u8>>, RegistryError> {
        match self.namespace.find(&blob_name(digest)).await? {
            Some(content) if content.size() <= MAX_MANIFEST => Ok(Some(content.read().await?)),
            _ => Ok(None),
        }
    }
}

fn damaged_entry(name: &str, detail: &str) -> RegistryError {
    cachefs_store::Error::damaged(name.to_owned(), detail.to_owned()).into()
}
