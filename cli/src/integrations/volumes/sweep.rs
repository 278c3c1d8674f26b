//! Releases volumes of containers that exited while the plugin or the engine was down.
//!
//! The engine's IDs of mounts do not identify containers, so we ask the kernel: if no other mount
//! namespace has the volume mounted, no container uses it. That is also the case between the
//! engine's request and the start of the container, so we check only old mounts, and release them
//! after two checks.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use cachefs::mounts::Presence;
use cachefs::sys::container_volumes::seen_by;
use cachefs_store::id::SaveId;

use super::driver::VolumeDriver;
use super::record::{VolumeHolder, VolumeRecord};
use crate::integrations::container_cache::Cycle;
use crate::output;

/// Minimum interval between checks.
const EVERY: Duration = Duration::from_secs(20);

/// Continues the work of the previous plugin, and then checks the volumes periodically.
///
/// # Errors
///
/// If the thread cannot be started.
pub(super) fn start_sweeping(
    volumes: Arc<VolumeDriver>,
    patience: Duration,
) -> std::io::Result<()> {
    let run = move || {
        resume_volumes(&volumes);
        let mut suspects = HashSet::new();
        loop {
            std::thread::sleep(patience.min(EVERY));
            suspects = sweep_holders(&volumes, patience, &suspects);
        }
    };
    std::thread::Builder::new()
        .name("sweep".to_owned())
        .spawn(run)
        .map(drop)
}

/// Saves unsaved volumes, and logs dead mounts.
fn resume_volumes(volumes: &VolumeDriver) {
    for info in volumes.list().unwrap_or_default() {
        let name = &info.volume.name;
        if let Err(refusal) = volumes.finish(name) {
            refusal.say("warning", name);
        }
        if !info.volume.holders.is_empty() && volumes.is_dead(&info.volume) {
            output::log_text(
                &output::error_lines(
                    "warning",
                    &format!("{name}: its mount is dead, and containers use it"),
                    Some("restart them: the next one repairs it and keeps its changes"),
                )
                .join("\n"),
            );
        }
    }
}

/// Releases old holders of volumes that were unused in this check and the previous one; returns the
/// volumes that are unused for the first time.
fn sweep_holders(
    volumes: &VolumeDriver,
    patience: Duration,
    suspects: &HashSet<String>,
) -> HashSet<String> {
    let before = SaveId::now()
        .micros
        .saturating_sub(patience.as_micros() as u64);
    let is_old = |holder: &VolumeHolder| holder.visible && holder.since <= before;
    let mut unseen = HashSet::new();
    for info in volumes.list().unwrap_or_default() {
        let volume = info.volume;
        let all_old = volume.holders.iter().all(is_old);
        if volume.holders.is_empty() || !all_old {
            continue;
        }
        match seen_by(&volumes.data(&volume.name)) {
            Ok(0) => {}
            Ok(_) => continue,
            Err(error) => {
                tracing::warn!(
                    "cannot find the containers of volume {}: {error}",
                    volume.name
                );
                continue;
            }
        }
        if !suspects.contains(&volume.name) {
            unseen.insert(volume.name);
            continue;
        }
        output::log_text(&format!(
            "note: {}: no container uses it any more, although no engine reported that",
            volume.name
        ));
        if let Err(refusal) = volumes.release(&volume.name, is_old) {
            refusal.say("warning", &volume.name);
        }
    }
    unseen
}

impl VolumeDriver {
    /// Whether the server of a volume's mount is gone.
    fn is_dead(&self, volume: &VolumeRecord) -> bool {
        let request = self.read(&volume.name, &volume.options);
        request.is_ok_and(|request| {
            Cycle::new(self.store(), &request)
                .is(Presence::Dead)
                .unwrap_or(false)
        })
    }
}
