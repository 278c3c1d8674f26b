//! Writes results to standard output.

use std::io::Write as _;
use std::sync::OnceLock;

/// The first failure to write results.
static FAILED: OnceLock<std::io::Error> = OnceLock::new();

/// Writes text to standard output without escaping. A closed pipe (`| head`) is no error; any other
/// failure is reported at the end of the command.
pub(crate) fn write_stdout(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes());
    if let Err(error) = written.and_then(|()| stdout.flush())
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        let _ = FAILED.set(error);
    }
}

/// The first failure to write results, if any.
pub(crate) fn write_failure() -> Option<&'static std::io::Error> {
    FAILED.get()
}
