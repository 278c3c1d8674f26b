//! Finds the result of a restore without restoring it.

use std::time::{Duration, Instant};

use cachefs_store::layer::TreeTotals;
use cachefs_store::refs::{self, KeyQuery, LayerInfo, Resolved};
use cachefs_store::remote::{DynRemote, RemoteTraffic};

use super::options::RestoreOptions;
use super::report::{RestoreOutcome, RestoreReport, miss_report};
use super::stack_availability::find_loss;
use crate::error::{Error, Result};
use crate::rpc::RestoreReply;
use crate::store_dir::StoreDir;

/// Finds the stack that a restore with these options would show. Of this machine only the store
/// directory is touched, which keeps the layers that were looked at.
pub fn look_up(store: &StoreDir, options: &RestoreOptions) -> Result<RestoreReport> {
    let started = Instant::now();
    let session = options.session(store)?;
    let found = session.block_on(async {
        let found = resolve_keys(session.remote(), &options.wanted).await?;
        let loss = find_loss(store, session.remote(), &found.layers).await?;
        Ok::<_, Error>(match loss {
            Some(why) => found.without(why),
            None => found,
        })
    })?;
    let path = std::path::absolute(&options.path).map_err(Error::io("find", &options.path))?;
    let outcome = if found.layers.is_empty() {
        RestoreOutcome::Miss
    } else {
        RestoreOutcome::Found
    };
    Ok(RestoreReport {
        outcome,
        traffic: session.traffic(),
        elapsed: started.elapsed(),
        ..miss_report(path, found)
    })
}

impl RestoreReply {
    /// Converts a match with lost objects to a miss.
    fn without(self, lost: String) -> Self {
        Self {
            matched: vec![None; self.matched.len()],
            layers: Vec::new(),
            tree: None,
            lost: Some(lost),
            ..self
        }
    }
}

impl RestoreReport {
    /// A restore that did nothing: [`RestoreOutcome::Miss`] when no key has any of a cache's several paths,
    /// or [`RestoreOutcome::Skipped`].
    pub fn nothing(outcome: RestoreOutcome, path: std::path::PathBuf, keys: usize) -> Self {
        Self {
            outcome,
            path,
            matched: vec![None; keys],
            layers: Vec::new(),
            tree: None,
            traffic: RemoteTraffic::default(),
            lost: None,
            notes: Vec::new(),
            unsaved: None,
            elapsed: Duration::ZERO,
        }
    }
}

/// Totals of a stack's tree, if the matched records contain them.
pub(crate) fn tree_of(layers: &[LayerInfo], matched: &[Option<Resolved>]) -> Option<TreeTotals> {
    let matched = matched.iter().flatten();
    refs::tree_totals(layers, matched.flat_map(|resolved| &resolved.records))
}

/// Resolves every key, in this process.
pub(super) async fn resolve_keys(remote: &DynRemote, wanted: &[KeyQuery]) -> Result<RestoreReply> {
    let mut matched = Vec::new();
    for wanted in wanted {
        matched.push(refs::resolve_key(remote, wanted).await?);
    }
    let layers = refs::build_stack(wanted, &matched);
    Ok(RestoreReply {
        tree: tree_of(&layers, &matched),
        layers,
        matched,
        view: None,
        lost: None,
        traffic: RemoteTraffic::default(),
    })
}
