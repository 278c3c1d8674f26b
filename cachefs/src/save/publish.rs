//! From a change to a ref.

use std::collections::HashSet;
use std::time::Duration;

use cachefs_store::gc;
use cachefs_store::layer::{self, TreeTotals};
use cachefs_store::refs::{self, LayerInfo, RefRecord};
use cachefs_store::remote::{DynRemote, ObjectKey, PutMode, RemoteErrorKind};
use cachefs_store::stack::{squash_layers, squash_plan};

use super::{FoundChange, SaveContext, SaveOutcome, SaveReport, collected};
use crate::error::Result;
use crate::mounts::{How, MountRecord, MountRecords, RecordedSave};
use crate::restore::COUNTED;

/// The path that a change was made at.
pub(super) struct Own<'a> {
    pub(super) records: &'a MountRecords,
    pub(super) record: &'a mut MountRecord,
    /// When the save began to look at it, in microseconds since 1970.
    pub(super) began: u64,
}

impl Own<'_> {
    /// Notes that all changes are saved.
    fn took_up(&mut self) -> Result<()> {
        if self.record.how == How::Copy {
            return Ok(());
        }
        self.record.taken_up = self.began;
        self.records.put(self.record)
    }
}

/// Stores the layer, puts it on the stack that the key is to name, and publishes that.
///
/// `base` is what the change is one of, and `own` the record of the path that it was made at.
pub(super) fn publish_save(
    context: &SaveContext<'_>,
    base: &[LayerInfo],
    mut own: Option<Own<'_>>,
    existing: Vec<RefRecord>,
    change: FoundChange,
) -> Result<SaveReport> {
    let previous = own
        .as_ref()
        .and_then(|own| previous_save(own.record, context));
    let layer = change.layer.as_ref().map(|built| LayerInfo {
        id: built.id,
        length: built.bytes.len() as u64,
        summary: built.summary,
        new_bytes: built.bytes.len() as u64 + change.packed.new_bytes(),
        contains: Vec::new(),
        created: now_micros(),
        key: context.options.name.key.clone(),
        role: context.options.role.clone(),
        creator: context.options.creator.clone(),
    });
    let mut supersedes = refs::superseded_saves(&existing);
    supersedes.extend(&context.torn);
    let named: HashSet<_> = existing
        .iter()
        .flat_map(|record| record.layers.iter().map(|layer| layer.id))
        .collect();
    let (mut stack, contained) = refs::unite_records(refs::retain_unexpired(existing));
    let replaces = context.replaces();
    if replaces {
        // Superseded all the same; but of their layers only those that the path started from.
        stack.clear();
    }
    // What this path saved before is contained in what it saves now.
    if let Some(RecordedSave {
        layer: Some(replaced),
        ..
    }) = &previous
    {
        stack.retain(|layer| layer.id != *replaced);
    }
    let others = contained
        .iter()
        .filter(|_| !replaces)
        .filter(|record| {
            previous
                .as_ref()
                .is_none_or(|previous| previous.save != record.id)
        })
        .filter(|record| {
            record
                .layers
                .iter()
                .any(|layer| !base.iter().any(|base| base.id == layer.id))
        })
        .count();
    refs::append_layers(&mut stack, base);
    if let Some(layer) = &layer {
        // A layer of the same content may lie further down; on top is where it counts.
        stack.retain(|present| present.id != layer.id);
        stack.push(layer.clone());
    }
    let names_the_same = |record: &RefRecord| {
        record.layers.len() == stack.len()
            && record.layers.iter().zip(&stack).all(|(a, b)| a.id == b.id)
    };
    let expires = context
        .options
        .ttl
        .map(|ttl| u64::try_from(ttl.as_micros()).unwrap_or(u64::MAX))
        .map(|ttl| now_micros().saturating_add(ttl));
    let is_published = !context.lost
        && matches!(
            &contained[..],
            [record] if names_the_same(record) && lasts_as_long(record, expires, context.options.ttl)
        );
    let mut report = SaveReport {
        outcome: SaveOutcome::Unchanged,
        tree: refs::tree_totals(&stack, &contained),
        expires: match &contained[..] {
            [record] if is_published => record.expires,
            _ => expires,
        },
        layers: stack,
        scanned: change.scanned,
        changes: (
            change.delta.added,
            change.delta.modified,
            change.delta.removed,
        ),
        new_raw: change.packed.new_raw,
        skipped: change.skipped,
        findings: change.findings,
        squashed: None,
        united: others,
        notes: Vec::new(),
        warning: None,
        traffic: Default::default(),
        elapsed: Default::default(),
    };
    if change.refused {
        report.outcome = SaveOutcome::Refused;
        return Ok(report);
    }
    if change.empty {
        report.outcome = SaveOutcome::Empty;
        return Ok(report);
    }
    if context.options.dry_run {
        if !is_published {
            report.outcome = SaveOutcome::WouldSave;
        }
        return Ok(report);
    }
    if is_published && !context.options.always {
        if let Some(own) = &mut own {
            own.took_up()?;
        }
        return Ok(report);
    }
    report.expires = expires;
    if let Some(built) = &change.layer {
        put_layer(context, &built.id, built.bytes.clone())?;
    }
    let parts = squash_if_deep(context, &mut report)?;
    report.tree = match report.tree {
        Some(tree) => Some(tree),
        None => count_tree(context, &report.layers)?,
    };
    let restored = own.as_ref().map(|own| own.record.restored);
    let now = now_micros();
    let (stack, packed, times) = (&report.layers, &change.packed, (restored, now));
    let needs = collected::save_needs(stack, &parts, base, &named, times, packed);
    let name = context.options.name.clone();
    let mut record = RefRecord::new(
        name.clone(),
        report.layers.clone(),
        context.options.creator.clone(),
        context.options.platform.clone(),
    );
    record.supersedes = supersedes;
    record.expires = expires;
    record.parts = context.options.parts.clone();
    record.tree = report.tree;
    record.saved_from = context.options.saved_from.clone();
    context.session.block_on(gc::publish_confirmed(
        context.session.remote(),
        &record,
        &context.target.condemned,
        &needs,
        now,
    ))?;
    if let Some(own) = &mut own {
        let saved = &mut own.record.saved;
        saved.retain(|saved| saved.name != name);
        let id = layer.as_ref().map(|layer| layer.id);
        saved.push(RecordedSave {
            name,
            save: record.id,
            layer: id,
        });
        own.record.taken_up = own.began;
        own.records.put(own.record)?;
    }
    report.outcome = match layer {
        Some(layer) => SaveOutcome::Saved(Box::new(layer)),
        None => SaveOutcome::Linked,
    };
    Ok(report)
}

