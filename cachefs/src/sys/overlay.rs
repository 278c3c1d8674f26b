//! An overlayfs mount over one or more lower directories.
//!
//! Directories are opened first and passed to the kernel as descriptors, so names with `,` or `:`
//! need no escaping, and the directory mounted over can itself be the lowest layer: its own files
//! stay visible below the cache.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use cachefs_store::resolve_beneath::open_real_directory;
use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, fsconfig_create,
    fsconfig_set_fd, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, move_mount,
};

use super::filesystem::FilesystemKind;
use super::kernel::KernelVersion;
use super::mountinfo::{MountTable, OVERLAY_SOURCE, OVERLAY_TYPE};
use super::{MountError, namespace};

/// Where overlayfs records that an upper was written without syncing, relative to the work directory.
const VOLATILE_MARKER: &str = "work/incompat/volatile";

/// The first kernel whose overlay accepts lower layers one at a time.
const LOWERDIR_PLUS: KernelVersion = KernelVersion { major: 6, minor: 5 };

/// One lower layer.
#[derive(Debug, Clone, Copy)]
pub enum OverlayLower<'a> {
    /// This directory.
    Dir(&'a Path),
    /// The directory under the mount, with its present contents.
    Target,
}

/// Features of the kernel's overlay to request. `docs/mounting.md` has measurements of each one
/// over a FUSE lower.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlayOptions {
    /// Marks live in `user.overlay.*` instead of `trusted.overlay.*`. The kernel then refuses
    /// `redirect_dir`.
    pub userxattr: bool,
    /// A directory of a lower can be renamed (`rename(2)` answers EXDEV otherwise).
    pub redirect_dir: bool,
    /// Hard links stay together over copy-up. In a user namespace the kernel ignores it.
    pub index: bool,
    /// Nothing is synced to disk. The upper must be thrown away after a crash.
    pub volatile: bool,
}

impl OverlayOptions {
    /// Chooses the features that the caller's user namespace permits: renames for the machine's
    /// root, `userxattr` in a user namespace; `index` and `volatile` are off.
    pub fn for_caller() -> Self {
        let initial = namespace::in_initial_user_namespace();
        Self {
            userxattr: !initial,
            redirect_dir: initial,
            index: false,
            volatile: false,
        }
    }

    /// The `key=value` and flag options, in the order in which the kernel gets them.
    ///
    /// Distributions build kernels with other defaults, so root names every feature, on or off;
    /// with `userxattr` all but `xino` are off unless named. `metacopy` is never on: a differ would
    /// find files without their bytes. `xino` is never on: it sets bit 63 of the inode numbers of
    /// lower files. Node rounds such numbers to one value and takes two files for one, and 32-bit
    /// programs get EOVERFLOW from stat.
    fn settings(&self) -> Vec<(&'static str, Option<&'static str>)> {
        let mut settings = Vec::new();
        if self.userxattr {
            settings.push(("userxattr", None));
        }
        settings.push(("xino", Some("off")));
        let features = [
            ("redirect_dir", self.redirect_dir),
            ("index", self.index),
            ("metacopy", false),
        ];
        for (key, on) in features {
            if on || !self.userxattr {
                settings.push((key, Some(if on { "on" } else { "off" })));
            }
        }
        if self.volatile {
            settings.push(("volatile", None));
        }
        settings
    }
}

/// One overlay to mount.
#[derive(Debug, Clone, Copy)]
pub struct OverlayMount<'a> {
    /// The lower layers, topmost first; at least one.
    pub lowers: &'a [OverlayLower<'a>],
    /// Where changes go.
    pub upper: &'a Path,
    /// An empty directory for the kernel's own use, on the filesystem of `upper`.
    pub work: &'a Path,
    /// The mount point: absolute and free of symbolic links. Another user may be able to change its
    /// parent directories, so a link in the path is refused.
    pub target: &'a Path,
    /// Requested features.
    pub options: &'a OverlayOptions,
}

/// The directories of a mount, opened: from here on no path is resolved again.
struct OpenedOverlay {
    lowers: Vec<OwnedFd>,
    upper: OwnedFd,
    work: OwnedFd,
    target: OwnedFd,
}

