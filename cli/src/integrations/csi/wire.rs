//! The messages of the Container Storage Interface that a node service needs.
//!
//! They are written by hand from the field numbers of CSI 1.x, so that the build needs no `protoc`
//! and no macros of another crate. Fields that we never read are omitted; the decoder skips them.

use std::collections::BTreeMap;
use std::fmt;

use super::message::message;

message! {
    /// `google.protobuf.BoolValue`.
    #[derive(Debug)]
    pub(crate) struct BoolValue {
        1 => pub(crate) value: bool [plain bool],
    }

    /// A request or response without fields that we read.
    #[derive(Debug)]
    pub(crate) struct Empty {}

    #[derive(Debug)]
    pub(crate) struct GetPluginInfoResponse {
        1 => pub(crate) name: String [plain string],
        2 => pub(crate) vendor_version: String [plain string],
    }

    #[derive(Debug)]
    pub(crate) struct ProbeResponse {
        1 => pub(crate) ready: Option<BoolValue> [optional],
    }

    /// `Debug` shows only the names of secrets, and of the volume context, which can contain
    /// tokens.
    pub(crate) struct NodePublishVolumeRequest {
        1 => pub(crate) volume_id: String [plain string],
        4 => pub(crate) target_path: String [plain string],
        5 => pub(crate) volume_capability: Option<VolumeCapability> [optional],
        6 => pub(crate) readonly: bool [plain bool],
        7 => pub(crate) secrets: BTreeMap<String, String> [map],
        8 => pub(crate) volume_context: BTreeMap<String, String> [map],
    }

    #[derive(Debug)]
    pub(crate) struct NodeUnpublishVolumeRequest {
        1 => pub(crate) volume_id: String [plain string],
        2 => pub(crate) target_path: String [plain string],
    }

    /// The requested access to a volume: as a block device or as a directory.
    #[derive(Debug)]
    pub(crate) struct VolumeCapability {
        1 => pub(crate) block: Option<Empty> [optional],
        2 => pub(crate) mount: Option<MountVolume> [optional],
        3 => pub(crate) access_mode: Option<AccessMode> [optional],
    }

    #[derive(Debug)]
    pub(crate) struct MountVolume {
        1 => pub(crate) fs_type: String [plain string],
        2 => pub(crate) mount_flags: Vec<String> [repeated string],
    }

    #[derive(Debug)]
    pub(crate) struct AccessMode {
        1 => pub(crate) mode: i32 [plain int32],
    }

    #[derive(Debug)]
    pub(crate) struct NodeGetVolumeStatsRequest {
        1 => pub(crate) volume_id: String [plain string],
        2 => pub(crate) volume_path: String [plain string],
    }

    #[derive(Debug)]
    pub(crate) struct NodeGetVolumeStatsResponse {
        1 => pub(crate) usage: Vec<VolumeUsage> [repeated message],
        2 => pub(crate) volume_condition: Option<VolumeCondition> [optional],
    }

    #[derive(Debug)]
    pub(crate) struct VolumeUsage {
        1 => pub(crate) available: i64 [plain int64],
        2 => pub(crate) total: i64 [plain int64],
        3 => pub(crate) used: i64 [plain int64],
        4 => pub(crate) unit: i32 [plain int32],
    }

    #[derive(Debug)]
    pub(crate) struct VolumeCondition {
        1 => pub(crate) abnormal: bool [plain bool],
        2 => pub(crate) message: String [plain string],
    }

    #[derive(Debug)]
    pub(crate) struct NodeGetCapabilitiesResponse {
        1 => pub(crate) capabilities: Vec<NodeServiceCapability> [repeated message],
    }

    /// A capability; its only kind is wrapped in a message of its own.
    #[derive(Debug)]
    pub(crate) struct NodeServiceCapability {
        1 => pub(crate) rpc: Option<Rpc> [optional],
    }

    #[derive(Debug)]
    pub(crate) struct Rpc {
        1 => pub(crate) kind: i32 [plain int32],
    }

    #[derive(Debug)]
    pub(crate) struct NodeGetInfoResponse {
        1 => pub(crate) node_id: String [plain string],
    }
}

