//! From the files and the arguments to the command line that counts.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command, Parser};

use super::file::{self, CacheTable, ConfigFile};
use super::file_setting::FileSetting;
use super::find::{ConfigLevel, Looked, Surroundings};
use super::setting_names::{Known, OF_A_CACHE};
use super::{ConfigError, trusted_settings};
use crate::global::Global;
use crate::output;

/// The settings of the files, overridden by the command line.
#[derive(Debug)]
pub(crate) struct LoadedConfig {
    /// The command, with the files' settings as its defaults.
    pub(super) command: Command,
    /// The arguments of this process, the program's name first.
    pub(super) arguments: Vec<OsString>,
    /// The resulting settings.
    pub(super) matches: ArgMatches,
    /// The settings of all files; of several, the one that counts.
    pub(super) settings: BTreeMap<String, FileSetting>,
    /// The caches of the project's file, in its order.
    pub(super) caches: Vec<CacheTable>,
    /// The files that were looked for, the one that counts least first.
    files: Vec<Looked>,
    /// Settings that do not count, though the project's file has them.
    passed_over: Vec<(&'static str, FileSetting)>,
}

/// The command line of the program, as far as files count for it.
pub(crate) trait CommandLine: Parser {
    /// The options of every command.
    fn global(&self) -> &Global;

    /// Whether configuration files count.
    fn reads_config(&self) -> bool;
}

/// Parses the arguments, with files and the environment behind them.
///
/// # Errors
///
/// [`clap::Error`] for arguments that are wrong or ask for help, [`ConfigError`] for a file that
/// cannot be used, and a usage error for one that cannot be read.
pub(crate) fn parse_arguments<C: CommandLine>(
    arguments: Vec<OsString>,
) -> anyhow::Result<(C, LoadedConfig)> {
    let command = C::command();
    let matches = command.clone().try_get_matches_from(&arguments)?;
    let cli = C::from_arg_matches(&matches)?;
    let mut config = LoadedConfig {
        command,
        arguments,
        matches,
        settings: BTreeMap::new(),
        caches: Vec::new(),
        files: Vec::new(),
        passed_over: Vec::new(),
    };
    if cli.global().no_config || !cli.reads_config() {
        return Ok((cli, config));
    }
    let surroundings = Surroundings::here().map_err(cachefs::Error::io("find", "."))?;
    config.read(surroundings.files(cli.global().config.as_deref()))?;
    // Taking the arguments apart once more costs milliseconds, which a restore would notice.
    if config.settings.is_empty() {
        return Ok((cli, config));
    }
    config.command = with_defaults(config.command, &config.settings);
    config.matches = config
        .command
        .clone()
        .try_get_matches_from(&config.arguments)?;
    Ok((C::from_arg_matches(&config.matches)?, config))
}

impl LoadedConfig {
    fn read(&mut self, files: Vec<Looked>) -> anyhow::Result<()> {
        if files.iter().all(|looked| !looked.found) {
            self.files = files;
            return Ok(());
        }
        let known = Known::of(&self.command);
        for looked in files.iter().filter(|looked| looked.found) {
            let mut file = read_file(looked, &known)?;
            if looked.level == ConfigLevel::Project {
                let given = self.is_given("remote");
                self.passed_over = trusted_settings::take_servers(&mut file.settings, given);
                self.caches = file.caches;
            }
            self.settings.extend(file.settings);
        }
        self.files = files;
        Ok(())
    }

    /// Whether a flag or the environment sets an option of every command.
    fn is_given(&self, option: &str) -> bool {
        matches!(
            self.matches.value_source(option),
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        )
    }

    /// Notes about the files to print before the command runs; `uses_remote` means that
    /// it is about to send data to the remote, or to trust data from it.
    pub(crate) fn notes(&self, uses_remote: bool) -> Vec<String> {
        let mut notes = Vec::new();
        for (name, setting) in &self.passed_over {
            notes.extend(output::error_lines(
                "warning",
                &format!(
                    "ignoring `{name}` at {}: a project may set it only for its own remote, which is not in use",
                    setting.place
                ),
                Some(&format!("set --{name} where the remote is set")),
            ));
        }
        let remote = self.settings.get("remote");
        let remote = remote.filter(|remote| remote.level == ConfigLevel::Project);
        if let (true, false, Some(remote)) = (uses_remote, self.is_given("remote"), remote) {
            notes.push(format!(
                "note: the remote is {}, from {}",
                remote.values.concat(),
                remote.place
            ));
        }
        notes
    }

    /// The files that were looked for, the one that counts least first; none with `--no-config`.
    pub(crate) fn files(&self) -> &[Looked] {
        &self.files
    }

    /// The project's file, if there is one.
    pub(crate) fn project_file(&self) -> Option<&Path> {
        let project = |looked: &&Looked| looked.level == ConfigLevel::Project && looked.found;
        Some(&self.files.iter().find(project)?.path)
    }

    /// The directory of the project's file, which relative paths and key templates start from.
    pub(super) fn project(&self) -> Option<&Path> {
        self.project_file()?.parent()
    }
}

fn read_file(looked: &Looked, known: &Known) -> anyhow::Result<ConfigFile> {
    let path: &PathBuf = &looked.path;
    let bytes = std::fs::read(path).map_err(|error| {
        cachefs::Error::usage(
            format!("cannot read the configuration {}: {error}", path.display()),
            "correct --config or the file's permissions; --no-config ignores all files",
        )
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
        ConfigError::new(
            super::error::ConfigProblem::NotText,
            path,
            &text,
            valid..valid + 1,
        )
    })?;
    Ok(file::read_config(path, looked.level, &text, known)?)
}

/// Makes settings the defaults of the options that they are named after, in every command; what a
/// cache is does not go by the options of the same name.
pub(super) fn with_defaults(command: Command, settings: &BTreeMap<String, FileSetting>) -> Command {
    let setting = |arg: &Arg| {
        let name = arg.get_long().filter(|name| !OF_A_CACHE.contains(name))?;
        settings.get(name)
    };
    command
        .mut_args(|arg| match setting(&arg) {
            Some(setting) => arg.default_values(setting.values.iter().cloned()),
            None => arg,
        })
        .mut_subcommands(|command| with_defaults(command, settings))
}
