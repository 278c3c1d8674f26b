//! bubblewrap sandboxes.

use super::{PATH, installed};
use crate::harness::Invocation;

/// Prepares a command in a bubblewrap sandbox. The sandbox sees this machine's files read-only and
/// has its own `/tmp` and `/root`. Append mounts, then `--` and the command. Returns `None` if
/// bubblewrap is not installed.
#[must_use]
pub fn bubblewrap() -> Option<Invocation> {
    installed("bubblewrap", &["bwrap"]).then(|| {
        let args = "--unshare-all --die-with-parent --ro-bind / / --dev /dev --proc /proc \
             --tmpfs /tmp --tmpfs /root";
        Invocation::new("bwrap", args.split_whitespace()).env("PATH", PATH)
    })
}