/// Access modes: how many nodes and writers share a volume.
pub(crate) mod mode {
    pub(crate) const SINGLE_NODE_WRITER: i32 = 1;
    pub(crate) const SINGLE_NODE_READER_ONLY: i32 = 2;
    pub(crate) const MULTI_NODE_READER_ONLY: i32 = 3;
    pub(crate) const MULTI_NODE_SINGLE_WRITER: i32 = 4;
    pub(crate) const MULTI_NODE_MULTI_WRITER: i32 = 5;
    pub(crate) const SINGLE_NODE_SINGLE_WRITER: i32 = 6;
    pub(crate) const SINGLE_NODE_MULTI_WRITER: i32 = 7;
}

/// Units of a [`VolumeUsage`].
pub(crate) mod unit {
    pub(crate) const BYTES: i32 = 1;
    pub(crate) const INODES: i32 = 2;
}

/// The capabilities of a node service, the values of [`Rpc`].
pub(crate) mod rpc {
    pub(crate) const GET_VOLUME_STATS: i32 = 2;
    pub(crate) const VOLUME_CONDITION: i32 = 4;
    pub(crate) const SINGLE_NODE_MULTI_WRITER: i32 = 5;
}

impl fmt::Debug for NodePublishVolumeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |map: &BTreeMap<String, String>| map.keys().cloned().collect::<Vec<_>>();
        f.debug_struct("NodePublishVolumeRequest")
            .field("volume_id", &self.volume_id)
            .field("target_path", &self.target_path)
            .field("volume_capability", &self.volume_capability)
            .field("readonly", &self.readonly)
            .field("secrets", &names(&self.secrets))
            .field("volume_context", &names(&self.volume_context))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let pair = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let request = NodePublishVolumeRequest {
            secrets: pair("AWS_SECRET_ACCESS_KEY", "hunter2"),
            volume_context: pair("csi.storage.k8s.io/serviceAccount.tokens", "hunter3"),
            ..Default::default()
        };
        let shown = format!("{request:?}");
        assert!(shown.contains("AWS_SECRET_ACCESS_KEY"), "{shown}");
        assert!(!shown.contains("hunter"), "{shown}");
    }

    #[test]
    fn the_bytes_are_those_of_the_interface() {
        // Field 1, "v"; field 5 { field 2 {}, field 3 { field 1: 1 } }; field 6: true; field 8 {
        // "a": "b" }; and an unknown field 99.
        let bytes = b"\x0a\x01v\x2a\x06\x12\x00\x1a\x02\x08\x01\x30\x01\x42\x06\x0a\x01a\x12\x01b\x98\x06\x07";
        let request = NodePublishVolumeRequest::decode(&bytes[..]).unwrap();
        assert_eq!(request.volume_id, "v");
        let capability = request.volume_capability.clone().unwrap();
        assert_eq!(capability.mount, Some(MountVolume::default()));
        assert_eq!(
            capability.access_mode.unwrap().mode,
            mode::SINGLE_NODE_WRITER
        );
        assert!(request.readonly && capability.block.is_none());
        assert_eq!(request.volume_context["a"], "b");
        assert_eq!(request.encode_to_vec(), bytes[..bytes.len() - 3]);
    }

    #[test]
    fn answers_are_encoded_as_the_interface_has_them() {
        let usage = VolumeUsage {
            used: 300,
            unit: unit::INODES,
            ..Default::default()
        };
        let answer = NodeGetVolumeStatsResponse {
            usage: vec![usage.clone(), VolumeUsage::default()],
            volume_condition: Some(VolumeCondition {
                abnormal: true,
                message: "m".to_owned(),
            }),
        };
        let bytes = b"\x0a\x05\x18\xac\x02\x20\x02\x0a\x00\x12\x05\x08\x01\x12\x01m";
        assert_eq!(answer.encode_to_vec(), bytes);
        assert_eq!(
            NodeGetVolumeStatsResponse::decode(&bytes[..]).unwrap(),
            answer
        );
        assert!(NodeGetVolumeStatsResponse::decode(&bytes[..12]).is_err());
    }
}
