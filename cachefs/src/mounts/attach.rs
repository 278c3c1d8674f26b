//! Making the mounts of a restored path: the view, its image if it is one, and the overlay over it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use super::record::{MountRecord, MountRecords};
use super::refuse_hidden;
use crate::error::{Error, Result, describe_chain};
use crate::rpc::{DaemonClient, OpenedView};
use crate::sys::MountError;
use crate::sys::erofs_mount::{EROFS_TYPE, mount_erofs};
use crate::sys::fuse_mount::{FuseMountOptions, mount_fuse};
use crate::sys::mountinfo::MountTable;
use crate::sys::overlay::{OverlayLower, OverlayMount, OverlayOptions, mount_overlay};
use crate::sys::read_ahead::set_read_ahead;
use crate::sys::unmount::{UnmountError, UnmountOptions, unmount_entry, unmount_top};
use crate::sys::xattr;
use crate::view::{IMAGE, ViewForm};

/// How much the kernel reads ahead: as many frames as the daemon decodes while one is read.
const READ_AHEAD: u32 = 1 << 20;

/// Mounts a view and the overlay of a record. On failure nothing is left mounted.
///
/// `open` opens the view again: as a tree when the kernel does not take an image after all, and as
/// it was when the daemon's worker died before it served it.
pub(crate) fn attach_mount(
    client: &mut DaemonClient,
    records: &MountRecords,
    record: &MountRecord,
    view: OpenedView,
    open: impl Fn(&mut DaemonClient, ViewForm) -> Result<OpenedView>,
) -> Result<()> {
    let mut outcome = attach_form(client, records, record, view);
    if let Err(Error::Conversation(error)) = &outcome {
        tracing::info!("the daemon's worker died, retrying with the next one: {error}");
        let view = open(client, view.form)?;
        outcome = attach_form(client, records, record, view);
    }
    match outcome {
        Err(Error::Mount(error)) if view.form == ViewForm::Image && is_about_erofs(&error) => {
            tracing::info!("serving the view over FUSE: {}", describe_chain(&error));
            let view = open(client, ViewForm::Tree)?;
            attach_form(client, records, record, view)
        }
        other => other,
    }
}

fn is_about_erofs(error: &MountError) -> bool {
    match error {
        MountError::NotPermitted { filesystem, .. }
        | MountError::DeniedByPolicy { filesystem, .. }
        | MountError::FilesystemMissing(filesystem)
        | MountError::Refused { filesystem, .. } => *filesystem == EROFS_TYPE,
        _ => false,
    }
}

fn attach_form(
    client: &mut DaemonClient,
    records: &MountRecords,
    record: &MountRecord,
    view: OpenedView,
) -> Result<()> {
    let (seen, image) = (records.view(record), records.image(record));
    for directory in [&seen, &image, &records.upper(record), &records.work(record)] {
        fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
    }
    let fuse = match mount_fuse(&seen, &FuseMountOptions::default()) {
        Ok(fuse) => fuse,
        Err(error) => {
            client.close(view.view)?;
            return Err(error.into());
        }
    };
    let mounted = client
        .serve(view.view, view.form, &fuse)
        .and_then(|()| match view.form {
            ViewForm::Tree => {
                read_ahead(&seen);
                attach_overlay(records, record, &seen)
            }
            ViewForm::Image => {
                read_ahead(&seen);
                mount_erofs(&seen.join(IMAGE), &image)?;
                read_ahead(&image);
                attach_overlay(records, record, &image)
            }
        });
    if mounted.is_err() {
        let lazy = UnmountOptions {
            lazy: true,
            patience: Duration::ZERO,
        };
        for path in [&image, &seen] {
            let _ = unmount_top(path, lazy);
        }
    }
    mounted
}

fn read_ahead(path: &Path) {
    if let Err(error) = set_read_ahead(path, READ_AHEAD) {
        tracing::debug!("cannot set read-ahead: {error}");
    }
}

fn attach_overlay(records: &MountRecords, record: &MountRecord, lower: &Path) -> Result<()> {
    let (upper, work) = (records.upper(record), records.work(record));
    like_root(lower, &upper)?;
    let has_files = fs::read_dir(&record.path)
        .map_err(Error::io("read", &record.path))?
        .next()
        .is_some();
    // Existing files of the directory stay visible below the cache: a settings file in ~/.m2 must
    // not vanish because a cache is mounted there.
    let lowers: &[OverlayLower<'_>] = if has_files {
        &[OverlayLower::Dir(lower), OverlayLower::Target]
    } else {
        &[OverlayLower::Dir(lower)]
    };
    let options = OverlayOptions {
        volatile: true,
        ..OverlayOptions::for_caller()
    };
    mount_overlay(&OverlayMount {
        lowers,
        upper: &upper,
        work: &work,
        target: &record.path,
        options: &options,
    })?;
    Ok(())
}

/// Gives the upper directory the attributes of the view's root, because the overlay shows them.
fn like_root(lower: &Path, upper: &Path) -> Result<()> {
    if fs::read_dir(upper)
        .map_err(Error::io("read", upper))?
        .next()
        .is_some()
    {
        return Ok(());
    }
    let root = fs::metadata(lower).map_err(Error::io("read", lower))?;
    let own = fs::metadata(upper).map_err(Error::io("read", upper))?;
    if (own.uid(), own.gid()) != (root.uid(), root.gid()) {
        // Only root may give files away; for others the mount is theirs.
        let _ = std::os::unix::fs::chown(upper, Some(root.uid()), Some(root.gid()));
    }
    fs::set_permissions(upper, fs::Permissions::from_mode(root.mode() & 0o7777))
        .map_err(Error::io("change", upper))?;
    for (name, value) in
        xattr::of_directory(lower).map_err(Error::io("read attributes of", lower))?
    {
        let set = rustix::fs::setxattr(upper, &name, &value, rustix::fs::XattrFlags::empty());
        set.map_err(|errno| MountError::UpperAttribute {
            path: upper.to_owned(),
            name: name.to_string_lossy().into_owned(),
            bytes: value.len(),
            source: errno.into(),
        })?;
    }
    let file = fs::File::open(upper).map_err(Error::io("open", upper))?;
    root.modified()
        .and_then(|time| file.set_modified(time))
        .map_err(Error::io("change", upper))
}

/// Unmounts the overlay and the view of a record in this namespace, and detaches them from
/// containers.
pub(crate) fn detach_mount(records: &MountRecords, record: &MountRecord, lazy: bool) -> Result<()> {
    let options = UnmountOptions {
        lazy,
        patience: Duration::from_secs(1),
    };
    let table = MountTable::read().map_err(Error::io("read", "/proc/self/mountinfo"))?;
    refuse_hidden(&table, &record.path)?;
    // Otherwise a container that sees the overlay would keep writing into a deleted upper.
    records.attachments().detach_all(&record.path, lazy)?;
    if let Some(mount) = table.topmost_at(&record.path)
        && mount.is_cachefs_overlay()
    {
        unmount_entry(mount, options)?;
    }
    // The image keeps its view open as long as any namespace has a copy of its mount, for example a
    // container that is starting. All users of the view are gone by now.
    let detached = UnmountOptions {
        lazy: true,
        ..options
    };
    for (path, options) in [
        (records.image(record), options),
        (records.view(record), detached),
    ] {
        match unmount_top(&path, options) {
            Ok(()) | Err(UnmountError::NotMounted(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
