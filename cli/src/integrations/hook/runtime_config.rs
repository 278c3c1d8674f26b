//! How runtimes are to call the hook.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::config::LoadedConfig;
use crate::global::Global;
use crate::setup;

/// How long a hook may take, in seconds: as long as a restore that copies, or a save, and then
/// some.
const TIMEOUT: u64 = 35 * 60;

/// How the hook is to be called.
#[derive(Debug, Clone)]
pub(crate) struct Called {
    /// The program.
    pub(super) program: PathBuf,
    /// Its arguments before the command, such as `--store`.
    pub(super) flags: Vec<String>,
    /// Its environment: runtimes pass nothing else on.
    pub(super) env: Vec<String>,
}

impl Called {
    /// This program as it is called now, with the same flags, variables and project file.
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
        // A hook runs in the directory of a container.
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

    /// The hook as both formats have it, with arguments after the command.
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
