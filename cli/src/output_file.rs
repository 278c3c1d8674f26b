//! Output files named by the user.
//!
//! A regular file is replaced atomically: we write a temporary file next to it and rename that,
//! following links. So a failure keeps the old content, and a reader never sees partial content.
//! All other targets are only written to: a device, a pipe or `/dev/stdout` must not be replaced by
//! a file.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal as _, Seek as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cachefs::paths::real_path;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use tempfile::NamedTempFile;

/// The target of a file name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NamedTarget {
    /// An open descriptor of this process, for example from `/dev/stdout` or `/dev/fd/3`.
    Descriptor(i32),
    /// A device, a pipe or a socket.
    Special(PathBuf),
    /// A regular file or a missing one, with links resolved.
    Regular(PathBuf),
}

/// An output file that is being written.
#[derive(Debug)]
pub(crate) struct NamedFile {
    to: To,
}

#[derive(Debug)]
enum To {
    Stream(File),
    Staged(Box<Staged>),
}

/// The new content of a regular file.
#[derive(Debug)]
struct Staged {
    content: NamedContent,
    target: PathBuf,
    /// Metadata of the existing file, if any.
    old: Option<Metadata>,
}

#[derive(Debug)]
enum NamedContent {
    /// A temporary file in the target's directory.
    Beside(NamedTempFile),
    /// A temporary file elsewhere, to be copied: we cannot create files in the target's directory.
    Elsewhere(File),
}

impl NamedTarget {
    /// Determines the target of a file name.
    ///
    /// # Errors
    ///
    /// If it cannot be examined, or is a directory.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        if let Some(descriptor) = descriptor_of(path) {
            return Ok(Self::Descriptor(descriptor));
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => Err(ErrorKind::IsADirectory.into()),
            Ok(metadata) if metadata.is_file() => Ok(Self::Regular(path.canonicalize()?)),
            Ok(_) => Ok(Self::Special(path.to_owned())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::Regular(real_path(path))),
            Err(error) => Err(error),
        }
    }

    /// Whether it is a stream, so that the name's extension has no meaning.
    pub(crate) fn is_stream(&self) -> bool {
        !matches!(self, Self::Regular(_))
    }
}

impl NamedFile {
    /// Opens a target for new content. For a named pipe, waits for a reader.
    ///
    /// # Errors
    ///
    /// If it cannot be written to.
    pub(crate) fn create(target: NamedTarget) -> io::Result<Self> {
        let to = match target {
            NamedTarget::Descriptor(number) => To::Stream(duplicate_descriptor(number)?),
            NamedTarget::Special(path) => To::Stream(OpenOptions::new().write(true).open(path)?),
            NamedTarget::Regular(path) => To::Staged(Box::new(Staged::new(path)?)),
        };
        Ok(Self { to })
    }

    /// A handle to write to.
    ///
    /// # Errors
    ///
    /// If the process has too many open files.
    pub(crate) fn writer(&self) -> io::Result<File> {
        match &self.to {
            To::Stream(file) => file.try_clone(),
            To::Staged(staged) => staged.file().try_clone(),
        }
    }

    pub(crate) fn is_terminal(&self) -> bool {
        matches!(&self.to, To::Stream(file) if file.is_terminal())
    }

    /// Moves the content to the target. Without this call, a regular file keeps its old content.
    ///
    /// # Errors
    ///
    /// If the file cannot be replaced or written to.
    pub(crate) fn commit(self) -> io::Result<()> {
        match self.to {
            To::Stream(_) => Ok(()),
            To::Staged(staged) => staged.commit(),
        }
    }
}

impl Staged {
    fn new(target: PathBuf) -> io::Result<Self> {
        let old = fs::metadata(&target).ok();
        let directory = target.parent().unwrap_or(Path::new("/"));
        let beside = tempfile::Builder::new()
            .prefix(".cachefs-")
            .suffix(".part")
            // The umask applies, as for every new file.
            .permissions(fs::Permissions::from_mode(0o666))
            .tempfile_in(directory);
        let content = match beside {
            Ok(file) => NamedContent::Beside(file),
            Err(_) if old.is_some() => NamedContent::Elsewhere(tempfile::tempfile()?),
            Err(error) => {
                // If the directory does not exist, return that error instead.
                fs::metadata(directory)?;
                return Err(error);
            }
        };
        Ok(Self {
            content,
            target,
            old,
        })
    }

    fn file(&self) -> &File {
        match &self.content {
            NamedContent::Beside(file) => file.as_file(),
            NamedContent::Elsewhere(file) => file,
        }
    }

