//! Skips a test when the machine lacks something that the test needs.
//!
//! The test runner of Rust counts a test that returns early as passed. [`skip`] makes the
//! difference visible: it appends a line to the file that `CACHEFS_TEST_SKIPS` names, which
//! `scripts/test` counts, and it fails the test if `CACHEFS_TEST_REQUIRE` lists the need.
//!
//! ```no_run
//! fn reads_a_file_of_root() {
//!     let is_root = false;
//!     if !is_root {
//!         return cachefs_skip::skip("root", "only root can read it");
//!     }
//! }
//! reads_a_file_of_root();
//! ```

use std::fmt::Display;
use std::io::Write as _;

/// Names the file that skips are appended to: test, need and reason, separated by tabs.
pub const SKIPS_VARIABLE: &str = "CACHEFS_TEST_SKIPS";
/// Lists the needs, separated by commas, whose lack fails a test instead of skipping it.
pub const REQUIRE_VARIABLE: &str = "CACHEFS_TEST_REQUIRE";

/// Reports that the running test is skipped, because the machine lacks `need`, such as `mount` or
/// `docker`. The test should return after it.
///
/// # Panics
///
/// When `CACHEFS_TEST_REQUIRE` lists the need: on that machine the test has to run.
#[track_caller]
pub fn skip(need: &str, reason: impl Display) {
    let required = std::env::var(REQUIRE_VARIABLE).unwrap_or_default();
    assert!(
        !is_listed(need, &required),
        "{REQUIRE_VARIABLE} lists `{need}`, but this test cannot run: {reason}"
    );
    println!("skipped: needs {need}: {reason}");
    let Some(file) = std::env::var_os(SKIPS_VARIABLE) else {
        return;
    };
    let line = format!("{}\t{need}\t{reason}\n", test_name());
    let file = std::fs::File::options()
        .create(true)
        .append(true)
        .open(file);
    // One write, so that lines of tests that run at the same time do not mix.
    let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
    assert!(written.is_ok(), "cannot note the skip: {written:?}");
}

fn is_listed(need: &str, list: &str) -> bool {
    list.split(',').any(|listed| listed.trim() == need)
}

/// The binary and the name of the running test, such as `cli::mounts::twice`. The test runner
/// names the thread of a test after it.
fn test_name() -> String {
    let binary = std::env::current_exe().ok();
    let stem = binary
        .as_deref()
        .and_then(|path| path.file_stem()?.to_str());
    // Cargo appends a hash: cli-0123456789abcdef.
    let binary = stem.map_or("test", |stem| {
        stem.rsplit_once('-').map_or(stem, |(name, _)| name)
    });
    let thread = std::thread::current();
    format!(
        "{binary}::{}",
        thread.name().unwrap_or("a thread of a test")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_need_is_listed_as_a_whole_word() {
        assert!(is_listed("mount", "docker, mount"));
        assert!(!is_listed("mount", "remount,mounts"));
        assert!(!is_listed("mount", ""));
    }

    #[test]
    fn a_test_is_named_by_its_binary_and_thread() {
        let name = test_name();
        assert_eq!(
            name,
            "cachefs_skip::tests::a_test_is_named_by_its_binary_and_thread"
        );
    }
}
