//! Re-executes this test binary in another role.

use std::ffi::OsString;
use std::path::PathBuf;

/// Names the role. It also distinguishes a re-executed test from a manual `--ignored` run.
pub(crate) const ROLE: &str = "SYS_TEST_ROLE";

/// File to which a role writes its result.
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

/// Arguments that make the binary run a single ignored test.
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
