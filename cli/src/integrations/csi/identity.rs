//! Identity calls of the driver.

use tonic::Status;

use super::volumes::CsiVolumes;
use super::wire::{BoolValue, GetPluginInfoResponse, ProbeResponse};

/// The name that `CSIDriver`, pods and kubelet know this driver by.
pub(crate) const DRIVER: &str = "csi.cachefs.io";

/// Name and version.
pub(super) fn plugin_info() -> GetPluginInfoResponse {
    GetPluginInfoResponse {
        name: DRIVER.to_owned(),
        vendor_version: cachefs::VERSION.to_owned(),
    }
}

/// Whether calls can be answered: the node's state can be read.
///
/// No request is sent to the remote: kubelet restarts a container whose probe fails, which would
/// not bring the remote back.
pub(super) fn probe_state(volumes: &CsiVolumes) -> Result<ProbeResponse, Status> {
    match volumes.all() {
        Ok(_) => Ok(ProbeResponse {
            ready: Some(BoolValue { value: true }),
        }),
        Err(error) => Err(Status::failed_precondition(format!("{error:#}"))),
    }
}
