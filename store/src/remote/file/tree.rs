//! Files below one directory, reached without following a link out of it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, SystemTime};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, ResolveFlags, linkat, mkdirat, openat,
    openat2, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use super::TEMPORARY;
use crate::remote::{ObjectInfo, ObjectKey};

/// How old a temporary file is when its writer is taken for dead.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

// A cache may be shared between users: the umask says how far.
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o777);
const FILE_MODE: Mode = Mode::from_raw_mode(0o666);

/// The directory of a remote.
#[derive(Debug)]
pub(super) struct Tree {
    path: PathBuf,
    swept: Once,
}

impl Tree {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            swept: Once::new(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the root. Done anew for every request, because it may be removed or mounted over.
    pub(super) fn root(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, &self.path, flags, Mode::empty())
    }

    pub(super) fn create_root(&self) -> io::Result<OwnedFd> {
        match self.root() {
            Err(Errno::NOENT) => {
                fs::create_dir_all(&self.path)?;
                Ok(self.root()?)
            }
            root => Ok(root?),
        }
    }

    /// Creates an empty file that has no object's name yet.
    pub(super) fn temporary(&self, root: &OwnedFd) -> Result<Temporary, Errno> {
        let folder = create_folder(root, TEMPORARY)?;
        self.swept.call_once(|| sweep(&self.path.join(TEMPORARY)));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        loop {
            let name = format!("{:016x}", fastrand::u64(..));
            match openat(&folder, &name, flags, FILE_MODE) {
                Ok(file) => {
                    return Ok(Temporary {
                        folder,
                        name,
                        file: file.into(),
                        placed: false,
                    });
                }
                Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// A file being written; removed when dropped before it got its name.
pub(super) struct Temporary {
    folder: OwnedFd,
    name: String,
    file: File,
    placed: bool,
}

impl Temporary {
    pub(super) fn write(&self, body: &[u8]) -> io::Result<()> {
        (&self.file).write_all(body)
    }

    /// Gives the file its name, instead of what has it now.
    pub(super) fn replace(mut self, folder: &OwnedFd, name: &str) -> Result<(), Errno> {
        renameat(&self.folder, &self.name, folder, name)?;
        self.placed = true;
        Ok(())
    }

    /// Gives the file its name, or fails with `EXIST` when something has it.
    pub(super) fn add(mut self, folder: &OwnedFd, name: &str) -> Result<(), Errno> {
        let flags = RenameFlags::NOREPLACE;
        match renameat_with(&self.folder, &self.name, folder, name, flags) {
            Ok(()) => {
                self.placed = true;
                Ok(())
            }
            // Some filesystems, NFS among them, have no such rename; a link is as exclusive.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                linkat(&self.folder, &self.name, folder, name, AtFlags::empty())
            }
            Err(errno) => Err(errno),
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.placed {
            // What stays behind here is swept in a day.
            let _ = unlinkat(&self.folder, &self.name, AtFlags::empty());
        }
    }
}

/// Removes what writers left that were killed. Failing to is harmless: the files are in the way of
/// nothing, and another writer tries again.
fn sweep(folder: &Path) {
    let now = SystemTime::now();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified
            .ok()
            .and_then(|modified| now.duration_since(modified).ok());
        if age.is_some_and(|age| age > STALE) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Opens a path below `root`; a symbolic link anywhere in it is `LOOP`.
fn open_below(root: impl AsFd, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    match openat2(&root, path, flags, Mode::empty(), resolve) {
        // Old kernels lack the call and some sandboxes refuse it. Then go down step by step.
        // It also gives up when something is renamed meanwhile.
        Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => open_stepwise(root.as_fd(), path, flags),
        opened => opened,
    }
}

fn open_stepwise(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    match path.split_once('/') {
        None => openat(root, path, flags, Mode::empty()),
        Some((first, rest)) => {
            let folder = openat(root, first, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
            open_stepwise(folder.as_fd(), rest, flags)
        }
    }
}

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens the folder `path`, creating what is missing of it.
pub(super) fn create_folder(root: &OwnedFd, path: &str) -> Result<OwnedFd, Errno> {
    match open_below(root, path, FOLDER) {
        Err(Errno::NOENT) => {}
        opened => return opened,
    }
    let mut folder = open_below(root, ".", FOLDER)?;
    for segment in path.split('/') {
        match mkdirat(&folder, segment, FOLDER_MODE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        folder = open_below(&folder, segment, FOLDER)?;
    }
    Ok(folder)
}

/// Opens a regular file and reads its size.
pub(super) fn open_file(root: &OwnedFd, path: &str) -> Result<(File, u64), Errno> {
    // A fifo in an object's place must not block the reader.
    let file = File::from(open_below(root, path, OFlags::RDONLY | OFlags::NONBLOCK)?);
    let size = regular_size(&file)?;
    Ok((file, size))
}

/// Reads the size of a regular file.
pub(super) fn file_size(root: &OwnedFd, path: &str) -> Result<u64, Errno> {
    regular_size(&open_below(root, path, OFlags::PATH)?)
}

fn regular_size(file: impl AsFd) -> Result<u64, Errno> {
    let stat = rustix::fs::fstat(file)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(stat.st_size as u64),
        // A folder of that name holds objects of longer names; there is no object of this one.
        FileType::Directory => Err(Errno::NOENT),
        FileType::Symlink => Err(Errno::LOOP),
        _ => Err(Errno::INVAL),
    }
}

/// Removes the file `path`.
pub(super) fn remove_file(root: &OwnedFd, path: &str) -> Result<(), Errno> {
    let removed = match path.rsplit_once('/') {
        Some((folder, file)) => unlinkat(open_below(root, folder, FOLDER)?, file, AtFlags::empty()),
        None => unlinkat(root, path, AtFlags::empty()),
    };
    match removed {
        // There is no object of that name, only objects below it.
        Err(Errno::ISDIR) => Ok(()),
        removed => removed,
    }
}

/// Lists the objects whose name starts with `prefix`, from the deepest folder that holds them all.
pub(super) fn list(root: &OwnedFd, prefix: &str) -> Result<Vec<ObjectInfo>, Errno> {
    let (folder, mut start) = match prefix.rsplit_once('/') {
        // No object can be in such a folder, and its name is not one to open.
        Some((folder, _)) if !holds_objects(folder) => return Ok(Vec::new()),
        Some((folder, start)) => (format!("{folder}/"), start),
        None => (String::new(), prefix),
    };
    let mut objects = Vec::new();
    // Names, not open folders: there may be more of them than a process may have open.
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        list_folder(root, &folder, start, &mut objects, &mut folders)?;
        start = "";
    }
    Ok(objects)
}

fn holds_objects(folder: &str) -> bool {
    ObjectKey::from_listing(folder).is_some() && folder.split('/').next() != Some(TEMPORARY)
}

/// Adds the objects directly in `folder` whose last segment begins with `start`, and its folders.
fn list_folder(
    root: &OwnedFd,
    folder: &str,
    start: &str,
    objects: &mut Vec<ObjectInfo>,
    folders: &mut Vec<String>,
) -> Result<(), Errno> {
    let path = folder.strip_suffix('/').unwrap_or(".");
    let opened = match open_below(root, path, OFlags::RDONLY | OFlags::DIRECTORY) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        opened => opened?,
    };
    for entry in Dir::read_from(&opened)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        if !name.starts_with(start) {
            continue;
        }
        // Also leaves out `.` and `..`.
        let Some(key) = ObjectKey::from_listing(&format!("{folder}{name}")) else {
            continue;
        };
        if !holds_objects(key.as_str()) {
            continue;
        }
        let stat = match statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW) {
            // Removed while we look.
            Err(Errno::NOENT) => continue,
            stat => stat?,
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => objects.push(ObjectInfo {
                key,
                size: stat.st_size as u64,
            }),
            FileType::Directory => folders.push(format!("{key}/")),
            _ => {}
        }
    }
    Ok(())
}
