//! Showing a cache to a pod.

use std::path::Path;

use cachefs::mounts::Records;
use tonic::Status;

use super::credentials::Secrets;
use super::place::{self, Found};
use super::spec::{Phase, Spec};
use super::state::Volume;
use super::volumes::{Volumes, told, who};
use crate::output;

/// What kubelet asks for.
pub(super) struct Publish {
    pub(super) id: String,
    pub(super) target: std::path::PathBuf,
    pub(super) spec: Spec,
    pub(super) secrets: Secrets,
}

/// Shows the cache at its place, unless it is there.
///
/// # Errors
///
/// `ALREADY_EXISTS` when the volume was published and was to be something else;
/// `FAILED_PRECONDITION` when it is somewhere else, or its place is another's. A cache that is out of
/// reach is no error, unless the pod says so.
pub(super) fn publish(volumes: &Volumes, asked: Publish) -> Result<(), Status> {
    let known = volumes.state.get(&asked.id).map_err(told)?;
    if let Some(known) = &known {
        agrees(known, &asked)?;
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
    let records = Records::new(&volumes.settings.store);
    let mut volume = Volume {
        with_secrets: !secrets.is_empty(),
        namespace: records.namespace(),
        identity: records.identity().map(str::to_owned),
        is_published: known.as_ref().is_some_and(|known| known.is_published),
        // What a key with a time in it became when it was first asked for.
        spec: known.as_ref().map_or(spec, |known| known.spec.clone()),
        id,
        target,
    };
    place::make(&volume.target).map_err(told)?;
    let path = canonical(&volume.target)?;
    if let Some(known) = &known {
        records
            .adopt(&path, known.namespace, known.identity.as_deref())
            .map_err(told)?;
    }
    remember(volumes, known.as_ref(), &volume)?;
    let found = place::look(&volumes.settings.store, &path).map_err(told)?;
    let is_there = matches!(found, Found::Mounted | Found::Plain) && volume.is_published;
    if !is_there && let Err(status) = restore(volumes, &volume, &path, &secrets) {
        if !volume.is_published {
            abandon(volumes, &volume, &path);
        }
        return Err(status);
    }
    if volume.spec.read_only {
        place::protect(&path, &volumes.aside(&volume.id)).map_err(told)?;
    }
    volume.is_published = true;
    remember(volumes, known.as_ref(), &volume)
}

/// Writes what is known of a volume, unless that is what is there: kubelet asks again all the time.
fn remember(volumes: &Volumes, known: Option<&Volume>, volume: &Volume) -> Result<(), Status> {
    if known == Some(volume) {
        return Ok(());
    }
    volumes.state.put(volume).map_err(told)
}

/// Whether a volume that is known is the one that is asked for.
fn agrees(known: &Volume, asked: &Publish) -> Result<(), Status> {
    if known.target != asked.target {
        return Err(Status::failed_precondition(format!(
            "the volume is published at {}, and can be at one place only",
            known.target.display()
        )));
    }
    let (old, new) = (&known.spec, &asked.spec);
    if old.asked != new.asked || old.read_only != new.read_only {
        return Err(Status::already_exists(
            "the volume is published with other attributes; take it down first",
        ));
    }
    Ok(())
}

/// Whether no other volume is at the place.
fn is_free(volumes: &Volumes, asked: &Publish) -> Result<(), Status> {
    let all = volumes.all().map_err(told)?;
    match all.iter().find(|other| other.target == asked.target) {
        Some(other) => Err(Status::failed_precondition(format!(
            "another volume is published there: {}",
            other.id
        ))),
        None => Ok(()),
    }
}

fn restore(
    volumes: &Volumes,
    volume: &Volume,
    path: &Path,
    secrets: &Secrets,
) -> Result<(), Status> {
    if volume.spec.read_only {
        // Of a mount that died, what is over it has to go first.
        place::unprotect(path).map_err(told)?;
    }
    match volumes.run(volume, Phase::Restore, path, secrets) {
        Ok(ran) => match ran.refusal() {
            Some(refusal) => Err(refusal),
            None => Ok(()),
        },
        Err(status) if volume.spec.is_on("strictErrors") => Err(status),
        Err(status) => {
            output::say(&format!(
                "{}: warning: {}: the pod starts without its cache",
                who(volume),
                status.message()
            ));
            Ok(())
        }
    }
}

/// Leaves nothing of a volume that was never there for its pod.
fn abandon(volumes: &Volumes, volume: &Volume, path: &Path) {
    volumes.forget(&volume.id);
    let cleared =
        place::clear(&volumes.settings.store, path).and_then(|()| volumes.state.remove(&volume.id));
    if let Err(error) = cleared {
        // Kubelet asks for it to be taken down, or for it again; both find what is left.
        tracing::warn!("{}: {}", who(volume), cachefs::describe(&error));
    }
}

/// The path without links, as records have it. Works for a mount that is dead.
pub(super) fn canonical(target: &Path) -> Result<std::path::PathBuf, Status> {
    let resolved = match (target.parent(), target.file_name()) {
        (Some(parent), Some(name)) => parent.canonicalize().map(|parent| parent.join(name)),
        _ => target.canonicalize(),
    };
    resolved.map_err(|error| told(cachefs::Error::io("find", target)(error)))
}
