//! Files below a directory, opened without following a link that leaves it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, SystemTime};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, ResolveFlags, Stat,
    flock, linkat, mkdirat, openat, openat2, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use super::durable::{sync_folder, sync_parents};
use super::temporary::TEMPORARY;
use crate::remote::{ObjectInfo, ObjectKey};

/// A folder that changes while it is listed is listed again, at most this many times.
const LISTINGS: usize = 4;
/// How long a writer waits for another one that is replacing the same empty object.
const REPLACING: Duration = Duration::from_secs(1);

/// How old a temporary file is when its writer is taken for dead.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

// A cache may be shared between users: the umask says how far.
const FOLDER_MODE: Mode = Mode::from_raw_mode(0o777);
const FILE_MODE: Mode = Mode::from_raw_mode(0o666);

/// The directory of a remote.
#[derive(Debug)]
pub(super) struct RemoteTree {
    path: PathBuf,
    /// Whether a write returns only when it survives a power cut.
    pub(super) sync: bool,
    swept: Once,
}

impl RemoteTree {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            sync: true,
            swept: Once::new(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the root. Repeated for every request, because the root may be removed or mounted over.
    pub(super) fn root(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        openat(CWD, &self.path, flags, Mode::empty())
    }

    pub(super) fn create_root(&self) -> io::Result<OwnedFd> {
        match self.root() {
            Err(Errno::NOENT) => {
                let present = self.path.ancestors().find(|path| path.exists());
                let present = present.map(Path::to_owned);
                fs::create_dir_all(&self.path)?;
                if self.sync {
                    sync_parents(&self.path, present.as_deref())?;
                }
                Ok(self.root()?)
            }
            root => Ok(root?),
        }
    }

    /// Creates an empty file that has no object's name yet.
    pub(super) fn temporary(&self, root: &OwnedFd) -> Result<Temporary, Errno> {
        let folder = create_folder(root, TEMPORARY, &mut Vec::new())?;
        self.swept.call_once(|| sweep_temporaries(&folder));
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
    /// Writes the body; with `sync` it is on the disk before the file gets its name. Otherwise a
    /// power cut can leave the name with an empty file.
    pub(super) fn write(&self, body: &[u8], sync: bool) -> io::Result<()> {
        (&self.file).write_all(body)?;
        if sync {
            self.file.sync_data()?;
        }
        Ok(())
    }

    /// Renames the file to `name`, and replaces an existing file.
    pub(super) fn replace(mut self, folder: &OwnedFd, name: &str) -> Result<(), Errno> {
        renameat(&self.folder, &self.name, folder, name)?;
        self.placed = true;
        Ok(())
    }

    /// Renames the file to `name`; fails with `EXIST` if another file has that name.
    ///
    /// An empty file is an object that a power cut truncated, so it counts as absent. If several
    /// writers replace it, one of them succeeds.
    pub(super) fn add(mut self, folder: &OwnedFd, name: &str) -> Result<(), Errno> {
        match self.add_new(folder, name) {
            Err(Errno::EXIST) => self.replace_empty(folder, name),
            done => done,
        }
    }

    /// The lock on the empty file decides which writer replaces it: a later one finds another file
    /// under the name.
    fn replace_empty(&mut self, folder: &OwnedFd, name: &str) -> Result<(), Errno> {
        let is_empty = |stat: &Stat| {
            FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_size == 0
        };
        if self.file.metadata().map_or(0, |metadata| metadata.len()) == 0 {
            return Err(Errno::EXIST);
        }
        // NFS grants exclusive locks on files that are open for writing only.
        let flags = OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let present = open_below(folder, name, flags | OFlags::RDWR)
            .or_else(|_| open_below(folder, name, flags | OFlags::RDONLY))
            .map_err(|_| Errno::EXIST)?;
        let found = rustix::fs::fstat(&present)?;
        if !is_empty(&found) {
            return Err(Errno::EXIST);
        }
        let started = std::time::Instant::now();
        while let Err(errno) = flock(&present, FlockOperation::NonBlockingLockExclusive) {
            if errno != Errno::WOULDBLOCK || started.elapsed() > REPLACING {
                return Err(Errno::EXIST);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let now = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|_| Errno::EXIST)?;
        if !is_empty(&now) || (now.st_dev, now.st_ino) != (found.st_dev, found.st_ino) {
            return Err(Errno::EXIST);
        }
        renameat(&self.folder, &self.name, folder, name)?;
        self.placed = true;
        Ok(())
    }

    fn add_new(&mut self, folder: &OwnedFd, name: &str) -> Result<(), Errno> {
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
            // A leftover is swept after a day.
            let _ = unlinkat(&self.folder, &self.name, AtFlags::empty());
        }
    }
}

/// Removes the temporary files of killed writers. Failing to is harmless: the next writer tries
/// again.
///
/// Everything goes through `folder`, the descriptor that this writer uses itself. In a shared
/// directory another user can exchange `.tmp` for a link at any time, and a sweep by path would
/// then delete that user's choice of files.
fn sweep_temporaries(folder: &OwnedFd) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(listed) = openat(folder, ".", flags, Mode::empty()).and_then(Dir::new) else {
        return;
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_or(0, |now| now.as_secs() as i64);
    for entry in listed.flatten() {
        let name = entry.file_name();
        if !is_temporary(name.to_bytes()) {
            continue;
        }
        let Ok(stat) = statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        let is_stale = now.saturating_sub(stat.st_mtime) > STALE.as_secs() as i64;
        if is_stale && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
            let _ = unlinkat(folder, name, AtFlags::empty());
        }
    }
}

/// Whether [`RemoteTree::temporary`] makes names like this.
fn is_temporary(name: &[u8]) -> bool {
    let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    name.len() == 16 && name.iter().all(is_digit)
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
    let Some((folders, name)) = path.rsplit_once('/') else {
        return openat(root, path, flags, Mode::empty());
    };
    let mut folder = openat(root, ".", FOLDER, Mode::empty())?;
    for segment in folders.split('/') {
        folder = openat(&folder, segment, FOLDER | OFlags::NOFOLLOW, Mode::empty())?;
    }
    openat(&folder, name, flags, Mode::empty())
}

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens the folder `path` and creates missing folders; `parents` collects the folders that may
/// have a new entry.
pub(super) fn create_folder(
    root: &OwnedFd,
    path: &str,
    parents: &mut Vec<OwnedFd>,
) -> Result<OwnedFd, Errno> {
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
        let next = open_below(&folder, segment, FOLDER)?;
        parents.push(std::mem::replace(&mut folder, next));
    }
    Ok(folder)
}

