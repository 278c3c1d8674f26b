//! The node service for Kubernetes, called over its socket as kubelet calls it.

mod client;
mod conformance;
mod manifests;
mod node;
mod restart;
mod secrets;
mod volumes;

// The messages are the service's own; that their bytes are those of the interface is tested there.
#[path = "../../../../cli/src/integrations/csi/codec.rs"]
mod codec;
#[path = "../../../../cli/src/integrations/csi/message.rs"]
mod message;
#[allow(dead_code, reason = "some constants are for the service only")]
#[path = "../../../../cli/src/integrations/csi/wire.rs"]
mod wire;
