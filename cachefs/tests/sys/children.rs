//! This test binary, executed again in another role.

use std::ffi::OsString;
use std::path::PathBuf;

/// Names the role, and tells a re-executed test from one that someone ran by `--ignored`.
pub(crate) const ROLE: &str = "SYS_TEST_ROLE";

/// The file for the findings of a role.
pub(crate) const OUTPUT: &str = "SYS_TEST_OUTPUT";

pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

pub(crate) fn output() -> PathBuf {
    std::env::var_os(OUTPUT).unwrap().into()
}

pub(crate) fn this_binary() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// The arguments that make the binary run one ignored test only.
pub(crate) fn only(test: &str) -> Vec<OsString> {
    [
        test,
        "--exact",
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ]
    .map(OsString::from)
    .to_vec()
}
