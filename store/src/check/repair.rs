//! Dropping saves that cannot be served.

use std::collections::{BTreeMap, BTreeSet};

use super::CheckReport;
use crate::error::Result;
use crate::id::SaveId;
use crate::refs::{RefName, remove_saves};
use crate::remote::DynRemote;
use crate::repository::refuse_newer_format;

/// The saves and packs that [`repair_keys`] removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repaired {
    /// Keys that have no save left.
    pub dropped: BTreeSet<RefName>,
    /// Keys that lost a damaged save or a damaged head, and have intact saves.
    pub reduced: BTreeSet<RefName>,
}

/// Removes the saves that `report` found to need a missing or damaged object, and records that are
/// damaged themselves. Once a key has no save left, a restore of it is a miss, and the next save stores
/// it whole. Unreferenced data is left to the collector.
///
/// Only saves that the check has read are removed, with those that they supersede: a job that stored a
/// key again meanwhile keeps it. Findings that are not [repairable](super::ObjectFinding::is_repairable) are
/// left alone: an outage must not cost a key.
///
/// Packs with damaged data are deleted if all keys of the repository were checked. Otherwise savers on
/// machines whose index has the pack would name it again. A pack has parts that are intact, too, and
/// keys that were not checked may need those.
///
/// # Errors
///
/// If the remote is unavailable or denies access. Earlier removals are not undone.
pub async fn repair_keys(remote: &DynRemote, report: &CheckReport) -> Result<Repaired> {
    refuse_newer_format(remote).await?;
    let mut broken: BTreeMap<&RefName, BTreeSet<SaveId>> = BTreeMap::new();
    let mut heads = BTreeSet::new();
    for finding in report.findings.iter().filter(|it| it.is_repairable()) {
        for save in &finding.saves {
            let superseded = report.superseded.get(save).into_iter().flatten();
            let saves = broken.entry(&save.0).or_default();
            saves.extend(superseded.chain([&save.1]));
        }
        if finding.saves.is_empty() {
            heads.extend(&finding.keys);
        }
    }
    let mut repaired = Repaired::default();
    for (name, saves) in broken {
        let saves: Vec<_> = saves.into_iter().collect();
        match remove_saves(remote, name, &saves).await? {
            0 => repaired.dropped.insert(name.clone()),
            _ => repaired.reduced.insert(name.clone()),
        };
    }
    for name in heads {
        // Only a copy of a record, for speed.
        remote.delete(&name.head()).await?;
        if !repaired.dropped.contains(name) {
            repaired.reduced.insert(name.clone());
        }
    }
    if report.is_complete {
        for pack in &report.damaged_packs {
            remote.delete(pack).await?;
        }
    }
    Ok(repaired)
}
