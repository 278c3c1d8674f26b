//! Reading every save of the keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::finding::{Fault, FindingKind, KeyNumbers, Keys, sort_out};
use super::{CheckOptions, CheckReport};
use crate::error::{Error, Result};
use crate::id::{LayerId, SaveId};
use crate::parallel;
use crate::refs::{LayerInfo, MAX_RECORD, Record, RefName, parse_listing};
use crate::remote::{DynRemote, ObjectKey};
use crate::save::Progress;

/// So many refs are read at a time.
const REQUESTS: usize = 16;

/// What the saves need.
#[derive(Debug, Default)]
pub(super) struct Needed {
    pub(super) keys: Keys,
    /// The layers with the lengths that records give them, and the keys of these records. A record
    /// that is wrong about a layer says nothing about the keys of other records.
    pub(super) layers: BTreeMap<(LayerId, u64), KeyNumbers>,
}

/// A ref to be read.
struct Job {
    key: u32,
    name: RefName,
    /// `None` for the key's head.
    save: Option<SaveId>,
    object: ObjectKey,
}

pub(super) async fn check(
    remote: &DynRemote,
    options: &CheckOptions,
    progress: &dyn Progress,
    report: &mut CheckReport,
) -> Result<Needed> {
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
    let mut jobs = Vec::new();
    for (key, (name, saves)) in keys.iter().enumerate() {
        let head = Job {
            key: key as u32,
            name: name.clone(),
            save: None,
            object: name.head(),
        };
        jobs.push(head);
        jobs.extend(saves.iter().map(|save| Job {
            key: key as u32,
            name: name.clone(),
            save: Some(*save),
            object: name.record(save),
        }));
    }
    report.read = keys.clone();
    let mut needed = Needed {
        keys: Keys(Arc::new(keys.into_keys().collect())),
        ..Needed::default()
    };
    report.keys = needed.keys.0.len() as u64;
    progress.total(jobs.len() as u64, 0);
    let start = |job: Job| {
        let remote = remote.clone();
        async move { read(&remote, job).await }
    };
    parallel::for_each(REQUESTS, jobs, progress, start, |(job, outcome)| {
        progress.done(1, 0);
        match outcome {
            Ok((record, length)) => {
                progress.transferred(length);
                report.bytes += length;
                if job.save.is_some() {
                    report.saves += 1;
                    for LayerInfo { id, length, .. } in record.layers {
                        let keys = needed.layers.entry((id, length)).or_default();
                        keys.insert(job.key);
                    }
                }
            }
            // Superseded since it was listed; or a key whose first saver has not come to its head.
            Err(Fault {
                kind: FindingKind::Missing,
                ..
            }) => {}
            Err(fault) => {
                report.saves += u64::from(job.save.is_some());
                report
                    .findings
                    .push(fault.about(&job.object, vec![job.name]));
            }
        }
        Ok(())
    })
    .await?;
    Ok(needed)
}

async fn read(remote: &DynRemote, job: Job) -> Result<(Job, Result<(Record, u64), Fault>)> {
    let outcome = match remote.get(&job.object, MAX_RECORD).await {
        Ok(bytes) => Record::decode(&job.object, &bytes).map(|record| (record, bytes.len() as u64)),
        Err(error) => Err(Error::from(error)),
    };
    let mut outcome = sort_out(outcome)?;
    if let Ok((record, _)) = &outcome {
        let is_other = job.save.is_some_and(|save| save != record.id);
        if record.name() != job.name || is_other {
            outcome = Err(Fault::damaged("it is the record of another save"));
        }
    }
    Ok((job, outcome))
}
