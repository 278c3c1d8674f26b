//! Directories as remotes, and the ways in which a disk can fail.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use bytes::Bytes;
use cachefs_store::remote::{FileRemote, ObjectKey, PutMode, Remote, RemoteErrorKind};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(name)
}

async fn put(remote: &FileRemote, name: &str, body: &'static str) -> Result<(), RemoteErrorKind> {
    let body = Bytes::from_static(body.as_bytes());
    let put = remote.put(&key(name), body, PutMode::Overwrite).await;
    put.map_err(|error| error.kind())
}

async fn get(remote: &FileRemote, name: &str) -> Result<Bytes, RemoteErrorKind> {
    remote
        .get(&key(name), 1 << 30)
        .await
        .map_err(|error| error.kind())
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[tokio::test]
async fn a_missing_root_is_not_an_empty_remote() {
    let dir = tempfile::tempdir().unwrap();
    let remote = FileRemote::new(dir.path().join("absent"));
    assert_eq!(get(&remote, "a").await, Err(RemoteErrorKind::NoRemote));
    let listed = remote.list("").await.map_err(|error| error.kind());
    assert_eq!(listed, Err(RemoteErrorKind::NoRemote));
    let deleted = remote.delete(&key("a")).await.map_err(|error| error.kind());
    assert_eq!(deleted, Err(RemoteErrorKind::NoRemote));

    put(&remote, "a", "x").await.unwrap();
    assert_eq!(remote.list("").await.unwrap().len(), 1);
    assert_eq!(get(&remote, "b").await, Err(RemoteErrorKind::NotFound));
}

#[tokio::test]
async fn a_root_below_a_file_cannot_be() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    for root in ["file", "file/below"] {
        let remote = FileRemote::new(dir.path().join(root));
        assert_eq!(
            put(&remote, "a", "x").await,
            Err(RemoteErrorKind::NoRemote),
            "{root}"
        );
        assert_eq!(
            get(&remote, "a").await,
            Err(RemoteErrorKind::NoRemote),
            "{root}"
        );
    }
}

#[tokio::test]
async fn links_are_not_followed_out_of_the_root() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir_all(dir.path().join("outside")).unwrap();
    fs::create_dir_all(&root).unwrap();
    fs::write(dir.path().join("outside/secret"), "secret").unwrap();
    symlink("../outside", root.join("folder")).unwrap();
    symlink("../outside/secret", root.join("file")).unwrap();

    let remote = FileRemote::new(&root);
    assert_eq!(
        get(&remote, "folder/secret").await,
        Err(RemoteErrorKind::Invalid)
    );
    assert_eq!(get(&remote, "file").await, Err(RemoteErrorKind::Invalid));
    assert_eq!(
        put(&remote, "folder/new", "x").await,
        Err(RemoteErrorKind::Invalid)
    );
    // Whether or not this fails, files outside of the remote must survive.
    let _ = remote.delete(&key("folder/secret")).await;
    assert_eq!(remote.list("").await.unwrap(), []);
    // A link in the place of an object is replaced, not followed.
    put(&remote, "file", "mine").await.unwrap();
    assert_eq!(
        fs::read(dir.path().join("outside/secret")).unwrap(),
        b"secret"
    );
    assert_eq!(fs::read_dir(dir.path().join("outside")).unwrap().count(), 1);
}

#[tokio::test]
async fn temporary_files_are_no_objects_and_stale_ones_are_swept() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join(".tmp");
    fs::create_dir(&folder).unwrap();
    let names = [
        "0123456789abcdef",
        "fedcba9876543210",
        "somebody's",
        "0123456789ABCDEF",
    ];
    let [old, young, theirs, capitals] = names.map(|name| folder.join(name));
    fs::write(&young, "").unwrap();
    let two_days = std::time::Duration::from_secs(2 * 24 * 60 * 60);
    for path in [&old, &theirs, &capitals] {
        let file = fs::File::create(path).unwrap();
        file.set_modified(std::time::SystemTime::now() - two_days)
            .unwrap();
    }

    let remote = FileRemote::new(dir.path());
    put(&remote, "a", "x").await.unwrap();
    assert!(young.exists() && !old.exists());
    assert!(
        theirs.exists() && capitals.exists(),
        "no writer makes such names"
    );
    assert_eq!(remote.list("").await.unwrap().len(), 1);
    assert_eq!(remote.list(".tmp/").await.unwrap(), []);
    assert_eq!(
        get(&remote, ".tmp/fedcba9876543210").await,
        Err(RemoteErrorKind::Invalid)
    );
    assert_eq!(
        put(&remote, ".tmp/b", "x").await,
        Err(RemoteErrorKind::Invalid)
    );
}

#[tokio::test]
async fn stale_files_behind_a_link_are_not_swept() {
    let dir = tempfile::tempdir().unwrap();
    let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
    fs::create_dir_all(&root).unwrap();
    fs::create_dir_all(&outside).unwrap();
    let precious = outside.join("0123456789abcdef");
    let file = fs::File::create(&precious).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    symlink("../outside", root.join(".tmp")).unwrap();
    let remote = FileRemote::new(&root);
    assert_eq!(put(&remote, "a", "x").await, Err(RemoteErrorKind::Invalid));
    assert!(precious.exists());
}

