//! Which of the caches found to work with: options that commands share.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use super::host::account_home;
use super::tools::marker_names;
use crate::machine_identity::sudo_caller;
use crate::setup;

use super::{
    Ask, DetectedCache, Detection, Host, Installed, Nobody, WorkspaceTree, detect_caches, is_tool,
    tool_names,
};

/// Which caches to take.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Detection options")]
pub(crate) struct CacheChoice {
    /// Only this tool or this one of its caches, for example `cargo` or `cargo-index` (repeatable)
    #[arg(long, value_name = "NAME")]
    pub(crate) tool: Vec<String>,
    /// Skip this tool or this one of its caches (repeatable)
    #[arg(long, value_name = "NAME")]
    pub(crate) skip: Vec<String>,
    /// Include caches that are off by default, such as node_modules and virtual environments
    #[arg(long)]
    pub(crate) all: bool,
    /// Directory to search [default: the current directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) workspace: Option<PathBuf>,
    /// Do not run installed tools to find their cache directories
    #[arg(long)]
    pub(crate) no_ask: bool,
    /// Prefix of all keys, for repositories that share a remote
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        env = "CACHEFS_KEY_PREFIX",
        hide_default_value = true
    )]
    pub(crate) key_prefix: String,
}

impl CacheChoice {
    /// The workspace, absolute and without links.
    ///
    /// # Errors
    ///
    /// When it is not there.
    pub(crate) fn workspace(&self) -> anyhow::Result<PathBuf> {
        let current = setup::workspace_directory()?;
        let workspace = match &self.workspace {
            Some(dir) => current.join(dir),
            None => current,
        };
        workspace
            .canonicalize()
            .with_context(|| format!("cannot find {}", workspace.display()))
    }

    /// Finds the caches, but for those that the user does not want.
    ///
    /// # Errors
    ///
    /// A usage error for a name that no tool and no cache has, and where there is no home.
    pub(crate) fn detect(&self) -> anyhow::Result<Detection> {
        let workspace = self.workspace()?;
        let env: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let home = std::env::home_dir()
            .filter(|home| home.is_absolute())
            .ok_or_else(|| {
                cachefs::Error::usage("no home directory", "set HOME to an absolute path")
            })?;
        let installed = Installed::new(&workspace, &home, sudo_caller());
        let ask: &dyn Ask = if self.no_ask { &Nobody } else { &installed };
        let host = Host {
            is_root: rustix::process::geteuid().is_root(),
            account: account_home().unwrap_or_else(|| home.clone()),
            home,
            env: &env,
            ask,
        };
        let mut detection = detect_caches(
            &WorkspaceTree::scan(&workspace, &marker_names()),
            &host,
            &self.key_prefix,
        );
        self.mark(&mut detection)?;
        Ok(detection)
    }

    /// Applies the names.
    fn mark(&self, detection: &mut Detection) -> anyhow::Result<()> {
        let named = |names: &[String], found: &DetectedCache| {
            names
                .iter()
                .any(|name| *name == found.name || name == found.tool)
        };
        for name in self.tool.iter().chain(&self.skip) {
            let is_found = detection.caches.iter().any(|found| *name == found.name);
            if !is_found && !is_tool(name) {
                return Err(cachefs::Error::usage(
                    format!("no tool or cache is named `{name}`"),
                    format!("tools are {}", tool_names().join(", ")),
                )
                .into());
            }
        }
        detection.caches.retain(|found| {
            (self.tool.is_empty() || named(&self.tool, found)) && !named(&self.skip, found)
        });
        for found in &mut detection.caches {
            // Asked for by its own name, it is wanted.
            if self.all || self.tool.contains(&found.name) {
                found.optional = None;
            }
        }
        Ok(())
    }
}
