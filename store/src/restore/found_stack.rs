//! The stack that a restore finds.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::layer::TreeTotals;
use crate::refs::{
    KeyQuery, LayerInfo, MatchKind, Resolved, build_stack, resolve_key, tree_totals,
};
use crate::remote::DynRemote;
use crate::session::Session;
use crate::task::join_all;

/// The keys that a restore matched, and their stack.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FoundStack {
    /// Each key's match, in the order of the queries.
    pub matched: Vec<Option<Resolved>>,
    /// The stack, the bottom layer first; empty if no key matched.
    pub layers: Vec<LayerInfo>,
    /// Totals of the tree. They differ from the sums of the layers, which hide parts of each other.
    /// `None` if no record contains them.
    pub tree: Option<TreeTotals>,
}

impl FoundStack {
    /// Resolves all queries, the bottom of the stack first, at the same time.
    ///
    /// # Errors
    /// Those of the remote, and of records that cannot be read.
    pub async fn resolve(remote: &DynRemote, wanted: &[KeyQuery]) -> Result<Self> {
        let lookups = wanted.iter().map(|wanted| resolve_key(remote, wanted));
        let matched = join_all(lookups)
            .await
            .into_iter()
            .collect::<Result<Vec<_>>>()?;
        let layers = build_stack(wanted, &matched);
        let records = matched
            .iter()
            .flatten()
            .flat_map(|resolved| &resolved.records);
        Ok(Self {
            tree: tree_totals(&layers, records),
            layers,
            matched,
        })
    }

    /// Whether no key matched.
    pub fn is_miss(&self) -> bool {
        self.layers.is_empty()
    }

    /// How the key that the user named last matched; `None` if it did not. A layer below it may
    /// have.
    pub fn last_match(&self) -> Option<&MatchKind> {
        let last = self.matched.last()?.as_ref()?;
        Some(&last.kind)
    }

    /// Forgets the matches, because the remote lost a part of the stack. The restore is a miss.
    #[must_use]
    pub fn into_miss(self) -> Self {
        Self {
            matched: vec![None; self.matched.len()],
            layers: Vec::new(),
            tree: None,
        }
    }
}

impl Session {
    /// Finds the stack of the keys, the bottom of the stack first.
    ///
    /// # Errors
    /// Those of [`FoundStack::resolve`].
    pub fn resolve(&self, wanted: &[KeyQuery]) -> Result<FoundStack> {
        self.block_on(FoundStack::resolve(self.remote(), wanted))
    }
}
