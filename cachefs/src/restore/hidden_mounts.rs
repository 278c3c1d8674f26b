//! Caches below a path over which another one is mounted.

use std::path::Path;

use crate::sys::mountinfo::MountTable;

/// Says which mounted caches a new mount at a path hides: nobody can reach or save them as long as
/// it is there.
pub(super) fn hidden_mounts_note(path: &Path) -> Option<String> {
    note_from(&MountTable::read().ok()?, path)
}

fn note_from(table: &MountTable, path: &Path) -> Option<String> {
    let mut hidden: Vec<_> = table
        .entries()
        .iter()
        .filter(|mount| mount.is_cachefs_overlay() && mount.mount_point.starts_with(path))
        .map(|mount| &mount.mount_point)
        .filter(|at| {
            table
                .hiding(at)
                .is_some_and(|over| over.mount_point == path)
        })
        .map(|at| at.display().to_string())
        .collect();
    hidden.dedup();
    (!hidden.is_empty()).then(|| {
        format!(
            "this mount hides the caches at {}, which were mounted before; unmount it to save them, \
             and restore outer paths first",
            hidden.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_caches_from_before_are_hidden() {
        let table = b"\
21 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
30 21 0:40 / /proj/nm rw - overlay cachefs rw\n\
31 21 0:41 / /proj rw - overlay cachefs rw\n\
32 31 0:42 / /proj/later rw - overlay cachefs rw\n\
33 21 0:43 / /project rw - overlay cachefs rw\n";
        let table = MountTable::parse(table).unwrap();
        let note = note_from(&table, Path::new("/proj")).unwrap();
        assert!(note.contains("caches at /proj/nm,"), "{note}");
        assert_eq!(note_from(&table, Path::new("/project")), None);
    }
}
