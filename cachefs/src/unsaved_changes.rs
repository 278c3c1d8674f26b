//! `unsaved/` in a store directory: changes that no save took up, for people to look at.
//!
//! A job that ends without an `umount` leaves its changes in a mount. The next job at that path must
//! not see or save them, and nobody but their owner can say whether they matter. They are kept for a
//! week, and up to a limit, so that a machine whose jobs are often cancelled does not run out of disk.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cachefs_store::id::SaveId;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, utimensat};

use crate::error::{Error, Result};
use crate::store_dir::StoreDir;
use crate::sys::remove_tree::remove_tree;

/// How long a directory is kept.
const KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How much all directories may occupy, in bytes.
const LIMIT: u64 = 5_000_000_000;

/// For how long at most the limit leaves alone the other directories that this process added: all those
/// of one command are named in its output.
const FRESH: Duration = Duration::from_secs(10 * 60);

/// The longest part of a path's name in the name of a directory, in bytes.
const NAME: usize = 64;

/// When this process added its first directory.
static FIRST: OnceLock<SystemTime> = OnceLock::new();

/// Unsaved changes of an earlier restore that were found at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsavedChanges {
    /// Number of entries that were added, changed or removed; a removed directory counts as one.
    pub changes: u64,
    /// Where they were moved; `None` if they are still at the path.
    pub moved_to: Option<PathBuf>,
}

/// The directory `unsaved/` of a store.
#[derive(Debug, Clone)]
pub struct Unsaved {
    root: PathBuf,
}

/// Number and size of the directories in `unsaved/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct UnsavedAmount {
    /// Number of directories, one for each path and job.
    pub directories: u64,
    /// Bytes that they occupy on the disk.
    pub bytes: u64,
    /// When the oldest was set aside, in microseconds since 1970.
    pub oldest_micros: Option<u64>,
}

/// One directory.
#[derive(Debug)]
struct KeptDirectory {
    path: PathBuf,
    since: SystemTime,
}

impl Unsaved {
    /// That of a store.
    pub fn new(store: &StoreDir) -> Self {
        Self {
            root: store.unsaved(),
        }
    }

    /// Moves a directory of the store here, and removes others beyond the limits of age and size.
    /// `name` shows people where it was. Returns its new path.
    ///
    /// # Errors
    ///
    /// When it cannot be moved. Directories that cannot be removed stay.
    pub fn add(&self, directory: &Path, name: &OsStr) -> Result<PathBuf> {
        fs::create_dir_all(&self.root).map_err(Error::io("create", &self.root))?;
        FIRST.get_or_init(SystemTime::now);
        // The age of a directory counts from its own time, as far as it can be set.
        let new = match touch_directory(directory) {
            Ok(()) => format!("{}-{}", SaveId::now(), plain_name(name)),
            Err(_) => SaveId::now().to_string(),
        };
        let new = self.root.join(new);
        move_to(directory, &new).map_err(Error::io("move", directory))?;
        self.limit(Some(&new), LIMIT);
        Ok(new)
    }

    /// Removes directories that are too old. It takes no longer than listing them, if none is.
    pub fn remove_old(&self) {
        let now = SystemTime::now();
        for kept in self.all() {
            if now.duration_since(kept.since).is_ok_and(|age| age > KEPT) {
                remove_kept(&kept.path);
            }
        }
    }

    /// Removes directories that are too old, and the oldest while all together are too large.
    pub fn tidy(&self) {
        self.limit(None, LIMIT);
    }

    /// Measures all directories.
    pub fn amount(&self) -> UnsavedAmount {
        let all = self.all();
        let since =
            |kept: &KeptDirectory| kept.since.duration_since(UNIX_EPOCH).unwrap_or_default();
        UnsavedAmount {
            directories: all.len() as u64,
            bytes: all.iter().map(|kept| disk_usage(&kept.path)).sum(),
            oldest_micros: all.first().map(|kept| since(kept).as_micros() as u64),
        }
    }

