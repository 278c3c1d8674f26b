//! Location of a remote's local copies in the store directory.

use std::fs::{self, DirEntry, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::remote::RemoteId;

/// Number of remotes that are remembered, the most recently used ones. Credentials that are created
/// for each job count as a new remote each time.
const KEPT: usize = 64;
/// The time of last use is written at most this often.
const TOUCH_EVERY: Duration = Duration::from_secs(600);

fn remotes_folder(root: &Path) -> PathBuf {
    root.join("remotes")
}

/// The folder of a remote.
pub(super) fn remote_folder(root: &Path, remote: &RemoteId) -> PathBuf {
    remotes_folder(root)
        .join(remote.place.to_string())
        .join(remote.client.to_string())
}

/// The entries of a directory; none if it cannot be read.
pub(super) fn directory_entries(directory: &Path) -> impl Iterator<Item = DirEntry> + use<> {
    fs::read_dir(directory).into_iter().flatten().flatten()
}

/// All remotes that there is something of.
pub(super) fn list_remotes(root: &Path) -> Vec<(RemoteId, PathBuf)> {
    let mut found = Vec::new();
    for place in directory_entries(&remotes_folder(root)) {
        for client in directory_entries(&place.path()) {
            let (place, name) = (place.file_name(), client.file_name());
            let place = place.to_str().and_then(|place| place.parse().ok());
            let client_id = name.to_str().and_then(|client| client.parse().ok());
            if let (Some(place), Some(client_id)) = (place, client_id) {
                let remote = RemoteId {
                    place,
                    client: client_id,
                };
                found.push((remote, client.path()));
            }
        }
    }
    found
}

/// Notes that a remote is used, and forgets those that were not for longest when it is a new one.
pub(super) fn note_remote_use(root: &Path, remote: &RemoteId) -> std::io::Result<()> {
    let folder = remote_folder(root, remote);
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified());
    if let Ok(last) = modified(&folder) {
        let is_due = last.elapsed().is_ok_and(|age| age > TOUCH_EVERY);
        return match is_due {
            true => File::open(&folder)?.set_modified(SystemTime::now()),
            false => Ok(()),
        };
    }
    fs::create_dir_all(&folder)?;
    let mut others: Vec<_> = list_remotes(root)
        .into_iter()
        .filter(|(other, _)| other != remote)
        .filter_map(|(_, path)| Some((modified(&path).ok()?, path)))
        .collect();
    others.sort_unstable();
    let excess = others.len().saturating_sub(KEPT - 1);
    for (_, path) in others.drain(..excess) {
        // Another process may remove it, too. A folder in use is created again.
        let _ = fs::remove_dir_all(path);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remotes_used_last_are_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let remote = |number: usize| RemoteId::of_url(&format!("remote:{number}"));
        for number in 0..KEPT + 10 {
            note_remote_use(dir.path(), &remote(number)).unwrap();
            let age = Duration::from_secs(10_000 - number as u64);
            let folder = File::open(remote_folder(dir.path(), &remote(number))).unwrap();
            folder.set_modified(SystemTime::now() - age).unwrap();
            // The first one is used all the time.
            note_remote_use(dir.path(), &remote(0)).unwrap();
        }
        let left = list_remotes(dir.path());
        assert_eq!(left.len(), KEPT);
        let has = |number| left.iter().any(|(left, _)| *left == remote(number));
        assert!(has(0) && !has(1) && !has(10) && has(11) && has(KEPT + 9));
    }
}
