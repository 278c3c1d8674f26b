//! Writes the objects of a save: its layers first, then the record that references them.

use bytes::Bytes;

use super::job::{SaveJob, stack_id};
use super::packed_path::{PackedPath, PathDelta};
use super::pipeline::Packed;
use super::publication::{Publication, PublicationInputs, plan_publication};
use super::report::{SaveOutcome, SaveReport};
use crate::error::{Error, Result};
use crate::gc::{self, LEASE, Needs};
use crate::id::LayerId;
use crate::layer::{self, BuiltLayer, TreeTotals};
use crate::refs::{LayerInfo, RefRecord};
use crate::remote::{DynRemote, ObjectKey, PutMode, RemoteErrorKind};
use crate::stack::{Stack, squash_layers};

/// A tree of more entries is not counted: it would take longer than the rest of the save.
const COUNTED: u64 = 1 << 19;

/// A save whose layers are stored, but not yet referenced by a record.
pub struct StoredSave {
    report: SaveReport,
    /// `None` when there is nothing to publish.
    record: Option<PlannedRecord>,
}

/// All that the record is made of.
struct PlannedRecord {
    plan: Publication,
    /// The new layer; `None` when the path adds none.
    layer: Option<LayerInfo>,
    /// The layers that were squashed into one just now.
    parts: Vec<LayerInfo>,
    base: Vec<LayerInfo>,
    restored_at: Option<u64>,
    packed: Packed,
}

impl SaveJob {
    /// Stores the layer of a path, and puts it on the stack that the key is to name. Squashes the
    /// stack when it is deep.
    pub fn store_layers(&self, path: PackedPath) -> Result<StoredSave> {
        let PackedPath {
            delta,
            base,
            restored_at,
            previous,
            began,
        } = path;
        let PathDelta {
            layer: built,
            packed,
            delta: difference,
            ..
        } = delta;
        let layer = built.as_ref().map(|built| {
            let new_bytes = built.bytes.len() as u64 + packed.new_bytes();
            self.describe_layer(built, new_bytes)
        });
        let request = &self.state.request;
        let plan = plan_publication(&PublicationInputs {
            existing: &self.state.existing,
            torn: &self.state.torn,
            replaces: self.replaces(),
            lost: self.state.lost.is_some(),
            base: &base,
            previous: previous.as_ref(),
            layer: layer.as_ref(),
            ttl: request.ttl,
            squash_depth: request.squash_depth,
            now: self.now(),
        });
        let lost = self.state.lost.iter();
        let mut report = SaveReport {
            base: stack_id(&base),
            began,
            tree: plan.tree,
            expires: plan.published.unwrap_or(plan.expires),
            scanned: delta.scanned,
            changes: (difference.added, difference.modified, difference.removed),
            new_raw: packed.new_raw,
            skipped: delta.skipped,
            findings: delta.findings,
            united: plan.united,
            notes: lost
                .map(|why| format!("replacing the earlier content of the key: {why}"))
                .collect(),
            ..SaveReport::nothing(SaveOutcome::Unchanged, plan.stack.clone())
        };
        let warning = delta.shrinkage;
        let warning = warning.map(|it| it.warning(&request.name, request.dry_run));
        let nothing = if delta.refused {
            Some(SaveOutcome::Refused)
        } else if delta.empty {
            Some(SaveOutcome::Empty)
        } else if plan.published.is_some() && (request.dry_run || !request.always) {
            Some(SaveOutcome::Unchanged)
        } else if request.dry_run {
            report.warning = warning.clone();
            Some(SaveOutcome::WouldSave)
        } else {
            None
        };
        if let Some(outcome) = nothing {
            report.outcome = outcome;
            return Ok(StoredSave {
                report,
                record: None,
            });
        }
        report.warning = warning;
        report.expires = plan.expires;
        if let Some(built) = &built {
            self.put_layer(&built.id, &built.bytes)?;
        }
        let parts = self.squash_stack(&plan, &mut report)?;
        if report.tree.is_none() {
            report.tree = self.count_tree(&report.layers)?;
        }
        Ok(StoredSave {
            report,
            record: Some(PlannedRecord {
                plan,
                layer,
                parts,
                base,
                restored_at,
                packed,
            }),
        })
    }

    /// Writes the record, if all objects that it references exist and will stay.
    ///
    /// # Errors
    ///
    /// [`Error::BeingCollected`] names the missing object; nothing is published in that case.
    pub fn publish(&self, stored: StoredSave) -> Result<SaveReport> {
        let StoredSave { mut report, record } = stored;
        let Some(planned) = record else {
            return Ok(self.finish(report));
        };
        let request = &self.state.request;
        let now = self.now();
        let needs = self.needs_of(&report.layers, &planned, now);
        let mut record = RefRecord::new(
            request.name.clone(),
            report.layers.clone(),
            request.creator.clone(),
            request.platform.clone(),
        );
        record.supersedes = planned.plan.supersedes;
        record.expires = planned.plan.expires;
        record.parts = request.parts.clone();
        record.tree = report.tree;
        record.saved_from = request.saved_from.clone();
        let condemned = &self.target.condemned;
        self.block_on(gc::publish_confirmed(
            self.remote(),
            &record,
            condemned,
            &needs,
            now,
        ))?;
        report.save = Some(record.id);
        report.outcome = match planned.layer {
            Some(layer) => SaveOutcome::Saved(Box::new(layer)),
            None => SaveOutcome::Linked,
        };
        Ok(self.finish(report))
    }

