//! The archives of the plugin: their names, and how to find them.

use std::path::Path;

use cachefs_store::archive::first_name;
use cachefs_store::remote::{
    DynRemote, ObjectKey, ObjectStream, OpenRemote, RemoteErrorKind, RemoteSpec, RetryPolicy,
    open_remote,
};
use md5::{Digest as _, Md5};
use tokio::runtime::Handle;

use super::mounts::{MountBase, PluginMount};
use crate::keys::{ExpandedKey, PartKind};

/// The key that the plugin makes from the same template: it uses MD5 for checksums.
///
/// With `by_branch` there was no template, and the key is the MD5 of the branch.
pub(super) fn old_key(expanded: &ExpandedKey, workspace: &Path, by_branch: bool) -> String {
    if by_branch {
        return hex_digits(expanded.key.as_bytes());
    }
    let value = |part: &crate::keys::KeyPart| match (&part.kind, &part.files[..]) {
        (PartKind::Checksum, [file]) => std::fs::read(workspace.join(&file.path))
            .map(|bytes| hex_digits(&bytes))
            .unwrap_or_default(),
        _ => part.value.clone(),
    };
    expanded.parts.iter().map(value).collect()
}

fn hex_digits(bytes: &[u8]) -> String {
    let digest = Md5::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Possible names of the archive of a mount, most likely first.
pub(super) fn archive_names(roots: &[String], key: &str, mount: &PluginMount) -> Vec<String> {
    let mut mounts = vec![mount.name.trim_start_matches('/').to_owned()];
    // The plugin stores a relative mount as written, which may have been the whole path.
    mounts.push(
        mount
            .path
            .to_string_lossy()
            .trim_start_matches('/')
            .to_owned(),
    );
    mounts.dedup();
    roots
        .iter()
        .flat_map(|root| {
            mounts
                .iter()
                .map(move |mount| join_parts(&[root, key, mount]))
        })
        .collect()
}

fn join_parts(parts: &[&str]) -> String {
    let parts = parts.iter().filter(|part| !part.is_empty());
    parts.copied().collect::<Vec<_>>().join("/")
}

/// The plugin's archives.
pub(super) struct Archives {
    remote: DynRemote,
    runtime: Handle,
}

impl Archives {
    pub(super) fn new(
        spec: &RemoteSpec,
        policy: RetryPolicy,
        runtime: Handle,
    ) -> Result<Self, cachefs::Error> {
        let OpenRemote { remote, .. } = open_remote(spec, policy)?;
        Ok(Self { remote, runtime })
    }

    /// Finds the first of these objects that exists.
    pub(super) fn find(&self, names: &[String]) -> Result<Option<ObjectKey>, cachefs::Error> {
        for name in names {
            // A name that we cannot represent is treated as not found.
            let Some(object) = ObjectKey::from_listing(name) else {
                continue;
            };
            match self.runtime.block_on(self.remote.head(&object)) {
                Ok(_) => return Ok(Some(object)),
                Err(error)
                    if matches!(
                        error.kind(),
                        RemoteErrorKind::NotFound | RemoteErrorKind::NoRemote
                    ) => {}
                Err(error) => return Err(cachefs_store::Error::from(error).into()),
            }
        }
        Ok(None)
    }

    /// All archives of a key, with their mounts.
    pub(super) fn all(
        &self,
        roots: &[String],
        key: &str,
        place: &MountBase,
    ) -> Result<Vec<(ObjectKey, PluginMount)>, cachefs::Error> {
        let mut all = Vec::new();
        for root in roots {
            let prefix = format!("{}/", join_parts(&[root, key]));
            let listed = match self.runtime.block_on(self.remote.list(&prefix)) {
                Ok(listed) => listed,
                Err(error) if error.kind() == RemoteErrorKind::NoRemote => continue,
                Err(error) => return Err(cachefs_store::Error::from(error).into()),
            };
            for object in listed {
                let name = &object.key.as_str()[prefix.len()..];
                let mount = self.mount(&object.key, name, place)?;
                all.push((object.key, mount));
            }
            if !all.is_empty() {
                break;
            }
        }
        Ok(all)
    }

    /// The mount of an archive: its first member if that is a whole path, otherwise the name of the
    /// object, in the workspace.
    fn mount(
        &self,
        object: &ObjectKey,
        name: &str,
        place: &MountBase,
    ) -> Result<PluginMount, cachefs::Error> {
        let stream = ObjectStream::open(self.remote.clone(), object.clone(), self.runtime.clone())
            .map_err(cachefs_store::Error::from)?;
        let first = first_name(stream)?.unwrap_or_default();
        Ok(match String::from_utf8(first) {
            Ok(first) if first.starts_with('/') => place.mount(&first),
            _ => place.mount(name),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{FileInput, KeyPart};

    #[test]
    fn checksums_are_those_of_the_plugin() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("go.mod"), "module x\n").unwrap();
        let part = |kind, value: &str, files| KeyPart {
            kind,
            name: String::new(),
            value: value.to_owned(),
            variable: None,
            files,
            skipped: Vec::new(),
        };
        let file = FileInput {
            path: "go.mod".to_owned(),
            blake3: Some("of no interest".to_owned()),
            bytes: 9,
        };
        let expanded = ExpandedKey {
            key: "main".to_owned(),
            parts: vec![
                part(PartKind::Text, "go-", Vec::new()),
                part(PartKind::Checksum, "blake3", vec![file]),
            ],
        };
        assert_eq!(
            old_key(&expanded, dir.path(), false),
            format!("go-{}", hex_digits(b"module x\n"))
        );
        assert_eq!(hex_digits(b"module x\n").len(), 32);
        assert_eq!(hex_digits(b""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(
            old_key(&expanded, dir.path(), true),
            "fad58de7366495db4650cfefac2fcd61"
        );
    }

    #[test]
    fn names_with_and_without_a_repository() {
        let mount = |name: &str, path: &str| PluginMount {
            name: name.to_owned(),
            path: path.into(),
        };
        let roots = ["app".to_owned(), String::new()];
        assert_eq!(
            archive_names(&roots, "k", &mount("/root/.m2", "/root/.m2")),
            ["app/k/root/.m2", "k/root/.m2"]
        );
        assert_eq!(
            archive_names(&roots, "k", &mount("vendor", "/drone/src/vendor")),
            [
                "app/k/vendor",
                "app/k/drone/src/vendor",
                "k/vendor",
                "k/drone/src/vendor"
            ]
        );
    }
}
