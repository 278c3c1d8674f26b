//! Exit codes, in one table.

use cachefs_store::ErrorKind;

/// All went well, a miss included.
pub(crate) const SUCCESS: u8 = 0;
/// The local machine failed, or files changed under a save.
pub(crate) const LOCAL: u8 = 1;
/// The command or the configuration is wrong.
pub(crate) const USAGE: u8 = 2;
/// A miss, with `--fail-on-cache-miss`; a key that `lookup` does not find.
pub(crate) const MISS: u8 = 3;
/// The remote or the credentials failed.
pub(crate) const BACKEND: u8 = 4;
/// Data is damaged; secrets were found and are to fail the save.
pub(crate) const INTEGRITY: u8 = 5;
/// Interrupted by a signal, as shells number it.
pub(crate) const INTERRUPTED: u8 = 130;

/// The code of an error.
pub(crate) fn exit_code(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Usage => USAGE,
        ErrorKind::Backend => BACKEND,
        ErrorKind::Integrity => INTEGRITY,
        ErrorKind::Local | ErrorKind::Changed => LOCAL,
        ErrorKind::Cancelled => INTERRUPTED,
    }
}

/// Whether `restore` and `save` turn an error into a warning: a cache must not fail a build, but
/// damage and wrong configuration are never passed over.
pub(crate) fn is_soft(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Backend | ErrorKind::Local | ErrorKind::Changed
    )
}

/// The worse of two codes, for commands with several operations: faults of the data or
/// with the command counts more than an outage, and an outage more than a miss.
pub(crate) fn worse_code(a: u8, b: u8) -> u8 {
    let rank = |code: u8| {
        [SUCCESS, MISS, LOCAL, BACKEND, USAGE, INTEGRITY, INTERRUPTED]
            .iter()
            .position(|known| *known == code)
    };
    if rank(b) > rank(a) { b } else { a }
}
