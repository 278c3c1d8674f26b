//! Usage and health of a volume.

use std::path::Path;

use cachefs::StoreDir;
use tonic::Status;

use super::place::{self, TargetState};
use super::volumes::error_status;
use super::wire::{NodeGetVolumeStatsResponse, VolumeCondition, VolumeUsage, unit};

/// Inspects a volume. Its usage is that of the disk that holds the changes.
pub(super) fn volume_stats(
    store: &StoreDir,
    path: &Path,
) -> Result<NodeGetVolumeStatsResponse, Status> {
    let condition = |abnormal, message: &str| {
        Some(VolumeCondition {
            abnormal,
            message: message.to_owned(),
        })
    };
    match place::inspect_target(store, path).map_err(error_status)? {
        TargetState::Mounted | TargetState::Plain => {}
        TargetState::Dead => {
            return Ok(NodeGetVolumeStatsResponse {
                usage: Vec::new(),
                volume_condition: condition(true, "the daemon behind the mount is gone"),
            });
        }
        TargetState::Gone | TargetState::Nothing => {
            return Err(Status::not_found("the volume is gone"));
        }
    }
    let disk = rustix::fs::statvfs(path)
        .map_err(|errno| error_status(cachefs::Error::io("look at", path)(errno.into())))?;
    let usage = |unit: i32, size: u64, total: u64, free: u64, available: u64| VolumeUsage {
        available: to_signed(available.saturating_mul(size)),
        total: to_signed(total.saturating_mul(size)),
        used: to_signed(total.saturating_sub(free).saturating_mul(size)),
        unit,
    };
    Ok(NodeGetVolumeStatsResponse {
        usage: vec![
            usage(
                unit::BYTES,
                disk.f_frsize,
                disk.f_blocks,
                disk.f_bfree,
                disk.f_bavail,
            ),
            usage(unit::INODES, 1, disk.f_files, disk.f_ffree, disk.f_favail),
        ],
        volume_condition: condition(false, "the volume responds"),
    })
}

fn to_signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
