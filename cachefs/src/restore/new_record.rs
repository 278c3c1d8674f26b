//! The record of a restored path.

use std::path::Path;

use cachefs_store::restore::FoundStack;

use super::options::RestoreOptions;
use crate::error::{Error, Result};
use crate::mounts::{How, MountRecord};

pub(super) fn new_record(
    path: &Path,
    how: How,
    found: &FoundStack,
    options: &RestoreOptions,
    restored: u64,
) -> Result<MountRecord> {
    let name = found
        .matched
        .iter()
        .rev()
        .flatten()
        .map(|resolved| resolved.name.clone())
        .next()
        .ok_or_else(|| Error::usage("no key matched", "save one first"))?;
    Ok(MountRecord {
        path: path.to_owned(),
        how,
        asked: options.asked().cloned().unwrap_or_else(|| name.key.clone()),
        asked_in: options
            .asked_in()
            .cloned()
            .unwrap_or_else(|| name.scope.clone()),
        named_in: found
            .matched
            .iter()
            .flatten()
            .all(|resolved| resolved.name.scope == name.scope)
            .then(|| name.scope.clone()),
        name,
        remote: options.remote.url.clone(),
        layers: found.layers.clone(),
        privileged: options.privileged,
        restored,
        owner: options.owner,
        taken_up: 0,
        tree: found.tree,
        saved: Vec::new(),
        incomplete: None,
    })
}
