//! A directory as a remote.
//!
//! An object is a file of the same name. A write returns once the file and its name are on disk. So
//! the order of writes survives a power cut: the objects that a record references exist. Without
//! that, filesystems may keep the name of a new file and lose its content for up to a minute.

mod durable;
mod errors;
mod locality;
mod temporary;
mod tree;

use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use rustix::io::Errno;

use super::body::RequestedBytes;
use super::{
    ListPage, ObjectInfo, ObjectKey, PutMode, Remote, RemoteError, RemoteErrorKind, RemoteId,
};
use errors::FileAction;
use temporary::TEMPORARY;
use tree::RemoteTree;
pub(crate) use tree::open_object;

/// A remote in a directory.
#[derive(Debug)]
pub struct FileRemote {
    url: String,
    tree: Arc<RemoteTree>,
    local: OnceLock<bool>,
}

impl FileRemote {
    /// Uses `root`, an absolute path, which the first write creates if need be.
    ///
    /// Symbolic links on the way to the root are followed, links below it never are.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let root = root.into();
        Self {
            url: format!("file://{}", root.display()),
            tree: Arc::new(RemoteTree::new(root)),
            local: OnceLock::new(),
        }
    }

    /// Lets writes return before they are on disk. This is faster, but a power cut within about a
    /// minute can lose objects or leave empty ones.
    pub fn without_sync(mut self) -> Self {
        if let Some(tree) = Arc::get_mut(&mut self.tree) {
            tree.sync = false;
        }
        self
    }

    async fn blocking<T: Send + 'static>(
        &self,
        action: FileAction,
        work: impl FnOnce(&RemoteTree, &FileAction) -> Result<T, RemoteError> + Send + 'static,
    ) -> Result<T, RemoteError> {
        let tree = Arc::clone(&self.tree);
        let name = action.to_string();
        match tokio::task::spawn_blocking(move || work(&tree, &action)).await {
            Ok(result) => result,
            // Only a runtime that shuts down cancels blocking work.
            Err(gone) => {
                Err(RemoteError::new(RemoteErrorKind::Unavailable, name).with_source(gone))
            }
        }
    }
}

/// Refuses keys that would be in the folder of temporary files.
fn path_of<'a>(action: &FileAction, key: &'a ObjectKey) -> Result<&'a str, RemoteError> {
    let name = key.as_str();
    match name.split('/').next() {
        Some(TEMPORARY) => Err(action.fail(RemoteErrorKind::Invalid)),
        _ => Ok(name),
    }
}

fn read_object(
    tree: &RemoteTree,
    action: &FileAction,
    key: &ObjectKey,
    wanted: RequestedBytes,
) -> Result<Bytes, RemoteError> {
    let root = tree.root().map_err(|errno| action.root(errno))?;
    let (file, size) =
        tree::open_file(&root, path_of(action, key)?).map_err(|errno| action.read(errno))?;
    let range = match wanted {
        RequestedBytes::Whole { limit } if size > limit => {
            return Err(RemoteError::too_large(action, limit));
        }
        RequestedBytes::Whole { .. } => 0..size,
        RequestedBytes::Range(range) => range,
    };
    if range.end > size || range.start > range.end {
        return Err(action.fail(RemoteErrorKind::Damaged));
    }
    let length = usize::try_from(range.end - range.start)
        .map_err(|_| action.fail(RemoteErrorKind::Invalid))?;
    let mut bytes = vec![0; length];
    match file.read_exact_at(&mut bytes, range.start) {
        Ok(()) => Ok(bytes.into()),
        // Someone cut the file after its size was read.
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(action.fail(RemoteErrorKind::Damaged))
        }
        Err(error) => Err(action.io(error)),
    }
}

fn write_object(
    tree: &RemoteTree,
    action: &FileAction,
    key: &ObjectKey,
    body: &[u8],
    mode: PutMode,
) -> Result<(), RemoteError> {
    let name = path_of(action, key)?;
    let root = tree
        .create_root()
        .map_err(|error| action.create_root(error))?;
    let fail = |errno| action.write(errno);
    let temporary = tree.temporary(&root).map_err(fail)?;
    temporary
        .write(body, tree.sync)
        .map_err(|error| action.io(error))?;
    let mut parents = Vec::new();
    let (folder, file) = match name.rsplit_once('/') {
        Some((folder, file)) => (
            &tree::create_folder(&root, folder, &mut parents).map_err(fail)?,
            file,
        ),
        None => (&root, name),
    };
    match mode {
        PutMode::Overwrite => temporary.replace(folder, file).map_err(fail)?,
        PutMode::IfAbsent => temporary.add(folder, file).map_err(|errno| match errno {
            Errno::EXIST => action.fail(RemoteErrorKind::Exists),
            errno => fail(errno),
        })?,
    }
    if tree.sync {
        tree::sync_folders(folder, &parents).map_err(fail)?;
    }
    Ok(())
}

#[async_trait]
impl Remote for FileRemote {
    fn url(&self) -> &str {
        &self.url
    }

    fn id(&self) -> RemoteId {
        RemoteId::of_url(&self.url)
    }

    fn local_dir(&self) -> Option<&Path> {
        let path = self.tree.path();
        let local = match self.local.get() {
            Some(local) => *local,
            None => {
                let (local, certain) = locality::is_local(path);
                // A root that is yet to be created may come to be on another filesystem.
                if certain {
                    let _ = self.local.set(local);
                }
                local
            }
        };
        local.then_some(path)
    }

    async fn get(&self, key: &ObjectKey, limit: u64) -> Result<Bytes, RemoteError> {
        let key = key.clone();
        self.blocking(FileAction::new("get", &key), move |tree, action| {
            read_object(tree, action, &key, RequestedBytes::Whole { limit })
        })
        .await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, RemoteError> {
        let key = key.clone();
        self.blocking(FileAction::new("get", &key), move |tree, action| {
            read_object(tree, action, &key, RequestedBytes::Range(range))
        })
        .await
    }

    async fn put(&self, key: &ObjectKey, body: Bytes, mode: PutMode) -> Result<(), RemoteError> {
        let key = key.clone();
        self.blocking(FileAction::new("put", &key), move |tree, action| {
            write_object(tree, action, &key, &body, mode)
        })
        .await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectInfo, RemoteError> {
        let key = key.clone();
        self.blocking(FileAction::new("head", &key), move |tree, action| {
            let root = tree.root().map_err(|errno| action.root(errno))?;
            let name = path_of(action, &key)?;
            let (size, modified) =
                tree::file_info(&root, name).map_err(|errno| action.read(errno))?;
            Ok(ObjectInfo {
                key,
                size,
                modified,
            })
        })
        .await
    }

    async fn list_page(&self, prefix: &str, _next: Option<&str>) -> Result<ListPage, RemoteError> {
        let prefix = prefix.to_owned();
        self.blocking(FileAction::new("list", &prefix), move |tree, action| {
            let root = tree.root().map_err(|errno| action.root(errno))?;
            let objects = tree::list_objects(&root, &prefix).map_err(|errno| action.list(errno))?;
            Ok(ListPage {
                objects,
                next: None,
            })
        })
        .await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), RemoteError> {
        let key = key.clone();
        self.blocking(FileAction::new("delete", &key), move |tree, action| {
            let root = tree.root().map_err(|errno| action.root(errno))?;
            match tree::remove_file(&root, path_of(action, &key)?) {
                Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
                Err(errno) => Err(action.write(errno)),
            }
        })
        .await
    }
}