    /// The objects that the collector must keep for the record. `docs/gc.md` explains why checking
    /// them is enough.
    fn needs_of(&self, stack: &[LayerInfo], planned: &PlannedRecord, now: u64) -> Needs {
        // A path that was not restored is compared with records that this save has just read.
        let since = planned.restored_at.unwrap_or(now);
        let is_old = u128::from(now.saturating_sub(since)) > LEASE.as_micros() / 2;
        let packed = &planned.packed;
        let packs = packed.new_packs.iter().chain(packed.known_packs.values());
        let packs = packs.copied().collect();
        let (parts, base, named) = (&planned.parts, &planned.base, &planned.plan.named);
        Needs::of(stack, parts, base, named, is_old, packs)
    }

    /// Describes a layer for the record; `new_bytes` is the number of bytes that it added to the
    /// remote.
    fn describe_layer(&self, built: &BuiltLayer, new_bytes: u64) -> LayerInfo {
        let request = &self.state.request;
        LayerInfo {
            id: built.id,
            length: built.bytes.len() as u64,
            summary: built.summary,
            new_bytes,
            contains: Vec::new(),
            created: self.now(),
            key: request.name.key.clone(),
            role: request.role.clone(),
            creator: request.creator.clone(),
        }
    }

    /// Rewrites layers of the stack as one, where the plan says so, and returns these. Only metadata
    /// is rewritten.
    fn squash_stack(&self, plan: &Publication, report: &mut SaveReport) -> Result<Vec<LayerInfo>> {
        let Some(range) = plan.squash.clone() else {
            return Ok(Vec::new());
        };
        let parts = &report.layers[range.clone()];
        let built = squash_layers(&self.open_layers(parts)?, range.start == 0)?;
        self.put_layer(&built.id, &built.bytes)?;
        // `contains` is how a path that was restored from the parts finds the squashed layer at its
        // next save (`follow_squashes`).
        let squashed = LayerInfo {
            contains: parts
                .iter()
                .flat_map(|part| part.contains.iter().copied().chain([part.id]))
                .collect(),
            role: shared_role(parts),
            ..self.describe_layer(&built, built.bytes.len() as u64)
        };
        report.squashed = Some(range.len());
        Ok(report.layers.splice(range, [squashed]).collect())
    }

    /// Counts the tree of a stack, unless that would take long.
    fn count_tree(&self, layers: &[LayerInfo]) -> Result<Option<TreeTotals>> {
        let entries = layers.iter().map(|layer| layer.summary.entries);
        if entries.sum::<u64>() > COUNTED {
            return Ok(None);
        }
        Stack::new(self.open_layers(layers)?)?.totals(COUNTED)
    }

    fn put_layer(&self, id: &LayerId, bytes: &Bytes) -> Result<()> {
        let (remote, object) = (self.remote(), layer::object_key(id));
        match self.block_on(remote.put(&object, bytes.clone(), PutMode::IfAbsent)) {
            Ok(()) => {}
            Err(error) if error.kind() == RemoteErrorKind::Exists => {
                self.block_on(repair_layer(remote, &object, bytes))?;
            }
            Err(error) => return Err(Error::from(error)),
        }
        // A directory on a local disk is read in place, so a local copy would only take space.
        if remote.local_dir().is_none() {
            self.state.layers.keep(remote.id(), id, bytes);
        }
        Ok(())
    }
}

/// Replaces a layer whose bytes do not match its name. Layers are named by their content, so a
/// mismatch is left by a power cut or a bad disk.
async fn repair_layer(remote: &DynRemote, object: &ObjectKey, bytes: &Bytes) -> Result<()> {
    let present = match remote.get(object, layer::MAX).await {
        // No layer is this large, so the object is damaged.
        Err(error) if error.kind() == RemoteErrorKind::TooLarge => Bytes::new(),
        present => present?,
    };
    if present != *bytes {
        tracing::warn!("{object} is damaged, writing it again");
        remote
            .put(object, bytes.clone(), PutMode::Overwrite)
            .await?;
    }
    Ok(())
}

/// The role that all layers have.
fn shared_role(layers: &[LayerInfo]) -> Option<String> {
    let role = &layers.first()?.role;
    let is_shared = layers.iter().all(|layer| layer.role == *role);
    role.clone().filter(|_| is_shared)
}