    fn commit(self) -> io::Result<()> {
        let Self {
            content,
            target,
            old,
        } = self;
        let has_other_names = old.as_ref().is_some_and(|old| old.nlink() > 1);
        match content {
            NamedContent::Beside(file)
                if !has_other_names && copy_attributes(file.as_file(), old.as_ref()) =>
            {
                match file.persist(&target) {
                    Ok(_) => Ok(()),
                    // A bind-mounted file, for example in a container, cannot be replaced.
                    Err(failed) if old.is_some() => copy_into(failed.file.into_file(), &target),
                    Err(failed) => Err(failed.error),
                }
            }
            NamedContent::Beside(file) => copy_into(file.into_file(), &target),
            NamedContent::Elsewhere(file) => copy_into(file, &target),
        }
    }
}

/// Copies the owner and permissions of the replaced file; returns false if that fails.
fn copy_attributes(file: &File, old: Option<&Metadata>) -> bool {
    let Some(old) = old else { return true };
    let Ok(own) = file.metadata() else {
        return false;
    };
    let is_theirs = (own.uid(), own.gid()) == (old.uid(), old.gid())
        || fchown(file, Some(old.uid()), Some(old.gid())).is_ok();
    is_theirs && file.set_permissions(old.permissions()).is_ok()
}

fn copy_into(mut from: File, to: &Path) -> io::Result<()> {
    let mut to = OpenOptions::new().write(true).truncate(true).open(to)?;
    from.rewind()?;
    io::copy(&mut from, &mut to).map(drop)
}

/// The descriptor of this process that a path refers to, through links such as `/dev/stdout`.
fn descriptor_of(path: &Path) -> Option<i32> {
    const MAX_LINKS: usize = 40;
    let own = real_path(Path::new("/proc/self"));
    let mut path = std::path::absolute(path).ok()?;
    for _ in 0..MAX_LINKS {
        let name = path.file_name()?.to_owned();
        // Only the last component may be one of the kernel's magic links.
        let parent = real_path(path.parent()?);
        let inside = parent.strip_prefix(&own).ok();
        if inside.is_some_and(|inside| inside.ends_with("fd")) {
            return name.to_str()?.parse().ok();
        }
        path = parent.join(fs::read_link(parent.join(&name)).ok()?);
    }
    None
}

/// Duplicates a descriptor; both share their position and flags.
fn duplicate_descriptor(number: i32) -> io::Result<File> {
    let owned = match number {
        1 => {
            io::stdout().flush()?;
            io::stdout().as_fd().try_clone_to_owned()?
        }
        2 => io::stderr().as_fd().try_clone_to_owned()?,
        number => {
            let this = pidfd_open(getpid(), PidfdFlags::empty());
            match this.and_then(|this| pidfd_getfd(this, number, PidfdGetfdFlags::empty())) {
                Ok(owned) => owned,
                // A container's seccomp policy may forbid `pidfd_getfd`.
                Err(_) => {
                    let path = format!("/proc/self/fd/{number}");
                    return OpenOptions::new().append(true).open(path);
                }
            }
        }
    };
    Ok(File::from(owned))
}

/// Appends with a single write, because other steps write to the file as well.
pub(crate) fn append_text(path: &Path, text: &str) -> io::Result<()> {
    let mut file = match descriptor_of(path) {
        Some(number) => duplicate_descriptor(number)?,
        None if NamedTarget::of(path)?.is_stream() => {
            let file = open_soon(path, PIPE_PATIENCE)?;
            return write_soon(file, text.as_bytes(), PIPE_PATIENCE);
        }
        None => OpenOptions::new().create(true).append(true).open(path)?,
    };
    file.write_all(text.as_bytes())
}

/// Maximum time to wait for a reader of a pipe.
const PIPE_PATIENCE: Duration = Duration::from_secs(5);

