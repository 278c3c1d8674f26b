//! Identity calls of the driver.

use tonic::Status;

use super::volumes::CsiVolumes;
use super::wire::{BoolValue, GetPluginInfoResponse, ProbeResponse};

/// The driver's name for `CSIDriver`, pods and kubelet.
pub(crate) const DRIVER: &str = "csi.cachefs.io";

/// Returns the name and version of the driver.
pub(super) fn plugin_info() -> GetPluginInfoResponse {
    GetPluginInfoResponse {
        name: DRIVER.to_owned(),
        vendor_version: cachefs::VERSION.to_owned(),
    }
}

/// Reports whether we can serve calls, which needs the node's state to be readable.
///
/// Sends no request to the remote: kubelet restarts a container whose probe fails, which would not
/// bring the remote back.
pub(super) fn probe_state(volumes: &CsiVolumes) -> Result<ProbeResponse, Status> {
    match volumes.all() {
        Ok(_) => Ok(ProbeResponse {
            ready: Some(BoolValue { value: true }),
        }),
        Err(error) => Err(Status::failed_precondition(format!("{error:#}"))),
    }
}
