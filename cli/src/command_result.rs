//! The end of a command: its exit code, and the report of its error.

use std::process::ExitCode;

use crate::failure::{self, describe_failure};
use crate::global::Global;
use crate::{exit, json_output, log, output};

/// Reports the error of a command, if any. With `soft`, errors that a build can tolerate become
/// warnings.
pub(crate) fn end(global: &Global, outcome: anyhow::Result<u8>, soft: bool) -> ExitCode {
    match outcome {
        Ok(code) => {
            json_output::print_end(code);
            ExitCode::from(code_of_output(code))
        }
        Err(error) => fail(&error, soft && !global.strict_errors),
    }
}

/// Fails if results could not be written, for example to a full disk: otherwise a script would
/// treat truncated output as complete.
fn code_of_output(code: u8) -> u8 {
    match output::write_failure() {
        None => code,
        Some(error) => {
            output::print_error(
                "error",
                &format!("cannot write results to stdout: {error}"),
                Some("free some space, or redirect stdout"),
            );
            if code == exit::SUCCESS {
                exit::LOCAL
            } else {
                code
            }
        }
    }
}

/// Reports an error that ends the command.
pub(crate) fn fail(error: &anyhow::Error, soft: bool) -> ExitCode {
    let failure = describe_failure(error, soft);
    if failure.code == exit::INTERRUPTED {
        output::log_text(output::INTERRUPTED);
    }
    if !failure.lines.is_empty() {
        output::log_text(&failure.lines.join("\n"));
    }
    json_output::print_failure(&failure);
    ExitCode::from(failure.code)
}

/// Reports invalid arguments, or prints the requested help or version.
pub(crate) fn wrong_usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        error.exit();
    }
    let failure = failure::of_arguments(error);
    match log::is_json() {
        true => output::log_text(&failure.lines.join("\n")),
        // clap prints in colour on a terminal.
        false => drop(error.print()),
    }
    json_output::print_failure(&failure);
    ExitCode::from(failure.code)
}
