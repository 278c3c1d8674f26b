//! Containers that went without a word: while the plugin or the engine was down.
//!
//! The engine's names for mounts say nothing about containers, so the kernel is asked: a volume
//! that no other mount namespace sees is in use by nobody. Between the engine's request and the
//! start of the container nobody sees it either, so only old mounts count, and only after two
//! looks.

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

/// How often volumes are looked at, at most.
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

/// Takes away the holders of volumes that nobody sees, now and when it was last looked; returns
/// those that nobody sees now.
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
    /// Whether a volume's mount has lost its server.
    fn is_dead(&self, volume: &VolumeRecord) -> bool {
        let request = self.read(&volume.name, &volume.options);
        request.is_ok_and(|request| {
            Cycle::new(self.store(), &request)
                .is(Presence::Dead)
                .unwrap_or(false)
        })
    }
}