/// Opens a device or a pipe for a report, but does not block the build if nobody reads it.
fn open_soon(path: &Path, patience: Duration) -> io::Result<File> {
    let started = Instant::now();
    loop {
        let opened = OpenOptions::new()
            .write(true)
            .custom_flags(OFlags::NONBLOCK.bits() as i32)
            .open(path);
        match opened {
            Err(error) if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => {}
            opened => return opened,
        }
        if started.elapsed() >= patience {
            return Err(io::Error::new(
                ErrorKind::TimedOut,
                format!("nobody reads from it for {} s", patience.as_secs()),
            ));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Writes to a non-blocking pipe, as long as its reader makes progress.
fn write_soon(mut file: File, mut text: &[u8], patience: Duration) -> io::Result<()> {
    let mut since = Instant::now();
    while !text.is_empty() {
        match file.write(text) {
            Ok(written) => {
                text = &text[written..];
                since = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && since.elapsed() < patience => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Replaces the content of a file; creates its parent directories. Gives up on a pipe without a
/// reader after a few seconds.
pub(crate) fn replace_text(path: &Path, text: &str) -> io::Result<()> {
    let target = NamedTarget::of(path)?;
    if let NamedTarget::Regular(path) = &target
        && let Some(parent) = path.parent()
    {
        fs::create_dir_all(parent)?;
    }
    if let NamedTarget::Special(path) = &target {
        let file = open_soon(path, PIPE_PATIENCE)?;
        return write_soon(file, text.as_bytes(), PIPE_PATIENCE);
    }
    let file = NamedFile::create(target)?;
    file.writer()?.write_all(text.as_bytes())?;
    file.commit()
}

/// Reads a regular file; returns an empty string for anything else, which may be endless.
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    match NamedTarget::of(path)? {
        NamedTarget::Regular(path) => match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            text => text,
        },
        _ => Ok(String::new()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::{FileTypeExt as _, symlink};

    use super::*;

    #[test]
    fn a_link_stays_a_link_and_the_file_behind_it_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("real", &link).unwrap();
        replace_text(&link, "new").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
        symlink("sub/missing", dir.path().join("dangling")).unwrap();
        replace_text(&dir.path().join("dangling"), "made").unwrap();
        let made = fs::read_to_string(dir.path().join("sub/missing"));
        assert_eq!(made.unwrap(), "made");
        let names = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(names, 4, "something was left beside");
    }

    #[test]
    fn all_names_of_a_file_get_the_new_content() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        fs::write(&one, "a longer text").unwrap();
        fs::hard_link(&one, &other).unwrap();
        replace_text(&one, "new").unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "new");
    }

    #[test]
    fn a_file_that_is_not_committed_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.tar");
        for old in [None, Some("old")] {
            if let Some(old) = old {
                fs::write(&path, old).unwrap();
            }
            let file = NamedFile::create(NamedTarget::of(&path).unwrap()).unwrap();
            file.writer().unwrap().write_all(b"half").unwrap();
            drop(file);
            assert_eq!(fs::read_to_string(&path).ok().as_deref(), old);
            let names = fs::read_dir(dir.path()).unwrap().count();
            assert_eq!(names, usize::from(old.is_some()));
        }
    }

    #[test]
    fn a_pipe_is_written_to_and_never_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).unwrap();
        assert_eq!(read_text(&path).unwrap(), "");
        let reader = {
            let path = path.clone();
            std::thread::spawn(move || fs::read_to_string(path).unwrap())
        };
        replace_text(&path, "through the pipe").unwrap();
        assert_eq!(reader.join().unwrap(), "through the pipe");
        assert!(fs::metadata(&path).unwrap().file_type().is_fifo());
    }

    #[test]
    fn a_device_is_written_to() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("null");
        symlink("/dev/null", &link).unwrap();
        replace_text(&link, "gone").unwrap();
        append_text(&link, "gone").unwrap();
        assert!(link.is_symlink());
        assert!(NamedTarget::of(&link).unwrap().is_stream());
    }

    #[test]
    fn names_of_descriptors_are_descriptors() {
        use std::os::fd::AsRawFd as _;
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("stdout");
        symlink("/proc/self/fd/1", &link).unwrap();
        for path in ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"] {
            assert_eq!(descriptor_of(Path::new(path)), Some(1), "{path}");
        }
        assert_eq!(descriptor_of(&link), Some(1));
        assert_eq!(descriptor_of(Path::new("/dev/null")), None);
        // A file that a shell has opened is written at the shell's position, not replaced.
        let path = dir.path().join("log");
        let mut shell = File::create(&path).unwrap();
        shell.write_all(b"before ").unwrap();
        let named = PathBuf::from(format!("/dev/fd/{}", shell.as_raw_fd()));
        replace_text(&named, "written").unwrap();
        shell.write_all(b" after").unwrap();
        let mut text = String::new();
        File::open(&path)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text, "before written after");
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
        .unwrap();
        let error = open_soon(&pipe, Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        // More than the buffer of a pipe.
        let text = "x".repeat(200_000);
        let read = std::thread::scope(|scope| {
            let reader = scope.spawn(|| fs::read_to_string(&pipe));
            replace_text(&pipe, &text).unwrap();
            reader.join().unwrap().unwrap()
        });
        assert_eq!(read, text);
    }
}
