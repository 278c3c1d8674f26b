//! Writing results to standard output.

use std::io::Write as _;
use std::sync::OnceLock;

/// The first failure to write results.
static FAILED: OnceLock<std::io::Error> = OnceLock::new();

/// Writes text to standard output as it is. A reader that has had enough (`| head`) is no error;
/// any other failure is reported when the command ends.
pub(crate) fn write_stdout(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes());
    if let Err(error) = written.and_then(|()| stdout.flush())
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        let _ = FAILED.set(error);
    }
}

/// Why results could not be written, if they could not.
pub(crate) fn write_failure() -> Option<&'static std::io::Error> {
    FAILED.get()
}
