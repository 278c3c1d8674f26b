//! Dropping saves that cannot be served.

use std::collections::BTreeSet;

use super::{CheckReport, FindingKind};
use crate::error::Result;
use crate::refs::{RefName, remove_saves};
use crate::remote::{DynRemote, ObjectKey};

/// Removes the saves that `report` found to need a missing or damaged object, and records that are
/// damaged themselves. A restore of their keys is a miss afterwards, and the next save stores them
/// whole. Data of no use any more is left to the collector.
///
/// Only saves that the check has read are removed: a job that stored a key again meanwhile keeps it.
/// Objects of a newer format are left alone. Returns the keys that lost saves.
///
/// Packs with damaged data are deleted if all keys of the repository were checked. Otherwise savers on
/// machines whose index has the pack would name it again. A pack has parts that are intact, too, and
/// keys that were not checked may need those.
///
/// # Errors
///
/// When the remote does not answer or refuses; what was removed by then stays removed.
pub async fn repair(remote: &DynRemote, report: &CheckReport) -> Result<BTreeSet<RefName>> {
    let mut dropped = BTreeSet::new();
    let repairable = report
        .findings
        .iter()
        .filter(|finding| finding.kind != FindingKind::Unsupported);
    for finding in repairable {
        if finding.object.starts_with("refs/") {
            if let Some(object) = ObjectKey::from_listing(&finding.object) {
                remote.delete(&object).await?;
            }
            dropped.extend(finding.keys.iter().cloned());
            continue;
        }
        for name in &finding.keys {
            let saves = report.read.get(name).map_or(&[][..], Vec::as_slice);
            if dropped.insert(name.clone()) {
                remove_saves(remote, name, saves).await?;
            }
        }
    }
    if report.is_complete {
        for pack in &report.damaged_packs {
            remote.delete(pack).await?;
        }
    }
    Ok(dropped)
}
