//! The directory where a pod sees its volume: made, made read-only, and taken away.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use cachefs::mounts::{How, MountRecords, Presence, check_presence, unmount_path};
use cachefs::sys::mountinfo::MountTable;
use cachefs::{Error, StoreDir};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount_bind, mount_change, mount_remount,
};

use crate::output;

/// State of a volume's target path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TargetState {
    /// A mount of a cache that answers.
    Mounted,
    /// A mount whose daemon is gone.
    Dead,
    /// A cache was mounted before the node was restarted.
    Gone,
    /// A plain directory: nothing matched, the cache was out of reach, or it was copied.
    Plain,
    /// No directory.
    Nothing,
}

/// Looks at a place. Waits a few seconds at most for a mount that hangs.
pub(super) fn inspect_target(store: &StoreDir, target: &Path) -> cachefs::Result<TargetState> {
    let records = MountRecords::new(store);
    if let Some(record) = records.get(target)?
        && record.how == How::Mount
    {
        return Ok(match check_presence(&record, &records)? {
            Presence::Alive => TargetState::Mounted,
            Presence::Dead => TargetState::Dead,
            Presence::Absent | Presence::Hidden => TargetState::Gone,
        });
    }
    match fs::symlink_metadata(target) {
        Ok(_) => Ok(TargetState::Plain),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(TargetState::Nothing),
        Err(error) => Err(Error::io("look at", target)(error)),
    }
}

/// Makes the directory, open to every user of the pod as an `emptyDir` is. Nobody else gets there:
/// the directories above are kubelet's.
pub(super) fn make_target(target: &Path) -> cachefs::Result<()> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    }
    match fs::create_dir(target) {
        Ok(()) => fs::set_permissions(target, fs::Permissions::from_mode(0o777))
            .map_err(Error::io("change", target)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(Error::io("create", target)(error)),
    }
}

/// Makes the target read-only, unless it is.
///
/// A mount propagates to other namespaces with its present flags, and later changes stay here. So
/// we bind and remount it at `aside`, a directory of ours, and then bind that over the target.
pub(super) fn protect_target(target: &Path, aside: &Path) -> cachefs::Result<()> {
    let table = MountTable::read().map_err(Error::io("read", "/proc/self/mountinfo"))?;
    if table.topmost_at(target).is_some_and(|it| it.read_only) {
        return Ok(());
    }
    fs::create_dir_all(aside).map_err(Error::io("create", aside))?;
    let failed = |errno: rustix::io::Errno| Error::io("mount read-only", target)(errno.into());
    mount_bind(target, aside).map_err(failed)?;
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    let bound = mount_change(aside, MountPropagationFlags::PRIVATE)
        .and_then(|()| mount_remount(aside, flags, ""))
        .and_then(|()| mount_bind(aside, target));
    // It is at its place by now, or of no use.
    let away = rustix::mount::unmount(aside, UnmountFlags::DETACH);
    bound.and(away).map_err(failed)?;
    fs::remove_dir(aside).map_err(Error::io("remove", aside))
}

/// Takes away whatever a volume has left: mounts, the record, and the directory.
///
/// # Errors
///
/// When a mount cannot be taken away. Nothing below a mount is ever removed.
pub(super) fn clear_target(store: &StoreDir, target: &Path) -> cachefs::Result<()> {
    unprotect_target(target)?;
    let records = MountRecords::new(store);
    if records.get(target)?.is_some() {
        let done = match unmount_path(store, target, false) {
            // The pod is gone; the remaining user is a namespace that is ending.
            Err(Error::Unmount(error)) => {
                tracing::info!("{}", cachefs::describe_chain(&error));
                unmount_path(store, target, true)?
            }
            done => done?,
        };
        if done.dropped_changes {
            let path = output::format_path(target);
            output::log_text(&format!("note: discarded unsaved changes at {path}"));
        }
    }
    let table = MountTable::read().map_err(Error::io("read", "/proc/self/mountinfo"))?;
    let mut mounts = table.entries().iter();
    if let Some(mount) = mounts.find(|mount| mount.mount_point.starts_with(target)) {
        return Err(Error::State {
            message: format!(
                "something else is mounted at {}",
                mount.mount_point.display()
            ),
            hint: "unmount it; kubelet will retry".into(),
        });
    }
    match fs::remove_dir_all(target) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Error::io("remove", target)(error))
        }
        _ => Ok(()),
    }
}

/// Takes away read-only mounts over the place.
pub(super) fn unprotect_target(target: &Path) -> cachefs::Result<()> {
    loop {
        let table = MountTable::read().map_err(Error::io("read", "/proc/self/mountinfo"))?;
        if !table.topmost_at(target).is_some_and(|it| it.read_only) {
            return Ok(());
        }
        rustix::mount::unmount(target, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
            .map_err(|errno| Error::io("unmount", target)(errno.into()))?;
    }
}
