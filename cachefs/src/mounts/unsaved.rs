//! The unsaved changes of a mount.
//!
//! A change is defined as for a save: an entry that was added, removed, or differs from the lower
//! one in content or metadata. A directory that only differs in its modification time is unchanged,
//! and so is a file that was opened for writing but not modified, which the kernel copies up
//! nevertheless.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::record::{How, MountRecord, MountRecords};
use super::{Presence, check_presence};
use crate::sys::namespace::in_initial_user_namespace;
use crate::sys::upper::{MarkNamespace, SavedXattr, marks_at, saved_xattr};

/// Counts the changes of a restored path that no save has taken up. A directory that was removed counts
/// as one. A copy has none, because nothing takes its files away.
///
/// Only the mount's own directories are looked at: this neither reads content nor asks the remote.
/// A directory that cannot be read counts as one change.
pub fn unsaved_changes(records: &MountRecords, record: &MountRecord) -> u64 {
    if record.how == How::Copy {
        return 0;
    }
    let since = record.taken_up();
    let lower = match check_presence(record, records) {
        _ if since > 0 => None,
        Ok(Presence::Alive) => Some(lower_directory(records, record)),
        _ => None,
    };
    count_changes(&records.upper(record), lower.as_deref(), since)
}

/// The lower directory of the overlay: the image if there is one, otherwise the view.
fn lower_directory(records: &MountRecords, record: &MountRecord) -> PathBuf {
    let image = records.image(record);
    let is_mounted = || -> io::Result<bool> {
        let parent = image.parent().unwrap_or(&image);
        Ok(fs::metadata(&image)?.dev() != fs::metadata(parent)?.dev())
    };
    match is_mounted() {
        Ok(true) => image,
        _ => records.view(record),
    }
}

/// Counts the entries of an upper directory that are other than in the lower one; where that is not
/// given, the entries but directories that changed after `since`, in microseconds since 1970.
fn count_changes(upper: &Path, lower: Option<&Path>, since: u64) -> u64 {
    // The root of the upper was created like that of the lower, as far as this user's rights
    // permit.
    let permissions = |root: &Path| fs::metadata(root).map(|root| root.mode()).ok();
    let is_root_changed =
        lower.is_some_and(|lower| upper.exists() && permissions(upper) != permissions(lower));
    let mut changes = u64::from(is_root_changed);
    let mut pending = vec![PathBuf::new()];
    while let Some(directory) = pending.pop() {
        let before = pending.len();
        match count_in(&directory, upper, lower, since, &mut pending) {
            Ok(found) => changes += found,
            Err(error)
                if error.kind() == ErrorKind::NotFound && directory.as_os_str().is_empty() => {}
            Err(_) => {
                pending.truncate(before);
                changes += 1;
            }
        }
    }
    changes
}

/// Counts those directly in one directory, and adds its directories to `pending`.
fn count_in(
    directory: &Path,
    upper: &Path,
    lower: Option<&Path>,
    since: u64,
    pending: &mut Vec<PathBuf>,
) -> io::Result<u64> {
    let mut changes = 0;
    for entry in fs::read_dir(upper.join(directory))? {
        let path = directory.join(entry?.file_name());
        let above = upper.join(&path);
        let metadata = fs::symlink_metadata(&above)?;
        let is_change = match lower {
            Some(lower) if metadata.is_dir() => {
                is_other_directory(&above, &metadata, &lower.join(&path))?
            }
            Some(lower) => is_other(&above, &metadata, &lower.join(&path))?,
            None => !metadata.is_dir() && change_time(&metadata) > i128::from(since),
        };
        changes += u64::from(is_change);
        if metadata.is_dir() {
            pending.push(path);
        }
    }
    Ok(changes)
}

fn change_time(metadata: &Metadata) -> i128 {
    i128::from(metadata.ctime()) * 1_000_000 + i128::from(metadata.ctime_nsec() / 1000)
}

