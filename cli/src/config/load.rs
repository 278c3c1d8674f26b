//! Combines files, environment and arguments into one command line.

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

/// The configuration files, with the command line on top.
#[derive(Debug)]
pub(crate) struct LoadedConfig {
    /// The command, with the settings of the files as its defaults.
    pub(super) command: Command,
    /// The arguments of this process, starting with the program's name.
    pub(super) arguments: Vec<OsString>,
    /// The parsed arguments.
    pub(super) matches: ArgMatches,
    /// The settings of all files, each from the file with the highest precedence.
    pub(super) settings: BTreeMap<String, FileSetting>,
    /// The caches of the project's file, in its order.
    pub(super) caches: Vec<CacheTable>,
    /// The files that were looked for, in increasing order of precedence.
    files: Vec<Looked>,
    /// Settings of the project's file that were ignored.
    passed_over: Vec<(&'static str, FileSetting)>,
}

/// The command line of the program, as far as configuration files affect it.
pub(crate) trait CommandLine: Parser {
    /// The global options.
    fn global(&self) -> &Global;

    /// Whether to read configuration files.
    fn reads_config(&self) -> bool;
}

/// Parses the arguments, with the environment and the files as defaults.
///
/// # Errors
///
/// [`clap::Error`] for invalid arguments and for `--help`, [`ConfigError`] for an invalid file, and
/// a usage error for a file that cannot be read.
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
    // Parsing the arguments again takes milliseconds, which would be noticeable in a restore.
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

    /// Whether a flag or an environment variable sets a global option.
    fn is_given(&self, option: &str) -> bool {
        matches!(
            self.matches.value_source(option),
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        )
    }

    /// Notes about the files that the user should see before the command runs. Set `uses_remote` if
    /// the command will send data to the remote or trust data from it.
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

    /// The files that were looked for, in increasing order of precedence; none with `--no-config`.
    pub(crate) fn files(&self) -> &[Looked] {
        &self.files
    }

    /// The project's file, if any.
    pub(crate) fn project_file(&self) -> Option<&Path> {
        let project = |looked: &&Looked| looked.level == ConfigLevel::Project && looked.found;
        Some(&self.files.iter().find(project)?.path)
    }

    /// The directory of the project's file; relative paths and key templates are resolved against
    /// it.
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

/// Makes settings the defaults of the options with the same names, in every command. Options that
/// define a cache, such as `--key`, get no defaults.
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