#[tokio::test]
async fn an_empty_object_is_replaced_by_one_of_racing_writers() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let name = format!("object{round}");
        fs::write(dir.path().join(&name), "").unwrap();
        let remote = std::sync::Arc::new(FileRemote::new(dir.path()).without_sync());
        let writers = (0..8_u8).map(|writer| {
            let (remote, key) = (remote.clone(), key(&name));
            tokio::spawn(async move {
                let body = Bytes::from(vec![b'0' + writer]);
                let put = remote.put(&key, body.clone(), PutMode::IfAbsent).await;
                put.map(|()| body).map_err(|error| error.kind())
            })
        });
        let mut winners = Vec::new();
        for writer in writers.collect::<Vec<_>>() {
            match writer.await.unwrap() {
                Ok(body) => winners.push(body),
                Err(kind) => assert_eq!(kind, RemoteErrorKind::Exists),
            }
        }
        assert_eq!(winners.len(), 1, "{winners:?}");
        assert_eq!(get(&remote, &name).await.unwrap(), winners[0]);
    }
}

#[test]
fn packs_are_not_read_through_links_and_a_fifo_holds_nobody_up() {
    use cachefs_store::id::PackId;
    use cachefs_store::local::PackFiles;

    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret");
    fs::write(&secret, "secret").unwrap();
    let root = dir.path().join("root");
    let packs = PackFiles::new(&root);
    let [plain, linked, fifo] = [1, 2, 3].map(|number| PackId([number; 16]));
    for pack in [&plain, &linked, &fifo] {
        fs::create_dir_all(packs.path(pack).parent().unwrap()).unwrap();
    }
    fs::write(packs.path(&plain), "plain!").unwrap();
    symlink(&secret, packs.path(&linked)).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, packs.path(&fifo), kind, mode, 0).unwrap();
    assert_eq!(packs.read(&plain, 0, 6).unwrap().unwrap(), b"plain!");
    assert!(packs.read(&linked, 0, 6).is_err());
    assert!(packs.read(&fifo, 0, 6).is_err());
    // It must not follow a folder that is a link either.
    let folder = packs.path(&plain).parent().unwrap().to_owned();
    let packs = PackFiles::new(&root);
    fs::rename(&folder, dir.path().join("elsewhere")).unwrap();
    symlink(dir.path().join("elsewhere"), &folder).unwrap();
    assert!(packs.read(&plain, 0, 6).is_err());
}

#[tokio::test]
async fn a_folder_is_not_an_object() {
    let dir = tempfile::tempdir().unwrap();
    let remote = FileRemote::new(dir.path());
    put(&remote, "a/b", "x").await.unwrap();
    assert_eq!(get(&remote, "a").await, Err(RemoteErrorKind::NotFound));
    assert_eq!(put(&remote, "a", "x").await, Err(RemoteErrorKind::Invalid));
    assert_eq!(
        put(&remote, "a/b/c", "x").await,
        Err(RemoteErrorKind::Invalid)
    );
    assert_eq!(fs::read_dir(dir.path().join(".tmp")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_directory_on_a_disk_is_read_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let remote = FileRemote::new(dir.path().join("new"));
    assert_eq!(remote.local_dir(), Some(dir.path().join("new").as_path()));
}

#[tokio::test]
async fn a_directory_that_may_not_be_written_to() {
    let dir = tempfile::tempdir().unwrap();
    if is_root() {
        // Permissions do not restrict root, but a read-only mount does.
        let mounted = Mounted::tmpfs(dir.path(), "size=64k");
        let remote = FileRemote::new(dir.path());
        put(&remote, "a", "x").await.unwrap();
        mounted.make_read_only();
        assert_eq!(put(&remote, "b", "x").await, Err(RemoteErrorKind::Denied));
        let deleted = remote.delete(&key("a")).await.map_err(|error| error.kind());
        assert_eq!(deleted, Err(RemoteErrorKind::Denied));
        assert_eq!(get(&remote, "a").await.unwrap(), "x");
    } else {
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o555)).unwrap();
        let remote = FileRemote::new(dir.path());
        assert_eq!(put(&remote, "b", "x").await, Err(RemoteErrorKind::Denied));
    }
}

#[tokio::test]
async fn a_full_disk() {
    if !is_root() {
        cachefs_skip::skip("root", "only root mounts a small filesystem");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let _mounted = Mounted::tmpfs(dir.path(), "size=1m");
    let remote = FileRemote::new(dir.path());
    put(&remote, "small", "x").await.unwrap();
    let large = Bytes::from(vec![7; 2 << 20]);
    let put_large = remote.put(&key("large"), large, PutMode::Overwrite).await;
    assert_eq!(
        put_large.map_err(|error| error.kind()),
        Err(RemoteErrorKind::Full)
    );
    // No part of the object is visible, and its space is free again.
    assert_eq!(get(&remote, "large").await, Err(RemoteErrorKind::NotFound));
    let fits = Bytes::from(vec![7; 900 << 10]);
    remote
        .put(&key("fits"), fits, PutMode::Overwrite)
        .await
        .unwrap();
    assert_eq!(remote.list("").await.unwrap().len(), 2);
}

/// A filesystem that is unmounted at the end of the test, even if it panics.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn tmpfs(path: &'a Path, options: &str) -> Self {
        let options = std::ffi::CString::new(options).unwrap();
        mount(
            "tmpfs",
            path,
            "tmpfs",
            MountFlags::empty(),
            Some(options.as_c_str()),
        )
        .unwrap();
        Self(path)
    }

    fn make_read_only(&self) {
        rustix::mount::mount_remount(self.0, MountFlags::RDONLY, "").unwrap();
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = unmount(self.0, UnmountFlags::DETACH);
    }
}
