//! `cachefs` as a replacement for the Drone and Harness cache plugins.
//!
//! With the variables of the plugin set (`PLUGIN_RESTORE`, `PLUGIN_MOUNT`, ...) the command without
//! arguments does the same as the plugin, so a pipeline migrates by changing its image.
//! [`plan_from_environment`](plan::plan_from_environment) converts the environment to a
//! [`PluginPlan`] without side effects; [`run_plan`](run::run_plan) executes it with the code of
//! `restore` and `save`.
//!
//! | plugin | cachefs |
//! | --- | --- |
//! | an archive at `REPOSITORY/KEY/MOUNT` | a key `REPOSITORY/KEY/MOUNT` in the remote `BUCKET/cachefs` |
//! | a miss, where the plugin left an archive | the archive is imported, then restored |
//! | the checksum of a file is its MD5 | BLAKE3; MD5 is used to find the plugin's archives |
//! | a restore unpacks | a copy: the next step of the pipeline runs in another container |

mod legacy_archives;
mod mounts;
mod plan;
mod plugin_variables;
mod run;
#[cfg(test)]
mod tests;
mod variable_values;

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Parser as _;

use crate::global::Global;
use crate::{command_result, exit, output};
use plan::PluginPlan;

/// The options of every command, from the environment alone.
#[derive(clap::Parser)]
struct Bare {
    #[command(flatten)]
    global: Global,
}

/// The plan for a call without arguments, if the plugin's variables are set.
///
/// Sets environment variables of this process, so you must call it before starting other threads.
pub(crate) fn plugin_plan() -> Option<Result<PluginPlan, cachefs::Error>> {
    if std::env::args_os().len() > 1 {
        return None;
    }
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    if !environment
        .keys()
        .any(|name| plugin_variables::tells_what_to_do(name))
    {
        return None;
    }
    let plan = plan::plan_from_environment(&environment);
    if let Ok(plan) = &plan {
        for (name, value) in plan.variables.iter() {
            // SAFETY: the caller guarantees that no other thread exists that could read the
            // environment.
            unsafe {
                match value {
                    Some(value) => std::env::set_var(name, value),
                    None => std::env::remove_var(name),
                }
            }
        }
    }
    Some(plan)
}

/// Executes the plan of the plugin's variables.
pub(crate) fn execute_plan(plan: Result<PluginPlan, cachefs::Error>) -> ExitCode {
    let global = match Bare::try_parse_from(["cachefs"]) {
        Ok(bare) => bare.global,
        Err(error) => {
            output::log_text(&error.to_string());
            return ExitCode::from(exit::USAGE);
        }
    };
    output::start_log(&global);
    let outcome = plan
        .map_err(anyhow::Error::from)
        .and_then(|plan| run::run_plan(&global, &plan));
    command_result::end(&global, outcome, true)
}
