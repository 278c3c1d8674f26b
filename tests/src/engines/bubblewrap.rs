//! bubblewrap.

use super::{PATH, installed};
use crate::harness::Invocation;

/// Prepares a command in a sandbox of bubblewrap's that shows this machine's files, read-only, and
/// has a `/tmp` and a `/root` of its own; add mounts, `--` and the command. `None` when it is not
/// installed.
#[must_use]
pub fn bubblewrap() -> Option<Invocation> {
    installed("bubblewrap", &["bwrap"]).then(|| {
        let args = "--unshare-all --die-with-parent --ro-bind / / --dev /dev --proc /proc \
             --tmpfs /tmp --tmpfs /root";
        Invocation::new("bwrap", args.split_whitespace()).env("PATH", PATH)
    })
}
