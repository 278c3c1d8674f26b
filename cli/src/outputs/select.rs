//! Selects the outputs from options and environment.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::annotate::Annotations;
use crate::{log, stdout};

/// Options about what is told to the CI system.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct OutputArgs {
    /// CI systems that get outputs, a summary and annotations
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "LIST",
        env = "CACHEFS_OUTPUTS",
        value_delimiter = ',',
        default_value = "auto",
        hide_short_help = true
    )]
    outputs: Vec<OutputSystem>,
    /// Write metrics of the restore or save to this file, as JSON
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "CACHEFS_METRICS_FILE",
        hide_short_help = true
    )]
    metrics_file: Option<PathBuf>,
    /// Write CACHE_HIT and other outputs to this file as NAME=value lines, for example for GitLab
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "CACHEFS_DOTENV",
        hide_short_help = true
    )]
    dotenv: Option<PathBuf>,
}

/// A value of `--outputs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum OutputSystem {
    Auto,
    None,
    Github,
    Harness,
    Azure,
}

/// The outputs to write.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outputs {
    pub(super) github_output: Option<PathBuf>,
    pub(super) github_summary: Option<PathBuf>,
    pub(super) drone_output: Option<PathBuf>,
    pub(super) cache_intelligence: Option<PathBuf>,
    pub(super) azure: bool,
    pub(super) dotenv: Option<PathBuf>,
    pub(super) metrics: Option<PathBuf>,
    /// The format of warnings and errors.
    pub(crate) annotations: Annotations,
    /// Whether standard output is reserved for JSON.
    json: bool,
}

impl Outputs {
    /// Selects the outputs from the options and the environment; `json` if the command prints JSON.
    pub(crate) fn find(
        args: &OutputArgs,
        json: bool,
        env: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let is = |system, recognised: bool| {
            let has = |value| args.outputs.contains(&value);
            !has(OutputSystem::None) && (has(system) || (has(OutputSystem::Auto) && recognised))
        };
        let file = |wanted: bool, name: &str| set(name).filter(|_| wanted).map(PathBuf::from);
        let github = is(
            OutputSystem::Github,
            set("GITHUB_ACTIONS").is_some_and(|value| value == "true"),
        );
        let azure = is(OutputSystem::Azure, set("TF_BUILD").is_some());
        // No other system uses these two files, so their variables identify Harness.
        let harness = is(OutputSystem::Harness, true);
        Self {
            github_output: file(github, "GITHUB_OUTPUT"),
            github_summary: file(github, "GITHUB_STEP_SUMMARY"),
            drone_output: file(harness, "DRONE_OUTPUT"),
            cache_intelligence: file(harness, "PLUGIN_CACHE_INTEL_METRICS_FILE"),
            azure,
            dotenv: args.dotenv.clone(),
            metrics: args.metrics_file.clone(),
            annotations: match (github, azure) {
                (true, _) => Annotations::GitHub,
                (false, true) => Annotations::Azure,
                (false, false) => Annotations::None,
            },
            json,
        }
    }

    /// Prints commands for the CI system to standard output, where it looks for them, unless that
    /// is reserved for JSON.
    pub(super) fn command(&self, lines: &[String]) {
        for line in lines {
            match self.json {
                true => log::print_raw(line),
                false => stdout::write_stdout(&format!("{line}\n")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: OutputArgs,
    }

    fn find(flags: &[&str], env: &[(&str, &str)]) -> Outputs {
        let command = Command::parse_from(std::iter::once(&"x").chain(flags));
        Outputs::find(&command.args, false, |name| {
            let found = env.iter().find(|(given, _)| *given == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    const GITHUB: &[(&str, &str)] = &[
        ("GITHUB_ACTIONS", "true"),
        ("GITHUB_OUTPUT", "/out"),
        ("GITHUB_STEP_SUMMARY", "/summary"),
    ];

    #[test]
    fn systems_are_recognised() {
        let github = find(&[], GITHUB);
        assert_eq!(github.github_output, Some("/out".into()));
        assert_eq!(github.annotations, Annotations::GitHub);
        let drone = find(&[], &[("DRONE_OUTPUT", "/drone")]);
        assert_eq!(drone.drone_output, Some("/drone".into()));
        assert_eq!(drone.annotations, Annotations::None);
        let azure = find(&[], &[("TF_BUILD", "True")]);
        assert!(azure.azure && azure.annotations == Annotations::Azure);
        let nothing = find(
            &[],
            &[("GITHUB_OUTPUT", "/left/over"), ("DRONE_OUTPUT", "")],
        );
        assert_eq!((nothing.github_output, nothing.drone_output), (None, None));
    }

    #[test]
    fn they_can_be_named_or_turned_off() {
        let none = find(&["--outputs", "none", "--metrics-file", "m"], GITHUB);
        assert_eq!(
            (none.github_output, none.annotations),
            (None, Annotations::None)
        );
        assert_eq!(none.metrics, Some("m".into()));
        let named = find(&["--outputs", "github,azure"], &[("GITHUB_OUTPUT", "/out")]);
        assert!(named.github_output.is_some() && named.azure);
        let only = find(&["--outputs", "azure"], GITHUB);
        assert_eq!(only.github_output, None);
    }
}