/// Counts the tree of a stack, unless that would take long.
fn count_tree(context: &SaveContext<'_>, layers: &[LayerInfo]) -> Result<Option<TreeTotals>> {
    let entries = layers.iter().map(|layer| layer.summary.entries);
    if entries.sum::<u64>() > COUNTED {
        return Ok(None);
    }
    Ok(context.session.open_stack(layers)?.totals(COUNTED)?)
}

fn previous_save(record: &MountRecord, context: &SaveContext<'_>) -> Option<RecordedSave> {
    record
        .saved
        .iter()
        .find(|saved| saved.name == context.options.name)
        .cloned()
}

/// Whether a record lasts as long as one that were written now: a save that changes nothing puts
/// the end off, but not every time.
fn lasts_as_long(record: &RefRecord, expires: Option<u64>, ttl: Option<Duration>) -> bool {
    match (record.expires, expires, ttl) {
        (Some(old), Some(new), Some(ttl)) => {
            new.abs_diff(old) <= u64::try_from(ttl.as_micros() / 10).unwrap_or(u64::MAX)
        }
        (old, new, _) => old == new,
    }
}

pub(super) fn now_micros() -> u64 {
    cachefs_store::id::SaveId::now().micros
}

fn put_layer(
    context: &SaveContext<'_>,
    id: &cachefs_store::id::LayerId,
    bytes: bytes::Bytes,
) -> Result<()> {
    let object = layer::object_key(id);
    let (session, remote) = (&context.session, context.session.remote());
    let put = remote.put(&object, bytes.clone(), PutMode::IfAbsent);
    match session.block_on(put) {
        Ok(()) => {}
        Err(error) if error.kind() == RemoteErrorKind::Exists => {
            session.block_on(repair_layer(remote, &object, &bytes))?;
        }
        Err(error) => return Err(cachefs_store::Error::from(error).into()),
    }
    if remote.local_dir().is_none() {
        session.layers().keep(remote.id(), id, &bytes);
    }
    Ok(())
}

/// Replaces a layer that is not what its name says: layers are named by their content, so other
/// bytes are what a power cut or a bad disk left.
async fn repair_layer(
    remote: &DynRemote,
    object: &ObjectKey,
    bytes: &bytes::Bytes,
) -> cachefs_store::Result<()> {
    let present = match remote.get(object, layer::MAX).await {
        Err(error) if error.kind() == RemoteErrorKind::TooLarge => bytes::Bytes::new(),
        present => present?,
    };
    if present != *bytes {
        tracing::warn!("{object} is damaged and is written again");
        remote
            .put(object, bytes.clone(), PutMode::Overwrite)
            .await?;
    }
    Ok(())
}

/// Keeps stacks shallow: rewrites layers as one when there are many, and returns these. Only metadata
/// is rewritten.
///
/// The newest layer stays as it is, so that savers who squash the same stack at the same time make
/// the same layer, and a later save of this path can still replace its own.
fn squash_if_deep(context: &SaveContext<'_>, report: &mut SaveReport) -> Result<Vec<LayerInfo>> {
    let Some((_, below)) = report.layers.split_last() else {
        return Ok(Vec::new());
    };
    let entries: Vec<_> = below.iter().map(|layer| layer.summary.entries).collect();
    let Some(range) = squash_plan(&entries) else {
        return Ok(Vec::new());
    };
    let parts = &report.layers[range.clone()];
    let opened = context.session.open_layers(parts)?;
    let built = squash_layers(&opened, range.start == 0)?;
    put_layer(context, &built.id, built.bytes.clone())?;
    let squashed = LayerInfo {
        id: built.id,
        length: built.bytes.len() as u64,
        summary: built.summary,
        new_bytes: built.bytes.len() as u64,
        contains: parts
            .iter()
            .flat_map(|part| part.contains.iter().copied().chain([part.id]))
            .collect(),
        created: now_micros(),
        key: context.options.name.key.clone(),
        role: shared_role(parts),
        creator: context.options.creator.clone(),
    };
    report.squashed = Some(range.len());
    Ok(report.layers.splice(range, [squashed]).collect())
}

/// The role that all layers have.
fn shared_role(layers: &[LayerInfo]) -> Option<String> {
    let role = &layers.first()?.role;
    let is_shared = layers.iter().all(|layer| layer.role == *role);
    role.clone().filter(|_| is_shared)
}
