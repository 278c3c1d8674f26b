//! Calls the node service for Kubernetes over its socket, as kubelet does.

mod client;
mod conformance;
mod manifests;
mod node;
mod restart;
mod secrets;
mod volumes;

// We reuse the service's own messages; its unit tests check their encoding against the CSI spec.
#[path = "../../../../cli/src/integrations/csi/codec.rs"]
mod codec;
#[path = "../../../../cli/src/integrations/csi/message.rs"]
mod message;
#[allow(dead_code, reason = "some constants are for the service only")]
#[path = "../../../../cli/src/integrations/csi/wire.rs"]
mod wire;