/// Mounts an overlay, `nosuid,nodev`, with the source [`OVERLAY_SOURCE`].
///
/// Uses the mount API of file descriptors, and `mount(2)` where the kernel (before 6.5) or a
/// seccomp filter does not have it.
///
/// # Errors
/// Any [`MountError`]. Nothing is mounted then.
pub fn mount_overlay(request: &OverlayMount<'_>) -> Result<(), MountError> {
    let opened = open_all(request)?;
    refuse_busy_upper(request, &opened)?;
    let refused = match mount_by_context(request, &opened) {
        Ok(()) => return Ok(()),
        Err(MountAttempt::Unsupported) => match mount_by_string(request, &opened) {
            Ok(()) => return Ok(()),
            Err(errno) => (errno, String::new()),
        },
        Err(MountAttempt::Failed(errno, log)) => (errno, log),
    };
    Err(classify_refusal(request, &opened, refused.0, refused.1))
}

/// Whether a `volatile` mount wrote the upper of this work directory.
///
/// The kernel leaves the mark after a clean unmount, too, and refuses to mount such an upper again.
pub fn has_volatile_marker(work: &Path) -> bool {
    work.join(VOLATILE_MARKER).exists()
}

/// Removes the mark of a `volatile` mount, so that its upper can be mounted again.
///
/// Only valid if the machine has not crashed since the upper was written (same boot): otherwise
/// changes may be missing without a trace.
///
/// # Errors
/// Those of removing a directory; a missing mark is not an error.
pub fn clear_volatile_marker(work: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(work.join(VOLATILE_MARKER)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn open_all(request: &OverlayMount<'_>) -> Result<OpenedOverlay, MountError> {
    let target = open_real_directory(request.target, OFlags::RDONLY)
        .map_err(|errno| not_opened(request.target, "mount point", errno))?;
    let lowers = request
        .lowers
        .iter()
        .map(|lower| match lower {
            OverlayLower::Dir(path) => open_dir(path, "lower directory"),
            OverlayLower::Target => target.try_clone().map_err(|source| MountError::Directory {
                role: "mount point",
                path: request.target.to_owned(),
                source,
            }),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let upper = open_dir(request.upper, "upper directory")?;
    let work = open_dir(request.work, "work directory")?;
    if device_of(upper.as_fd()) != device_of(work.as_fd()) {
        return Err(MountError::WorkElsewhere {
            upper: request.upper.to_owned(),
            work: request.work.to_owned(),
        });
    }
    Ok(OpenedOverlay {
        lowers,
        upper,
        work,
        target,
    })
}

fn open_dir(path: &Path, role: &'static str) -> Result<OwnedFd, MountError> {
    // Not O_PATH: kernels before 6.15 do not take such a descriptor as a mount option.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
        .map_err(|errno| not_opened(path, role, errno))
}

fn not_opened(path: &Path, role: &'static str, errno: Errno) -> MountError {
    MountError::Directory {
        role,
        path: path.to_owned(),
        source: errno.into(),
    }
}

fn device_of(fd: BorrowedFd<'_>) -> Option<u64> {
    rustix::fs::fstat(fd).ok().map(|stat| stat.st_dev)
}

/// Refuses an upper that another overlay of this namespace has.
///
/// Without `index=on` the kernel only logs a warning and lets both mounts damage each other.
fn refuse_busy_upper(request: &OverlayMount<'_>, opened: &OpenedOverlay) -> Result<(), MountError> {
    let (Ok(table), Ok(wanted)) = (MountTable::read(), rustix::fs::fstat(&opened.upper)) else {
        return Ok(()); // without /proc there is nothing to compare with; the kernel has its say
    };
    for entry in table
        .entries()
        .iter()
        .filter(|entry| entry.fs_type == OVERLAY_TYPE)
    {
        let Some(upper) = entry.super_option("upperdir").map(PathBuf::from) else {
            continue;
        };
        // An overlay that was mounted by mount(2) shows another process's /proc/self/fd here.
        if !upper.is_absolute() || upper.starts_with("/proc") {
            continue;
        }
        let same = rustix::fs::stat(&upper)
            .is_ok_and(|stat| (stat.st_dev, stat.st_ino) == (wanted.st_dev, wanted.st_ino));
        if same {
            return Err(MountError::UpperBusy {
                path: request.upper.to_owned(),
                mounted_at: Some(entry.mount_point.clone()),
            });
        }
    }
    Ok(())
}

/// How an attempt through a mount context ended.
enum MountAttempt {
    /// The kernel lacks the calls or the options: try `mount(2)`.
    Unsupported,
    /// The kernel has the feature and refuses the mount, with its message.
    Failed(Errno, String),
}

fn mount_by_context(
    request: &OverlayMount<'_>,
    opened: &OpenedOverlay,
) -> Result<(), MountAttempt> {
    // Before 6.5 a context takes 256 bytes a value and no `lowerdir+`.
    if KernelVersion::running() < LOWERDIR_PLUS {
        return Err(MountAttempt::Unsupported);
    }
    let context = match fsopen(OVERLAY_TYPE, FsOpenFlags::FSOPEN_CLOEXEC) {
        Ok(context) => context,
        // A seccomp filter may refuse the newer call alone; mount(2) has the last word.
        Err(Errno::NOSYS | Errno::PERM) => return Err(MountAttempt::Unsupported),
        Err(errno) => return Err(MountAttempt::Failed(errno, String::new())),
    };
    let failed = |errno| MountAttempt::Failed(errno, kernel_log(&context));
    fsconfig_set_string(&context, "source", OVERLAY_SOURCE).map_err(failed)?;
    for lower in &opened.lowers {
        set_dir(&context, "lowerdir+", lower).map_err(failed)?;
    }
    set_dir(&context, "upperdir", &opened.upper).map_err(failed)?;
    set_dir(&context, "workdir", &opened.work).map_err(failed)?;
    for (key, value) in request.options.settings() {
        match value {
            Some(value) => fsconfig_set_string(&context, key, value).map_err(failed)?,
            None => fsconfig_set_flag(&context, key).map_err(failed)?,
        }
    }
    fsconfig_create(&context).map_err(failed)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let mounted = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(failed)?;
    let by_descriptor =
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&mounted, "", &opened.target, "", by_descriptor).map_err(failed)
}

/// Sets an option to a directory: by descriptor (6.13 and later), else by a path to the descriptor.
///
/// By descriptor, the mount table shows the directory's real path; that is worth the first try.
fn set_dir(context: &OwnedFd, key: &str, dir: &OwnedFd) -> Result<(), Errno> {
    match fsconfig_set_fd(context, key, dir) {
        Err(Errno::INVAL | Errno::BADF) => fsconfig_set_string(context, key, descriptor_path(dir)),
        done => done,
    }
}

fn descriptor_path(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn mount_by_string(request: &OverlayMount<'_>, opened: &OpenedOverlay) -> Result<(), Errno> {
    let lowers: Vec<_> = opened.lowers.iter().map(descriptor_path).collect();
    let mut data = format!(
        "lowerdir={},upperdir={},workdir={}",
        lowers.join(":"),
        descriptor_path(&opened.upper),
        descriptor_path(&opened.work)
    );
    for (key, value) in request.options.settings() {
        data.push(',');
        data.push_str(key);
        if let Some(value) = value {
            data.push('=');
            data.push_str(value);
        }
    }
    let data = std::ffi::CString::new(data).map_err(|_| Errno::INVAL)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    let target = descriptor_path(&opened.target);
    mount(
        OVERLAY_SOURCE,
        target.as_str(),
        OVERLAY_TYPE,
        flags,
        Some(data.as_c_str()),
    )
}

/// Reads the error lines of a mount context, joined.
fn kernel_log(context: &OwnedFd) -> String {
    let mut lines = Vec::new();
    let mut buffer = [0u8; 1024];
    // One read gives one message; ENODATA ends the list.
    while let Ok(count @ 1..) = rustix::io::read(context, &mut buffer) {
        let line = String::from_utf8_lossy(&buffer[..count]);
        let line = line.trim();
        lines.push(line.strip_prefix("e ").unwrap_or(line).to_owned());
    }
    lines.join("; ")
}

/// Finds the reason for a refusal, and inspects the filesystems if the errno is ambiguous.
fn classify_refusal(
    request: &OverlayMount<'_>,
    opened: &OpenedOverlay,
    errno: Errno,
    log: String,
) -> MountError {
    let upper = || request.upper.to_owned();
    let target = || request.target.to_owned();
    match errno {
        Errno::BUSY => MountError::UpperBusy {
            path: upper(),
            mounted_at: None,
        },
        Errno::LOOP => MountError::Overlapping(target()),
        Errno::STALE => MountError::UpperMismatch(upper()),
        Errno::ROFS => MountError::UpperUnsuitable {
            path: upper(),
            reason: "it is mounted read-only".to_owned(),
        },
        Errno::INVAL | Errno::OPNOTSUPP | Errno::REMOTE => {
            classify_invalid(request, opened, errno, log)
        }
        errno => MountError::from_mount(OVERLAY_TYPE, target(), log, errno),
    }
}

/// Finds the reason for "invalid argument", most certain reason first.
///
/// The kernel only explains it in its own log, which few users may read.
fn classify_invalid(
    request: &OverlayMount<'_>,
    opened: &OpenedOverlay,
    errno: Errno,
    log: String,
) -> MountError {
    let (upper, target) = (|| request.upper.to_owned(), || request.target.to_owned());
    let unsuitable = |reason: &str| MountError::UpperUnsuitable {
        path: upper(),
        reason: reason.to_owned(),
    };
    if has_volatile_marker(request.work) {
        return MountError::StaleVolatile(request.work.to_owned());
    }
    match FilesystemKind::of(opened.upper.as_fd()) {
        Ok(FilesystemKind::Overlay) => return MountError::UpperOnOverlay(upper()),
        Ok(kind) => {
            if let Some(reason) = kind.unfit_for_upper() {
                return unsuitable(reason);
            }
        }
        Err(_) => {}
    }
    if rustix::fs::fstatvfs(&opened.upper)
        .is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::RDONLY))
    {
        return unsuitable("it is mounted read-only");
    }
    let real = |fd: &OwnedFd| std::fs::read_link(descriptor_path(fd)).ok();
    if let (Some(upper), Some(work)) = (real(&opened.upper), real(&opened.work))
        && (upper.starts_with(&work) || work.starts_with(&upper))
    {
        return MountError::Overlapping(target());
    }
    // How deep a lower is stacked cannot be asked; that it is an overlay at all is reason enough
    // once everything else is excluded.
    let is_overlay = |fd: &OwnedFd| FilesystemKind::of(fd.as_fd()) == Ok(FilesystemKind::Overlay);
    if opened.lowers.iter().any(is_overlay) {
        return MountError::TooDeep(target());
    }
    MountError::from_mount(OVERLAY_TYPE, target(), log, errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_names_every_feature_and_a_user_namespace_only_what_is_on() {
        let mut options = OverlayOptions {
            userxattr: false,
            redirect_dir: true,
            index: false,
            volatile: true,
        };
        let keys = |options: &OverlayOptions| {
            options
                .settings()
                .into_iter()
                .map(|(key, value)| (key, value.unwrap_or_default()))
                .collect::<Vec<_>>()
        };
        let as_root = [
            ("xino", "off"),
            ("redirect_dir", "on"),
            ("index", "off"),
            ("metacopy", "off"),
            ("volatile", ""),
        ];
        assert_eq!(keys(&options), as_root);
        options.userxattr = true;
        options.redirect_dir = false;
        assert_eq!(
            keys(&options),
            [("userxattr", ""), ("xino", "off"), ("volatile", "")]
        );
    }

    /// Kernels before 6.5 get one string of options; newer ones still take it.
    #[test]
    fn the_form_for_older_kernels_mounts_the_same() {
        let temp = tempfile::tempdir().unwrap();
        let dir = |name: &str| {
            let path = temp.path().join(name);
            std::fs::create_dir(&path).unwrap();
            path
        };
        let (lower, upper, work, target) = (dir("a,b:c"), dir("u,p:r"), dir("w,k:s"), dir("t,g:t"));
        std::fs::write(lower.join("cached"), "cache").unwrap();
        std::fs::write(target.join("here"), "before").unwrap();
        let request = OverlayMount {
            lowers: &[OverlayLower::Dir(&lower), OverlayLower::Target],
            upper: &upper,
            work: &work,
            target: &target,
            options: &OverlayOptions::for_caller(),
        };
        if let Err(errno) = mount_by_string(&request, &open_all(&request).unwrap()) {
            let error =
                classify_refusal(&request, &open_all(&request).unwrap(), errno, String::new());
            assert!(error.is_environment(), "{error}");
            return cachefs_skip::skip("mount", error);
        }
        let read = |name: &str| std::fs::read_to_string(target.join(name));
        let seen = (read("cached"), read("here"));
        let table = MountTable::read();
        rustix::mount::unmount(&target, rustix::mount::UnmountFlags::DETACH).unwrap();
        assert_eq!(
            (seen.0.unwrap().as_str(), seen.1.unwrap().as_str()),
            ("cache", "before")
        );
        assert!(
            table
                .unwrap()
                .topmost_at(&target)
                .unwrap()
                .is_cachefs_overlay()
        );
    }
}
