//! Looking for what a restore would take, without restoring it.

use std::time::{Duration, Instant};

use cachefs_store::layer::Totals;
use cachefs_store::refs::{self, LayerInfo, Resolved, Wanted};
use cachefs_store::remote::{DynRemote, Traffic};

use super::{Outcome, Report, RestoreOptions, miss};
use crate::error::{Error, Result};
use crate::rpc::Restored;
use crate::store_dir::StoreDir;

/// Finds the stack that a restore with these options would show; touches nothing on this machine.
pub fn look_up(store: &StoreDir, options: &RestoreOptions) -> Result<Report> {
    let started = Instant::now();
    let session = options.session(store)?;
    let found = session.block_on(resolve(session.remote(), &options.wanted))?;
    let path = std::path::absolute(&options.path).map_err(Error::io("find", &options.path))?;
    let outcome = if found.layers.is_empty() {
        Outcome::Miss
    } else {
        Outcome::Found
    };
    Ok(Report {
        outcome,
        traffic: session.traffic(),
        elapsed: started.elapsed(),
        ..miss(path, found)
    })
}

impl Report {
    /// A restore that did nothing: [`Outcome::Miss`] when no key has any of a cache's several paths,
    /// or [`Outcome::Skipped`].
    pub fn nothing(outcome: Outcome, path: std::path::PathBuf, keys: usize) -> Self {
        Self {
            outcome,
            path,
            matched: vec![None; keys],
            layers: Vec::new(),
            tree: None,
            traffic: Traffic::default(),
            lost: None,
            notes: Vec::new(),
            unsaved: None,
            elapsed: Duration::ZERO,
        }
    }
}

/// What the tree of a stack adds up to, as far as the records of what matched tell.
pub(crate) fn tree_of(layers: &[LayerInfo], matched: &[Option<Resolved>]) -> Option<Totals> {
    let matched = matched.iter().flatten();
    refs::totals(layers, matched.flat_map(|resolved| &resolved.records))
}

/// Resolves every key, in this process.
pub(super) async fn resolve(remote: &DynRemote, wanted: &[Wanted]) -> Result<Restored> {
    let mut matched = Vec::new();
    for wanted in wanted {
        matched.push(refs::resolve(remote, wanted).await?);
    }
    let layers = refs::stack(wanted, &matched);
    Ok(Restored {
        tree: tree_of(&layers, &matched),
        layers,
        matched,
        view: None,
        lost: None,
        traffic: Traffic::default(),
    })
}
