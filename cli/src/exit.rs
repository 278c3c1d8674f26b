//! Exit codes.

use cachefs_store::ErrorKind;

/// Success, including a miss.
pub(crate) const SUCCESS: u8 = 0;
/// The local machine failed, or files changed during a save.
pub(crate) const LOCAL: u8 = 1;
/// The command line or the configuration is invalid.
pub(crate) const USAGE: u8 = 2;
/// A miss with `--fail-on-cache-miss`; a key that `lookup` did not find.
pub(crate) const MISS: u8 = 3;
/// The remote or the credentials failed.
pub(crate) const BACKEND: u8 = 4;
/// Data is damaged; or a save found secrets with `--secrets fail`.
pub(crate) const INTEGRITY: u8 = 5;
/// Interrupted by a signal: 128 plus SIGINT, as in shells.
pub(crate) const INTERRUPTED: u8 = 130;

/// The exit code of an error.
pub(crate) fn exit_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Usage => USAGE,
        ErrorKind::Backend => BACKEND,
        ErrorKind::Integrity => INTEGRITY,
        ErrorKind::Local | ErrorKind::Changed => LOCAL,
        ErrorKind::Cancelled => INTERRUPTED,
    }
}

/// Whether `restore` and `save` reduce an error to a warning. A cache must not fail a build, but
/// corruption and usage errors always do.
pub(crate) fn is_soft(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Backend | ErrorKind::Local | ErrorKind::Changed
    )
}

/// The worse of two codes, for commands with several operations. Corruption and usage errors
/// outrank an outage, and an outage outranks a miss.
pub(crate) fn worse_code(a: u8, b: u8) -> u8 {
    let rank = |code: u8| {
        [SUCCESS, MISS, LOCAL, BACKEND, USAGE, INTEGRITY, INTERRUPTED]
            .iter()
            .position(|known| *known == code)
    };
    if rank(b) > rank(a) { b } else { a }
}