    /// Removes directories that are too old, then the oldest until at most `limit` bytes are left.
    /// Keeps `new`.
    fn limit(&self, new: Option<&Path>, limit: u64) {
        self.remove_old();
        let mut left = 0;
        let now = SystemTime::now();
        for kept in self.all().into_iter().rev() {
            left += disk_usage(&kept.path);
            if left > limit && new != Some(&kept.path) && !kept.is_fresh(now) {
                remove_kept(&kept.path);
            }
        }
    }

    /// All directories, the oldest first.
    fn all(&self) -> Vec<KeptDirectory> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let mut all: Vec<_> = entries
            .filter_map(|entry| {
                let modified = entry.metadata().and_then(|entry| entry.modified()).ok()?;
                Some(KeptDirectory {
                    since: set_aside_time(&entry.file_name(), modified),
                    path: entry.path(),
                })
            })
            .collect();
        all.sort_by(|a, b| (a.since, &a.path).cmp(&(b.since, &b.path)));
        all
    }
}

impl KeptDirectory {
    fn is_fresh(&self, now: SystemTime) -> bool {
        let is_ours = FIRST.get().is_some_and(|first| self.since >= *first);
        is_ours && now.duration_since(self.since).is_ok_and(|age| age < FRESH)
    }
}

/// When a directory was set aside: its own time, or the one in its name if that is earlier. Earlier
/// versions did not set its time, and named it by a time only.
fn set_aside_time(name: &OsStr, modified: SystemTime) -> SystemTime {
    let name = name.to_string_lossy();
    let (id, path) = match name.split_once('-') {
        Some((id, path)) => (id, Some(path)),
        None => (&*name, None),
    };
    let named = id
        .parse::<SaveId>()
        .ok()
        .and_then(|id| UNIX_EPOCH.checked_add(Duration::from_micros(id.micros)));
    match (named, path) {
        (Some(named), None) => named,
        (Some(named), Some(_)) => named.min(modified),
        (None, _) => modified,
    }
}

/// The last part of a path in letters that every shell takes as they are.
fn plain_name(name: &OsStr) -> String {
    let name = name.to_string_lossy();
    let letter = |letter: char| match letter {
        letter if letter.is_ascii_alphanumeric() || "._-".contains(letter) => letter,
        _ => '_',
    };
    name.chars().map(letter).take(NAME).collect()
}

fn touch_directory(directory: &Path) -> io::Result<()> {
    let time = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
    let times = Timestamps {
        last_access: time(UTIME_OMIT),
        last_modification: time(UTIME_NOW),
    };
    Ok(utimensat(
        CWD,
        directory,
        &times,
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

/// Renames a directory. For that an ordinary user must be allowed to write in it, as its `..` changes.
fn move_to(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let permissions = fs::symlink_metadata(from)?.permissions();
            fs::set_permissions(from, Permissions::from_mode(permissions.mode() | 0o700))?;
            fs::rename(from, to)?;
            fs::set_permissions(to, permissions)
        }
        other => other,
    }
}

fn remove_kept(directory: &Path) {
    let removed = match fs::symlink_metadata(directory) {
        Ok(metadata) if metadata.is_dir() => remove_tree(directory),
        Ok(_) => fs::remove_file(directory),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            tracing::warn!("cannot remove {}: {error}", directory.display());
        }
        _ => {}
    }
}

