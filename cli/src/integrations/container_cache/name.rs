//! Validates names that become directories of the store.

use cachefs::Error;

/// Maximum length of a name in bytes; file systems allow 255.
const LONGEST: usize = 200;

/// Checks a name that an engine, a runtime or a tenant chose for a volume, a container or a cache.
///
/// It becomes a single directory, so it must not be a path.
///
/// # Errors
///
/// A usage error that lists the allowed characters.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if starts_well && name.chars().all(is_inner) && name.len() <= LONGEST {
        return Ok(());
    }
    // The message is one line in an engine's log, but the name could be a megabyte.
    let shown: String = name.chars().take(LONGEST).collect();
    Err(Error::usage(
        format!("`{}` is not a valid name", shown.escape_debug()),
        "use letters, digits, `_`, `.` and `-`, starting with a letter, a digit or `_`, at most 200 of them",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_never_a_path() {
        for good in ["m2", "a.b-c_d", "0", "_x", &"x".repeat(LONGEST)] {
            check_name(good).unwrap();
        }
        let long = "x".repeat(LONGEST + 1);
        for bad in [
            "",
            ".",
            "..",
            ".x",
            "../x",
            "/",
            "/etc",
            "a/b",
            "a/../b",
            "~",
            "-a",
            "a b",
            "a\0b",
            "a\nb",
            "a\\b",
            "a:b",
            "ä",
            "a\u{202e}b",
            &long,
        ] {
            let error = check_name(bad).unwrap_err().to_string();
            assert!(error.len() < 4 * LONGEST, "{error}");
        }
    }
}
