//! The target directory of a volume: creates it, makes it read-only, and removes it.

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
    /// A cache is mounted, and its daemon responds.
    Mounted,
    /// A mount whose daemon is gone.
    Dead,
    /// A cache was mounted before the node rebooted.
    Gone,
    /// A plain directory: a miss, an unreachable remote, or a copied cache.
    Plain,
    /// No directory exists.
    Nothing,
}

/// Inspects a target path. Waits at most a few seconds for a mount that hangs.
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

/// Creates the directory with write access for every user of the pod, like an `emptyDir`. Other
/// users of the node cannot reach it, because its parents are kubelet's.
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

/// Makes the target read-only, unless it is already.
///
/// A mount propagates to other namespaces with its current flags; later changes stay local. So we
/// bind and remount it at `aside`, a directory of ours, and then bind that over the target.
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
    // The mount at `aside` is now bound to the target, or the bind failed.
    let away = rustix::mount::unmount(aside, UnmountFlags::DETACH);
    bound.and(away).map_err(failed)?;
    fs::remove_dir(aside).map_err(Error::io("remove", aside))
}

/// Removes everything that a volume left: mounts, the record, and the directory.
///
/// # Errors
///
/// If a mount cannot be removed. Never deletes anything below a mount.
pub(super) fn clear_target(store: &StoreDir, target: &Path) -> cachefs::Result<()> {
    unprotect_target(target)?;
    let records = MountRecords::new(store);
    if records.get(target)?.is_some() {
        let done = match unmount_path(store, target, false) {
            // The pod is gone, so only a namespace that is being destroyed still holds the mount.
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

/// Removes the read-only mounts over the target.
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
