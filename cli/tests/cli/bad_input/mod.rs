//! Bad input must fail with a one-line error, a hint and the documented exit code, and damage
//! nothing.
//!
//! With `--nocapture`, the tests print a table of every bad input and its message.

mod arguments;
mod disk;
mod interrupted;
mod local;
mod outage;
mod remote;

use cachefs_tests::harness::{Invocation, Output};

use crate::support::clean;

/// Asserts that a command fails with this text and exit code: one line for the error, one for the
/// hint, and otherwise only the notice that the build continues.
#[track_caller]
fn refused(what: &str, output: Output, code: i32, message: &str) -> Output {
    let output = clean(output).expect_code(code);
    let stderr = output.stderr();
    let mut error = None;
    let mut hint = "";
    for line in stderr.lines() {
        if let Some(text) = line
            .strip_prefix("error: ")
            .or(line.strip_prefix("warning: "))
        {
            assert!(
                error.replace(text).is_none(),
                "more than one error\n{output}"
            );
        } else if let Some(text) = line.strip_prefix("  hint: ") {
            hint = text;
        } else {
            // The log may report that we fetched damaged bytes again.
            let other = ["  the build goes on", "note: "];
            let is_other = other.iter().any(|start| line.starts_with(start));
            assert!(is_other || line.contains(" WARN "), "{line:?}\n{output}");
        }
    }
    let error = error.unwrap_or_default();
    assert!(error.contains(message), "expected {message:?}\n{output}");
    assert!(output.stdout().is_empty(), "{output}");
    assert!(!hint.is_empty(), "there is no hint\n{output}");
    println!("| {what} | {code} | {error} | {hint} |");
    output
}

/// Like [`refused`], for a command without strict errors: it warns and the build continues. Then
/// runs it again with `--strict-errors`.
#[track_caller]
fn refused_softly(what: &str, command: &Invocation, code: i32, message: &str) {
    let soft = clean(command.run()).expect_code(0);
    assert!(soft.stderr().starts_with("warning: "), "{soft}");
    assert!(
        soft.stderr()
            .contains("the build continues without the cache"),
        "{soft}"
    );
    assert!(
        soft.stderr().contains(message),
        "expected {message:?}\n{soft}"
    );
    refused(
        what,
        command.clone().arg("--strict-errors").run(),
        code,
        message,
    );
}
