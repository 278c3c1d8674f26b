//! Classes of errors.

/// The class of an [`Error`](crate::Error), which decides between retry, fallback and failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The caller asked for something that can't be: fix the command or the configuration.
    Usage,
    /// The remote or the way to it failed: try again, or fix credentials.
    Backend,
    /// The bytes do not match their name. Callers must fail: this is never treated as a miss.
    Integrity,
    /// The local machine failed: permissions, disk, descriptors.
    Local,
    /// Files changed while they were being saved: save again when the build is done.
    Changed,
    /// The caller asked for the work to stop.
    Cancelled,
}