/// Disk usage of a directory tree, in bytes. Unreadable entries count as 0.
fn disk_usage(directory: &Path) -> u64 {
    let mut bytes = 0;
    let mut linked = HashSet::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(path) = pending.pop() {
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            continue;
        };
        if metadata.is_dir() {
            let entries = fs::read_dir(&path).into_iter().flatten().flatten();
            pending.extend(entries.map(|entry| entry.path()));
        } else if metadata.nlink() > 1 && !linked.insert((metadata.dev(), metadata.ino())) {
            continue;
        }
        bytes += metadata.blocks() * 512;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    struct Fixture {
        dir: tempfile::TempDir,
        unsaved: Unsaved,
    }

    impl Fixture {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let store = StoreDir::open(&dir.path().join("store"), "unused".into(), 0).unwrap();
            let unsaved = Unsaved::new(&store);
            fs::create_dir(&unsaved.root).unwrap();
            Self { dir, unsaved }
        }

        /// A directory as an earlier process left it, with 64 KiB in it.
        fn with(&self, name: &str, age: Duration) -> PathBuf {
            let path = self.unsaved.root.join(name);
            fs::create_dir(&path).unwrap();
            fs::write(path.join("file"), vec![1; 64 << 10]).unwrap();
            let time = SystemTime::now() - age;
            fs::File::open(&path).unwrap().set_modified(time).unwrap();
            path
        }

        fn id(age: Duration) -> String {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - age;
            let micros = since.as_micros() as u64;
            SaveId { micros, nonce: 1 }.to_string()
        }
    }

    #[test]
    fn directories_go_after_a_week_however_that_is_told() {
        let fixture = Fixture::new();
        let now = Duration::ZERO;
        let by_time = fixture.with(&format!("{}-m", Fixture::id(now)), 8 * DAY);
        let by_name = fixture.with(&format!("{}-m", Fixture::id(8 * DAY)), now);
        let foreign = fixture.with("foreign", 8 * DAY);
        let of_earlier_version = fixture.with(&Fixture::id(8 * DAY), now);
        // Its time is that of the directory in the cache.
        let fresh = fixture.with(&Fixture::id(DAY), 400 * DAY);
        let young = fixture.with(&format!("{}-m", Fixture::id(now)), 6 * DAY);
        fixture.unsaved.remove_old();
        for gone in [by_time, by_name, foreign, of_earlier_version] {
            assert!(!gone.exists(), "{}", gone.display());
        }
        assert!(fresh.exists() && young.exists());
        assert_eq!(fixture.unsaved.amount().directories, 2);
    }

    #[test]
    fn the_oldest_go_when_all_are_too_large_and_never_the_one_just_added() {
        let fixture = Fixture::new();
        let names = [3, 2, 1].map(|days| format!("{}-m", Fixture::id(days * DAY)));
        let [oldest, older, newest] = names.map(|name| fixture.with(&name, Duration::ZERO));
        let one = disk_usage(&newest);
        assert!(one >= 64 << 10);
        fixture.unsaved.limit(None, 2 * one);
        assert!(!oldest.exists() && older.exists() && newest.exists());
        fixture.unsaved.limit(Some(&newest), 0);
        assert!(!older.exists() && newest.exists());
    }

    #[test]
    fn what_is_added_counts_from_then_and_keeps_its_permissions() {
        let fixture = Fixture::new();
        let upper = fixture.dir.path().join("upper");
        fs::create_dir(&upper).unwrap();
        fs::write(upper.join("file"), "changed").unwrap();
        let long_ago = SystemTime::now() - 400 * DAY;
        fs::File::open(&upper)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        fs::set_permissions(&upper, Permissions::from_mode(0o555)).unwrap();
        let added = fixture
            .unsaved
            .add(&upper, OsStr::new("node modules"))
            .unwrap();
        assert!(added.to_str().unwrap().ends_with("-node_modules"));
        fixture.unsaved.tidy();
        assert_eq!(fs::read(added.join("file")).unwrap(), b"changed");
        assert_eq!(
            fs::metadata(&added).unwrap().permissions().mode() & 0o777,
            0o555
        );
        let amount = fixture.unsaved.amount();
        assert_eq!(amount.directories, 1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let minute = 60 * 1_000_000;
        assert!(amount.oldest_micros.unwrap() > now.as_micros() as u64 - minute);
    }
}
