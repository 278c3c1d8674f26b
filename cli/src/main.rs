//! The `cachefs` command.

fn main() -> std::process::ExitCode {
    cachefs_cli::run()
}
