//! The names of blobs and entries in the namespace (`docs/format/namespace.md`).

use super::names::{ContentDigest, RepositoryName};

/// The name of a blob in the namespace.
pub(super) fn blob_name(digest: &ContentDigest) -> String {
    format!("blobs/{}", digest.sharded_path())
}

/// The name of a manifest's entry in a repository.
pub(super) fn manifest_name(repository: &RepositoryName, digest: &ContentDigest) -> String {
    format!("{}/{}", manifests_name(repository), digest.path())
}

pub(super) fn manifests_name(repository: &RepositoryName) -> String {
    format!("repositories/{repository}/_manifests")
}

/// The name of a tag's entry.
pub(super) fn tag_name(repository: &RepositoryName, tag: &str) -> String {
    format!("{}/{tag}", tags_name(repository))
}

pub(super) fn tags_name(repository: &RepositoryName) -> String {
    format!("repositories/{repository}/_tags")
}

/// The name of a manifest's entry in the list of referrers of `subject`.
pub(super) fn referrer_name(
    repository: &RepositoryName,
    subject: &ContentDigest,
    digest: &ContentDigest,
) -> String {
    let referrers = referrers_name(repository, subject);
    format!("{referrers}/{}", digest.referrers_tag())
}

pub(super) fn referrers_name(repository: &RepositoryName, subject: &ContentDigest) -> String {
    format!("repositories/{repository}/_referrers/{}", subject.path())
}
