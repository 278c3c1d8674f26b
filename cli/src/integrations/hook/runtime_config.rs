//! The command line and environment for runtimes to run the hook.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::config::LoadedConfig;
use crate::global::Global;
use crate::setup;

/// Timeout of a hook in seconds: the limit of a save or a copying restore, and a margin.
const TIMEOUT: u64 = 35 * 60;

/// How to run the hook.
#[derive(Debug, Clone)]
pub(crate) struct Called {
    /// The path of the program.
    pub(super) program: PathBuf,
    /// Flags before the subcommand, such as `--store`.
    pub(super) flags: Vec<String>,
    /// Its environment; runtimes pass no other variables.
    pub(super) env: Vec<String>,
}

impl Called {
    /// This program as it runs now, with the same flags, variables and project file.
    ///
    /// # Errors
    ///
    /// If the path of this program or of the store is unknown.
    pub(crate) fn now(
        global: &Global,
        config: &LoadedConfig,
        file: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let mut flags = config.vocabulary().flags();
        // A hook runs in the directory of a container, so paths must be absolute.
        flags.retain(|flag| !flag.starts_with("--config=") && !flag.starts_with("--store="));
        flags.push(format!("--store={}", setup::store_path(global)?.display()));
        if let Some(file) = file {
            flags.push(format!("--config={}", std::path::absolute(file)?.display()));
        }
        let is_passed_on = |name: &str| {
            let is_ours = name.starts_with("CACHEFS_");
            is_ours && !matches!(name, "CACHEFS_STORE" | "CACHEFS_CONFIG")
                || matches!(name, "HOME" | "PATH")
        };
        let mut env: Vec<String> = std::env::vars()
            .filter(|(name, _)| is_passed_on(name))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        env.sort();
        Ok(Self {
            program: std::env::current_exe()?,
            flags,
            env,
        })
    }

    /// The hook in the JSON that both formats share, with arguments after the subcommand.
    pub(super) fn hook(&self, args: &[&str]) -> Value {
        let name = self.program.file_name().unwrap_or_default();
        let mut argv = vec![name.to_string_lossy().into_owned()];
        argv.extend(self.flags.iter().cloned());
        argv.push("oci-hook".to_owned());
        argv.extend(args.iter().map(|arg| (*arg).to_owned()));
        json!({
            "path": self.program.to_string_lossy(),
            "args": argv,
            "env": self.env,
            "timeout": TIMEOUT,
        })
    }
}
