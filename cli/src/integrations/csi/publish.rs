//! Mounts a cache into a pod.

use std::path::Path;

use cachefs::mounts::MountRecords;
use tonic::Status;

use super::credentials::Secrets;
use super::phase::Phase;
use super::place::{self, TargetState};
use super::spec::Spec;
use super::state::CsiVolume;
use super::volumes::{CsiVolumes, error_status, volume_label};
use crate::output;

/// A publish request from kubelet.
pub(super) struct Publish {
    pub(super) id: String,
    pub(super) target: std::path::PathBuf,
    pub(super) spec: Spec,
    pub(super) secrets: Secrets,
}

/// Mounts the cache at its target, unless it is mounted already.
///
/// # Errors
///
/// `ALREADY_EXISTS` if the volume was published with other attributes; `FAILED_PRECONDITION` if it
/// is published at another target, or its target belongs to another volume. An unreachable remote
/// is no error, unless the pod requests one.
pub(super) fn publish_volume(volumes: &CsiVolumes, asked: Publish) -> Result<(), Status> {
    let known = volumes.state.get(&asked.id).map_err(error_status)?;
    if let Some(known) = &known {
        check_agreement(known, &asked)?;
    } else {
        is_free(volumes, &asked)?;
    }
    let Publish {
        id,
        target,
        spec,
        secrets,
    } = asked;
    volumes.learn(&id, secrets.clone());
    let records = MountRecords::new(&volumes.settings.store);
    let mut volume = CsiVolume {
        with_secrets: !secrets.is_empty(),
        namespace: records.namespace(),
        identity: records.identity().map(str::to_owned),
        is_published: known.as_ref().is_some_and(|known| known.is_published),
        // The key keeps its first expansion, even if its template contains `{{ epoch }}`.
        spec: known.as_ref().map_or(spec, |known| known.spec.clone()),
        id,
        target,
    };
    place::make_target(&volume.target).map_err(error_status)?;
    let path = canonical_target(&volume.target)?;
    if let Some(known) = &known {
        records
            .adopt(&path, known.namespace, known.identity.as_deref())
            .map_err(error_status)?;
    }
    record_volume(volumes, known.as_ref(), &volume)?;
    let found = place::inspect_target(&volumes.settings.store, &path).map_err(error_status)?;
    let is_there =
        matches!(found, TargetState::Mounted | TargetState::Plain) && volume.is_published;
    if !is_there && let Err(status) = restore_volume(volumes, &volume, &path, &secrets) {
        if !volume.is_published {
            abandon_volume(volumes, &volume, &path);
        }
        return Err(status);
    }
    if volume.spec.read_only {
        place::protect_target(&path, &volumes.aside(&volume.id)).map_err(error_status)?;
    }
    volume.is_published = true;
    record_volume(volumes, known.as_ref(), &volume)
}

/// Writes the record of a volume if it changed: kubelet repeats its requests often.
fn record_volume(
    volumes: &CsiVolumes,
    known: Option<&CsiVolume>,
    volume: &CsiVolume,
) -> Result<(), Status> {
    if known == Some(volume) {
        return Ok(());
    }
    volumes.state.put(volume).map_err(error_status)
}

/// Whether a known volume matches the request.
fn check_agreement(known: &CsiVolume, asked: &Publish) -> Result<(), Status> {
    if known.target != asked.target {
        return Err(Status::failed_precondition(format!(
            "the volume is already published at {}",
            known.target.display()
        )));
    }
    let (old, new) = (&known.spec, &asked.spec);
    if old.asked != new.asked || old.read_only != new.read_only {
        return Err(Status::already_exists(
            "the volume is published with other attributes; unpublish it first",
        ));
    }
    Ok(())
}

/// Whether no other volume uses the target.
fn is_free(volumes: &CsiVolumes, asked: &Publish) -> Result<(), Status> {
    let all = volumes.all().map_err(error_status)?;
    match all.iter().find(|other| other.target == asked.target) {
        Some(other) => Err(Status::failed_precondition(format!(
            "another volume is published there: {}",
            other.id
        ))),
        None => Ok(()),
    }
}

fn restore_volume(
    volumes: &CsiVolumes,
    volume: &CsiVolume,
    path: &Path,
    secrets: &Secrets,
) -> Result<(), Status> {
    if volume.spec.read_only {
        // A mount over a dead one must be removed first.
        place::unprotect_target(path).map_err(error_status)?;
    }
    match volumes.run(volume, Phase::Restore, path, secrets) {
        Ok(ran) => match ran.refusal() {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        },
        Err(status) if volume.spec.is_on("strictErrors") => Err(status),
        Err(status) => {
            output::log_text(&format!(
                "{}: warning: {}: the pod starts without its cache",
                volume_label(volume),
                status.message()
            ));
            Ok(())
        }
    }
}

/// Removes all traces of a volume that was never published.
fn abandon_volume(volumes: &CsiVolumes, volume: &CsiVolume, path: &Path) {
    volumes.forget(&volume.id);
    let cleared = place::clear_target(&volumes.settings.store, path)
        .and_then(|()| volumes.state.remove(&volume.id));
    if let Err(error) = cleared {
        // Kubelet will unpublish or publish it again; both clean up leftovers.
        tracing::warn!(
            "{}: {}",
            volume_label(volume),
            cachefs::describe_chain(&error)
        );
    }
}

/// The path with links resolved, as in mount records. Works even if the mount is dead.
pub(super) fn canonical_target(target: &Path) -> Result<std::path::PathBuf, Status> {
    let resolved = match (target.parent(), target.file_name()) {
        (Some(parent), Some(name)) => parent.canonicalize().map(|parent| parent.join(name)),
        _ => target.canonicalize(),
    };
    resolved.map_err(|error| error_status(cachefs::Error::io("find", target)(error)))
}
