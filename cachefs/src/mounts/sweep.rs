//! Removes leftovers of ended containers from a store directory.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::MountRecords;
use super::record::noted_identity;
use crate::sys::mount_namespace::identity_in_boot;
use crate::sys::mountinfo::MountTable;
use crate::sys::remove_tree::remove_tree;

/// The inode number of the machine's own PID namespace (`PROC_PID_INIT_INO` in the kernel).
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// How long the changes of a container that has ended are kept for people to look at.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

impl MountRecords {
    /// Removes the folders of ended mount namespaces, including the changes in them.
    ///
    /// A container that restores into a shared store directory ends without an `umount`, and its
    /// folder would stay for ever. Only a process that sees all others can know that a namespace
    /// has ended, so nothing is removed from inside a container. Folders that cannot be removed
    /// stay.
    pub(crate) fn sweep(&self) {
        let old = self.foreign_and_old(SystemTime::now());
        if old.is_empty() || !sees_all_processes() {
            return;
        }
        let Some(living) = Living::now() else { return };
        for (name, namespace) in old {
            let identity = noted_identity(&self.root().join(&name));
            if !living.has(namespace, identity.as_deref())
                && let Err(error) = remove_tree(&self.root().join(&name))
            {
                tracing::debug!("cannot remove {name} of a stopped container: {error}");
            }
        }
    }

    /// The folders of other namespaces in which nothing was restored or saved for long.
    fn foreign_and_old(&self, now: SystemTime) -> Vec<(String, u64)> {
        let folders = fs::read_dir(self.root()).into_iter().flatten().flatten();
        let old = |path: &Path| {
            let changed = fs::metadata(path.join("record.json")).and_then(|file| file.modified());
            changed.is_ok_and(|time| now.duration_since(time).is_ok_and(|age| age > KEPT))
        };
        folders
            .filter_map(|folder| {
                let name = folder.file_name().into_string().ok()?;
                let (namespace, _) = name.split_once('-')?;
                let namespace = u64::from_str_radix(namespace, 16).ok()?;
                let is_own = namespace == self.namespace() && !self.is_of_another(&folder.path());
                let wanted = !is_own && old(&folder.path());
                wanted.then_some((name, namespace))
            })
            .collect()
    }
}

fn sees_all_processes() -> bool {
    let initial = fs::metadata("/proc/self/ns/pid")
        .is_ok_and(|namespace| namespace.ino() == INITIAL_PID_NAMESPACE);
    initial && rustix::process::geteuid().is_root()
}

/// The mount namespaces that there are: those of processes, and those that something keeps open by a
/// mount of their file.
#[derive(Debug, Default)]
struct Living {
    /// The identities of those that processes are in, by inode number.
    of_processes: HashMap<u64, HashSet<Option<String>>>,
    /// Inode numbers of namespaces whose file is mounted.
    mounted: HashSet<u64>,
}

impl Living {
    /// `None` if they cannot be determined.
    fn now() -> Option<Self> {
        let mut found = Self::default();
        for process in fs::read_dir("/proc").ok()?.flatten() {
            let name = process.file_name();
            if !name.as_encoded_bytes().iter().all(u8::is_ascii_digit) {
                continue;
            }
            if let Ok(namespace) = File::open(process.path().join("ns/mnt"))
                && let Ok(metadata) = namespace.metadata()
            {
                let identities = found.of_processes.entry(metadata.ino()).or_default();
                identities.insert(identity_in_boot(&namespace));
            }
            // A file of a namespace may be mounted in another.
            let table = fs::read(process.path().join("mountinfo")).unwrap_or_default();
            let table = MountTable::parse(&table).unwrap_or_default();
            found
                .mounted
                .extend(table.entries().iter().filter_map(|mount| {
                    let name = mount.root.to_str()?.strip_prefix("mnt:[")?;
                    name.strip_suffix(']')?.parse::<u64>().ok()
                }));
        }
        Some(found)
    }

    /// Whether a namespace may still be there. One with the number of a folder that does not say which
    /// namespace it is of may be that one.
    fn has(&self, number: u64, identity: Option<&str>) -> bool {
        let is_it = |living: &Option<String>| match (identity, living) {
            (Some(noted), Some(living)) if names_namespace(noted) && names_namespace(living) => {
                noted == living
            }
            (Some(noted), Some(living)) => boot_of(noted) == boot_of(living),
            _ => true,
        };
        let of_processes = self.of_processes.get(&number);
        self.mounted.contains(&number) || of_processes.is_some_and(|it| it.iter().any(is_it))
    }
}

/// Whether an identity has the number that the kernel gives a namespace only once.
fn names_namespace(identity: &str) -> bool {
    identity.starts_with(|c: char| c.is_ascii_digit())
}

fn boot_of(identity: &str) -> Option<&str> {
    identity.split(' ').next_back()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(records: &MountRecords, name: &str, age: Duration) {
        let folder = records.root().join(name);
        fs::create_dir_all(folder.join("upper")).unwrap();
        let record = fs::File::create(folder.join("record.json")).unwrap();
        record.set_modified(SystemTime::now() - age).unwrap();
    }

    #[test]
    fn what_ended_containers_left_goes_and_everything_else_stays() {
        let temp = tempfile::tempdir().unwrap();
        let store = crate::StoreDir::open(temp.path(), "unused".into(), 0).unwrap();
        let records = MountRecords::new(&store);
        let day = Duration::from_secs(24 * 60 * 60);
        let own = format!("{:x}-own", records.namespace());
        folder(&records, &own, day * 9);
        folder(&records, "1-old", day * 2);
        folder(&records, "2-new", day / 2);
        fs::create_dir(records.root().join("other")).unwrap();
        let old = records.foreign_and_old(SystemTime::now());
        assert_eq!(old, [("1-old".to_owned(), 1)]);
        records.sweep();
        let left = |name: &str| records.root().join(name).exists();
        assert!(left(&own) && left("2-new") && left("other"));
        assert_eq!(left("1-old"), !sees_all_processes());
        let living = Living::now().unwrap();
        assert!(living.has(records.namespace(), records.identity()));
    }

    #[test]
    fn a_folder_goes_when_a_later_namespace_has_its_number() {
        let of_processes = HashMap::from([(7, HashSet::from([Some("70 boot".to_owned())]))]);
        let living = Living {
            of_processes,
            mounted: HashSet::from([8]),
        };
        for (number, identity, is_there) in [
            (7, Some("70 boot"), true),
            (7, Some("60 boot"), false),
            (7, Some("70 before"), false),
            // The number of the first process, from before Linux 6.11.
            (7, Some("p1 boot"), true),
            (7, Some("p1 before"), false),
            (7, None, true),
            (8, Some("60 boot"), true),
            (9, Some("70 boot"), false),
            (9, None, false),
        ] {
            assert_eq!(
                living.has(number, identity),
                is_there,
                "{number} {identity:?}"
            );
        }
    }
}
