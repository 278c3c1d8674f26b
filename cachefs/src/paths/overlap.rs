//! Caches and the place they are kept in must not contain each other.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use cachefs_store::remote::RemoteSpec;

use super::real_path::real_path;
use crate::error::{Error, Result};
use crate::store_dir::StoreDir;

/// Refuses a path that contains the local store or the directory of a remote, or is inside one.
///
/// Each save would otherwise store all earlier ones again, a restored copy would overwrite the
/// objects of the remote with older ones, and a mount would hide the store that serves it. The
/// directories that the store itself keeps for containers are allowed.
///
/// # Errors
///
/// A usage error.
pub fn refuse_overlap(store: &StoreDir, remote: &RemoteSpec, path: &Path) -> Result<()> {
    let cache = real_path(path);
    if store.shows_caches_at(&cache) {
        return Ok(());
    }
    let directory = remote.url.strip_prefix("file://").map(PathBuf::from);
    let places = [
        Some(("the local store", store.path().to_owned())),
        directory.map(|directory| ("the remote", directory)),
    ];
    for (what, place) in places.into_iter().flatten() {
        let place = real_path(&place);
        let (how, hint) = if lies_in(&place, &cache) {
            (
                "holds",
                format!(
                    "use the directories in {} that the build fills, such as {}; or move {what}",
                    path.display(),
                    path.join("pip").display(),
                ),
            )
        } else if lies_in(&cache, &place) {
            (
                "is inside",
                format!("use a directory outside of {}", place.display()),
            )
        } else {
            continue;
        };
        return Err(Error::usage(
            format!("{} {how} {what}, {}", path.display(), place.display()),
            hint,
        ));
    }
    Ok(())
}

/// Whether a directory is another one or lies in it, by its path or through a bind mount.
fn lies_in(inner: &Path, outer: &Path) -> bool {
    let identity = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.dev(), metadata.ino()))
    };
    inner.starts_with(outer)
        || identity(outer).is_some_and(|outer| {
            let mut above = inner.ancestors();
            above.any(|above| identity(above) == Some(outer))
        })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_cache_and_its_store_or_remote_do_not_contain_each_other() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let store = root.join("home/.cache/cachefs");
        fs::create_dir_all(&store).unwrap();
        fs::create_dir_all(root.join("srv/remote")).unwrap();
        symlink("home", root.join("link")).unwrap();
        let store = StoreDir::open(&store, "unused".into(), 0).unwrap();
        let remote = RemoteSpec {
            url: format!("file://{}", root.join("srv/../srv/remote").display()),
            ..RemoteSpec::default()
        };
        let refused = |path: &str| match refuse_overlap(&store, &remote, &root.join(path)) {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        };
        for path in [
            "home/.cache",
            "home",
            "link/.cache",
            "srv/x/../../home",
            "home/.cache/cachefs",
        ] {
            assert!(refused(path).contains("holds the local store"), "{path}");
        }
        for path in ["home/.cache/cachefs/x", "link/.cache/cachefs/remote"] {
            assert!(
                refused(path).contains("is inside the local store"),
                "{path}"
            );
        }
        assert!(refused("srv").contains("holds the remote"));
        assert!(refused("srv/remote/refs").contains("is inside the remote"));
        for path in [
            "home/.cache/pip",
            "home/.cache/cachefs-other",
            "srv/remote2",
            "home/.cache/cachefs/volumes/m2/data",
            "home/.cache/cachefs/attached/0123",
            "home/.cache/cachefs/containers/0123/m2",
        ] {
            assert_eq!(refused(path), "", "{path}");
        }
        let elsewhere = RemoteSpec {
            url: "s3://bucket/home".to_owned(),
            ..RemoteSpec::default()
        };
        assert!(refuse_overlap(&store, &elsewhere, &root.join("srv")).is_ok());
    }
}