/// Makes the new name in `folder`, and new folders on the way to it, survive a power cut.
pub(super) fn sync_folders(folder: &OwnedFd, parents: &[OwnedFd]) -> Result<(), Errno> {
    std::iter::once(folder)
        .chain(parents)
        .try_for_each(sync_folder)
}

/// Opens an object of the remote in `root` for reading, as [`Remote::get`](crate::remote::Remote)
/// does: no link below the root is followed, and anything but a regular file is an error.
pub(crate) fn open_object(root: &Path, key: &ObjectKey) -> io::Result<File> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, root, flags, Mode::empty())?;
    Ok(open_file(&root, key.as_str())?.0)
}

/// Opens a regular file and reads its size.
pub(super) fn open_file(root: &OwnedFd, path: &str) -> Result<(File, u64), Errno> {
    // Only regular files are opened: opening a fifo can block, and opening a device can have side
    // effects.
    stat_regular(open_below(root, path, OFlags::PATH)?)?;
    let file = File::from(open_below(root, path, OFlags::RDONLY | OFlags::NONBLOCK)?);
    let size = stat_regular(&file)?.st_size as u64;
    Ok((file, size))
}

/// The size of a regular file, and when it was written.
pub(super) fn file_info(root: &OwnedFd, path: &str) -> Result<(u64, Option<u64>), Errno> {
    let stat = stat_regular(&open_below(root, path, OFlags::PATH)?)?;
    Ok((stat.st_size as u64, modified_micros(&stat)))
}

fn stat_regular(file: impl AsFd) -> Result<Stat, Errno> {
    let stat = rustix::fs::fstat(file)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(stat),
        // A folder of that name holds objects of longer names; no object has this name.
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
        // No object has that name; only objects below it exist.
        Err(Errno::ISDIR) => Ok(()),
        removed => removed,
    }
}

/// Lists the objects whose name starts with `prefix`, from the deepest folder that contains all
/// such names.
pub(super) fn list_objects(root: &OwnedFd, prefix: &str) -> Result<Vec<ObjectInfo>, Errno> {
    let (folder, mut start) = match prefix.rsplit_once('/') {
        // Such a folder cannot contain objects, and its name must not be opened.
        Some((folder, _)) if !holds_objects(folder) => return Ok(Vec::new()),
        Some((folder, start)) => (format!("{folder}/"), start),
        None => (String::new(), prefix),
    };
    let mut objects = Vec::new();
    // Names instead of open folders, because there may be more folders than the limit of open
    // files.
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        let (before, below) = (objects.len(), folders.len());
        for listing in 1..=LISTINGS {
            let changed = list_folder(root, &folder, start, &mut objects, &mut folders)?;
            if !changed {
                break;
            }
            if listing == LISTINGS {
                tracing::warn!(
                    "the listing of {folder} may be incomplete: the directory keeps changing"
                );
                break;
            }
            objects.truncate(before);
            folders.truncate(below);
        }
        start = "";
    }
    Ok(objects)
}

fn holds_objects(folder: &str) -> bool {
    ObjectKey::from_listing(folder).is_some() && folder.split('/').next() != Some(TEMPORARY)
}

/// Adds the objects directly in `folder` whose last segment begins with `start`, and its folders.
///
/// Returns whether the folder changed in the meantime. Then the list may lack an object that
/// existed all the time under one name or another: a record that supersedes another one is written
/// before that one is deleted, and a listing that saw neither would show no key.
fn list_folder(
    root: &OwnedFd,
    folder: &str,
    start: &str,
    objects: &mut Vec<ObjectInfo>,
    folders: &mut Vec<String>,
) -> Result<bool, Errno> {
    let path = folder.strip_suffix('/').unwrap_or(".");
    let opened = match open_below(root, path, OFlags::RDONLY | OFlags::DIRECTORY) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
        opened => opened?,
    };
    let changed = || rustix::fs::fstat(&opened).map(|stat| (stat.st_mtime, stat.st_mtime_nsec));
    let before = changed()?;
    let mut vanished = false;
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
            Err(Errno::NOENT) => {
                vanished = true;
                continue;
            }
            stat => stat?,
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => objects.push(ObjectInfo {
                key,
                size: stat.st_size as u64,
                modified: modified_micros(&stat),
            }),
            FileType::Directory => folders.push(format!("{key}/")),
            _ => {}
        }
    }
    Ok(vanished || changed()? != before)
}

/// When a file was written, in microseconds since 1970.
fn modified_micros(stat: &Stat) -> Option<u64> {
    let seconds = u64::try_from(stat.st_mtime).ok()?;
    let micros = stat.st_mtime_nsec / 1000;
    Some(seconds.saturating_mul(1_000_000).saturating_add(micros))
}
