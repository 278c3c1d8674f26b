//! Converts detected directories to caches that can be restored and saved.

use std::fs;
use std::path::{Path, PathBuf};

use super::DetectedCache;
use crate::caches::{CommonOptions, ResolvedCache, RestoreHow, SaveHow};
use crate::output;

impl DetectedCache {
    /// Where the cache is.
    pub(crate) fn path(&self, workspace: &Path) -> PathBuf {
        workspace.join(&self.place.path)
    }

    /// The directories of its projects, the workspace itself as `.`.
    pub(crate) fn project_names(&self) -> Vec<String> {
        let shown = |dir: &PathBuf| match dir.as_os_str().is_empty() {
            true => ".".to_owned(),
            false => output::format_path(dir),
        };
        self.projects.iter().map(shown).collect()
    }

    /// The cache, with the options of the command.
    pub(crate) fn cache(
        &self,
        workspace: &Path,
        common: &CommonOptions,
        restore: &RestoreHow,
        save: &SaveHow,
    ) -> ResolvedCache {
        ResolvedCache {
            name: Some(self.name.clone()),
            workspace: workspace.to_owned(),
            key: Some(self.key.clone()),
            restore_keys: vec![self.restore_key.clone()],
            paths: vec![self.path(workspace)],
            layers: Vec::new(),
            only: None,
            common: common.clone(),
            restore: restore.clone(),
            save: save.clone(),
        }
    }
}

/// Whether there is something to save: a key that holds nothing would be a hit for others.
pub(crate) fn holds_something(path: &Path) -> bool {
    match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_some(),
        // An unreadable directory is not empty; the save reports the error.
        Err(error) => error.kind() != std::io::ErrorKind::NotFound,
    }
}
