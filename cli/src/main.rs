//! The `cachefs` command.

mod args;
mod caches;
mod ci;
mod commands;
mod config;
mod csi;
mod detect;
mod exec;
mod exit;
mod explain;
mod failure;
mod hook;
mod keys;
mod listen;
mod log;
mod machine;
mod named_file;
mod object;
mod output;
mod outputs;
mod plugin;
mod progress;
mod setup;
mod volumes;
mod working_directory;

fn main() -> std::process::ExitCode {
    if let Some(plan) = plugin::asked() {
        return plugin::execute(plan);
    }
    let arguments: Vec<_> = std::env::args_os().collect();
    match config::parse(arguments.clone()) {
        Ok((cli, config)) => {
            output::start_log(&cli.global);
            commands::run(cli, &config)
        }
        Err(error) => {
            output::configure_unparsed(&arguments);
            match error.downcast::<clap::Error>() {
                Ok(error) => commands::wrong_usage(&error),
                Err(error) => commands::fail(&error, false),
            }
        }
    }
}