fn absent_or(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn is_other_directory(above: &Path, metadata: &Metadata, below: &Path) -> io::Result<bool> {
    let Some(lower) = absent_or(below)?.filter(Metadata::is_dir) else {
        return Ok(true);
    };
    let (parent, name) = (
        above.parent().unwrap_or(above),
        above.file_name().unwrap_or_default(),
    );
    let marks = marks_at(
        fs::File::open(parent)?.as_fd(),
        name.as_bytes(),
        mark_namespace(),
    )?;
    Ok(marks.opaque
        || marks.redirect.is_some()
        || mode_and_owner(metadata) != mode_and_owner(&lower)
        || own_xattrs(above) != own_xattrs(below))
}

fn is_other(above: &Path, metadata: &Metadata, below: &Path) -> io::Result<bool> {
    let lower = absent_or(below)?;
    // A whiteout of something that another writer took away below, or that never was there.
    if metadata.file_type().is_char_device() && metadata.rdev() == 0 {
        return Ok(lower.is_some());
    }
    let Some(lower) = lower else { return Ok(true) };
    let times = |it: &Metadata| (it.mtime(), it.mtime_nsec());
    let is_same = mode_and_owner(metadata) == mode_and_owner(&lower)
        && metadata.len() == lower.len()
        && metadata.rdev() == lower.rdev()
        && times(metadata) == times(&lower)
        && (!metadata.is_symlink() || fs::read_link(above)? == fs::read_link(below)?)
        && own_xattrs(above) == own_xattrs(below);
    Ok(!is_same)
}

/// Type and permissions, and the owner.
fn mode_and_owner(metadata: &Metadata) -> (u32, u32, u32) {
    (metadata.mode(), metadata.uid(), metadata.gid())
}

fn mark_namespace() -> MarkNamespace {
    match in_initial_user_namespace() {
        true => MarkNamespace::Trusted,
        false => MarkNamespace::User,
    }
}

/// The entry's own attributes; none if the filesystem does not support any.
fn own_xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 64 << 10];
    let Ok(length) = rustix::fs::llistxattr(path, &mut names) else {
        return BTreeMap::new();
    };
    let mut value = vec![0; 64 << 10];
    let mut own = BTreeMap::new();
    for name in names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let kept = match saved_xattr(name, mark_namespace()) {
            SavedXattr::Keep => name.to_vec(),
            SavedXattr::Rename(kept) => kept,
            SavedXattr::Strip => continue,
        };
        if let Ok(text) = CString::new(name)
            && let Ok(length) = rustix::fs::lgetxattr(path, &*text, &mut value)
        {
            own.insert(kept, value[..length].to_vec());
        }
    }
    own
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::time::{Duration, SystemTime};

    use super::*;

    struct Pair {
        _dir: tempfile::TempDir,
        upper: PathBuf,
        lower: PathBuf,
    }

    /// Two directories with the same file, link and directory.
    fn pair() -> Pair {
        let dir = tempfile::tempdir().unwrap();
        let (upper, lower) = (dir.path().join("upper"), dir.path().join("lower"));
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for side in [&upper, &lower] {
            fs::create_dir_all(side.join("d")).unwrap();
            fs::write(side.join("d/f"), "content").unwrap();
            File::options()
                .write(true)
                .open(side.join("d/f"))
                .unwrap()
                .set_modified(then)
                .unwrap();
        }
        fs::write(lower.join("only-below"), "x").unwrap();
        Pair {
            _dir: dir,
            upper,
            lower,
        }
    }

    #[test]
    fn what_was_only_copied_up_is_no_change() {
        let Pair { upper, lower, _dir } = pair();
        assert_eq!(count_changes(&upper, Some(&lower), 0), 0);
        // A temporary file leaves the directory with another time.
        fs::write(upper.join("d/temporary"), "").unwrap();
        fs::remove_file(upper.join("d/temporary")).unwrap();
        assert_eq!(count_changes(&upper, Some(&lower), 0), 0);
    }

    #[test]
    fn whatever_a_save_would_take_up_is_one() {
        let changes: [fn(&Path); 5] = [
            |upper| fs::write(upper.join("d/new"), "").unwrap(),
            |upper| fs::write(upper.join("d/f"), "changed").unwrap(),
            |upper| fs::create_dir(upper.join("new-directory")).unwrap(),
            |upper| symlink("x", upper.join("only-below")).unwrap(),
            |upper| {
                fs::set_permissions(upper.join("d/f"), fs::Permissions::from_mode(0o755)).unwrap()
            },
        ];
        for change in changes {
            let Pair { upper, lower, _dir } = pair();
            change(&upper);
            assert_eq!(count_changes(&upper, Some(&lower), 0), 1);
        }
    }

    #[test]
    fn after_a_save_only_what_came_later_counts() {
        let Pair { upper, _dir, .. } = pair();
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        let later = now.as_micros() as u64 + 1_000_000;
        assert_eq!(count_changes(&upper, None, later), 0);
        assert_eq!(count_changes(&upper, None, 1), 1);
    }

    #[test]
    fn every_change_is_counted() {
        let Pair { upper, lower, _dir } = pair();
        fs::create_dir(upper.join("new")).unwrap();
        fs::write(upper.join("new/file"), "").unwrap();
        fs::write(upper.join("d/new"), "").unwrap();
        fs::write(upper.join("only-below"), "changed").unwrap();
        assert_eq!(count_changes(&upper, Some(&lower), 0), 4);
        fs::set_permissions(&upper, fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(count_changes(&upper, Some(&lower), 0), 5);
        assert_eq!(count_changes(&upper.join("absent"), Some(&lower), 0), 0);
    }
}
