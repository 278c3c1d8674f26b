//! Removes a cache from a pod: saves the changes of the job, then unmounts it.

use std::path::Path;

use cachefs::mounts::MountRecords;
use tonic::Status;

use super::phase::Phase;
use super::place::{self, TargetState};
use super::publish::canonical_target;
use super::state::CsiVolume;
use super::volumes::{CsiVolumes, error_status, volume_label};
use crate::output;

/// Saves and unmounts a published volume; a missing volume is no error.
///
/// A failed save is only logged, because the pod is gone and could not react to it. If mounts
/// cannot be removed, it is an error, and kubelet retries.
pub(super) fn unpublish_volume(
    volumes: &CsiVolumes,
    id: &str,
    target: &Path,
) -> Result<(), Status> {
    let known = volumes.state.get(id).map_err(error_status)?;
    let Some(volume) = known.filter(|volume| volume.target == target) else {
        return leave_nothing(target);
    };
    let store = &volumes.settings.store;
    let path = canonical_target(&volume.target).unwrap_or_else(|_| volume.target.clone());
    let records = MountRecords::new(store);
    let adopted = records.adopt(&path, volume.namespace, volume.identity.as_deref());
    if adopted.map_err(error_status)? {
        tracing::info!("{}: taken over from an earlier run", volume_label(&volume));
    }
    if let Some(why) = save_volume(volumes, &volume, &path) {
        output::log_text(&format!("{}: {why}", volume_label(&volume)));
    }
    place::clear_target(store, &path).map_err(error_status)?;
    volumes.state.remove(id).map_err(error_status)?;
    volumes.forget(id);
    Ok(())
}

/// Saves a volume if it has changes. Returns messages in addition to those of the save.
fn save_volume(volumes: &CsiVolumes, volume: &CsiVolume, path: &Path) -> Option<String> {
    if !volume.is_published {
        return None;
    }
    if let Some(why) = volume.spec.no_save() {
        return Some(format!("not saved {}: {why}", volume.spec.key()));
    }
    let lost = |why: &str| Some(format!("warning: not saved {}: {why}", volume.spec.key()));
    let secrets = match volumes.secrets(&volume.id) {
        Some(secrets) => secrets,
        None if volume.with_secrets => {
            return lost(
                "this service lost the pod's secrets when it restarted, and kubelet has not sent them again (requiresRepublish)",
            );
        }
        None => Default::default(),
    };
    match place::inspect_target(&volumes.settings.store, path) {
        Ok(TargetState::Mounted) => {}
        Ok(TargetState::Dead) => {
            // A restore repairs the mount and keeps the changes of the job.
            let repaired = volumes.run(volume, Phase::Restore, path, &secrets);
            if let Err(status) = repaired {
                return lost(status.message());
            }
        }
        Ok(TargetState::Plain) if is_empty(path) => {
            return Some(format!("not saved {}: it is empty", volume.spec.key()));
        }
        Ok(TargetState::Plain) => {}
        Ok(TargetState::Gone | TargetState::Nothing) => {
            return lost("it is gone: the node has rebooted since");
        }
        Err(error) => return lost(&cachefs::describe_chain(&error)),
    }
    match volumes.run(volume, Phase::Save, path, &secrets) {
        // The run logged its own result.
        Ok(ran) if ran.code.is_some() => None,
        Ok(_) => lost("it timed out and was killed"),
        Err(status) => lost(status.message()),
    }
}

fn is_empty(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

/// Removes an empty directory at the target of an unknown volume. Anything else may belong to
/// someone.
fn leave_nothing(target: &Path) -> Result<(), Status> {
    // Usually the directory does not exist.
    let _ = std::fs::remove_dir(target);
    Ok(())
}
