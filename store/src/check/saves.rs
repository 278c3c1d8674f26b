//! Reading every save of the keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::finding::{FindingKind, FindingSaves, ObjectFault, SaveNumbers, sort_out};
use super::{CheckOptions, CheckReport};
use crate::error::{Error, Result};
use crate::id::{LayerId, SaveId};
use crate::parallel;
use crate::progress::Progress;
use crate::refs::{LayerInfo, MAX_RECORD, RefName, RefRecord, parse_listing};
use crate::remote::{DynRemote, ObjectKey};

/// The number of refs that are read at a time.
const REQUESTS: usize = 16;

/// The lengths that records claim for a layer, with the saves that do.
pub(super) type Claims = BTreeMap<u64, SaveNumbers>;

/// The layers that saves need.
#[derive(Debug, Default)]
pub(super) struct NeededLayers {
    pub(super) saves: FindingSaves,
    pub(super) layers: BTreeMap<LayerId, Claims>,
}

/// A ref to be read.
struct RefJob {
    name: RefName,
    /// The save and its number; `None` for the key's head.
    save: Option<(u32, SaveId)>,
    object: ObjectKey,
}

pub(super) async fn check_saves(
    remote: &DynRemote,
    options: &CheckOptions,
    progress: &dyn Progress,
    report: &mut CheckReport,
) -> Result<NeededLayers> {
    let mut keys: BTreeMap<RefName, Vec<SaveId>> = BTreeMap::new();
    for object in remote.list("refs/").await? {
        if let Some((name, save)) = parse_listing(&object.key)
            && options
                .scopes
                .as_ref()
                .is_none_or(|scopes| scopes.contains(&name.scope))
            && name.key.as_str().starts_with(&options.prefix)
        {
            keys.entry(name).or_default().push(save);
        }
    }
    report.keys = keys.len() as u64;
    let (mut jobs, mut saves) = (Vec::new(), Vec::new());
    for (name, listed) in &keys {
        jobs.push(RefJob {
            name: name.clone(),
            save: None,
            object: name.head(),
        });
        for save in listed {
            jobs.push(RefJob {
                name: name.clone(),
                save: Some((saves.len() as u32, *save)),
                object: name.record(save),
            });
            saves.push((name.clone(), *save));
        }
    }
    let mut needed = NeededLayers {
        saves: FindingSaves(Arc::new(saves)),
        ..NeededLayers::default()
    };
    progress.total(jobs.len() as u64, 0);
    let start = |job: RefJob| {
        let remote = remote.clone();
        async move { read_save(&remote, job).await }
    };
    parallel::for_each(REQUESTS, jobs, progress, start, |(job, outcome)| {
        progress.done(1, 0);
        match outcome {
            Ok((record, length)) => {
                progress.transferred(length);
                report.bytes += length;
                if let Some((number, save)) = job.save {
                    report.saves += 1;
                    for LayerInfo { id, length, .. } in record.layers {
                        let claims = needed.layers.entry(id).or_default();
                        claims.entry(length).or_default().insert(number);
                    }
                    let listed = keys.get(&job.name).map_or(&[][..], Vec::as_slice);
                    let superseded = record.supersedes.into_iter();
                    let superseded = superseded.filter(|save| listed.contains(save)).collect();
                    report.superseded.insert((job.name, save), superseded);
                }
            }
            // Superseded since it was listed; or a key whose first saver has not come to its head.
            Err(ObjectFault {
                kind: FindingKind::Missing,
                ..
            }) => {}
            Err(fault) => {
                report.saves += u64::from(job.save.is_some());
                report.findings.push(match job.save {
                    Some((_, save)) => fault.about(&job.object, vec![(job.name, save)]),
                    None => fault.about_keys(&job.object, vec![job.name]),
                });
            }
        }
        Ok(())
    })
    .await?;
    Ok(needed)
}

async fn read_save(
    remote: &DynRemote,
    job: RefJob,
) -> Result<(RefJob, Result<(RefRecord, u64), ObjectFault>)> {
    let mut outcome = sort_out(read_record(remote, &job).await)?;
    if outcome.is_err() {
        // It may have been damaged on the way only.
        outcome = sort_out(read_record(remote, &job).await)?;
    }
    Ok((job, outcome))
}

/// Reads a record, and returns how many bytes it has.
async fn read_record(remote: &DynRemote, job: &RefJob) -> Result<(RefRecord, u64)> {
    let bytes = remote.get(&job.object, MAX_RECORD).await?;
    let record = RefRecord::decode(&job.object, &bytes)?;
    let is_other = job.save.is_some_and(|(_, save)| save != record.id);
    if record.name() != job.name || is_other {
        let what = format!("ref {}", job.object);
        return Err(Error::damaged(what, "it is the record of another save"));
    }
    Ok((record, bytes.len() as u64))
}
