//! The calls of kubelet, with all arguments validated.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use tonic::Status;

use super::credentials::Secrets;
use super::publish::{Publish, canonical_target, publish_volume};
use super::spec::Spec;
use super::unpublish::unpublish_volume;
use super::volumes::{CsiVolumes, VolumeAction};
use super::wire::{self, mode, rpc};
use super::{stats, volumes};

/// Maximum length in bytes of a node's or volume's name, from the CSI specification.
const MAX_NAME: usize = 256;
/// Characters with a special meaning in the paths of caches.
const SPECIAL: [char; 9] = ['*', '?', '[', ']', '{', '}', '!', '\n', '\0'];

/// The node service.
pub(super) struct NodeService {
    id: String,
    volumes: Arc<CsiVolumes>,
}

impl NodeService {
    /// Creates the service for a node.
    ///
    /// # Errors
    ///
    /// A usage error for a name that kubelet would reject.
    pub(super) fn new(id: &str, volumes: CsiVolumes) -> Result<Self, cachefs::Error> {
        if id.is_empty() || id.len() > MAX_NAME || id.chars().any(char::is_control) {
            return Err(cachefs::Error::usage(
                "the name of the node has to have 1 to 256 characters",
                "pass its name in Kubernetes, for example --node-id=\"$NODE_NAME\"",
            ));
        }
        Ok(Self {
            id: id.to_owned(),
            volumes: Arc::new(volumes),
        })
    }

    /// All volumes.
    pub(super) fn volumes(&self) -> &CsiVolumes {
        &self.volumes
    }

    /// The optional capabilities of this service.
    pub(super) fn capabilities() -> wire::NodeGetCapabilitiesResponse {
        let all = [
            rpc::GET_VOLUME_STATS,
            rpc::VOLUME_CONDITION,
            rpc::SINGLE_NODE_MULTI_WRITER,
        ];
        let capability = |kind| wire::NodeServiceCapability {
            rpc: Some(wire::Rpc { kind }),
        };
        wire::NodeGetCapabilitiesResponse {
            capabilities: all.map(capability).to_vec(),
        }
    }

    /// The name of this node.
    pub(super) fn info(&self) -> wire::NodeGetInfoResponse {
        wire::NodeGetInfoResponse {
            node_id: self.id.clone(),
        }
    }

    /// `NodePublishVolume`.
    pub(super) async fn publish(
        &self,
        asked: wire::NodePublishVolumeRequest,
    ) -> Result<wire::Empty, Status> {
        let id = volume_id(asked.volume_id)?;
        let target = parse_path("target_path", &asked.target_path)?;
        let reads_only = check_capability(asked.volume_capability.as_ref())?;
        let read_only = asked.readonly || reads_only;
        let rules = &self.volumes.settings.rules;
        let spec = Spec::read(&asked.volume_context, read_only, rules)?;
        let secrets = Secrets::read(asked.secrets)?;
        let asked = Publish {
            id: id.clone(),
            target,
            spec,
            secrets,
        };
        let work = |volumes: &CsiVolumes| publish_volume(volumes, asked);
        self.volumes.act(&id, VolumeAction::Publish, work).await?;
        Ok(wire::Empty {})
    }

    /// `NodeUnpublishVolume`.
    pub(super) async fn unpublish(
        &self,
        asked: wire::NodeUnpublishVolumeRequest,
    ) -> Result<wire::Empty, Status> {
        let id = volume_id(asked.volume_id)?;
        let target = parse_path("target_path", &asked.target_path)?;
        let of = id.clone();
        let work = move |volumes: &CsiVolumes| unpublish_volume(volumes, &of, &target);
        self.volumes.act(&id, VolumeAction::Unpublish, work).await?;
        Ok(wire::Empty {})
    }

    /// `NodeGetVolumeStats`.
    pub(super) async fn stats(
        &self,
        asked: wire::NodeGetVolumeStatsRequest,
    ) -> Result<wire::NodeGetVolumeStatsResponse, Status> {
        let id = volume_id(asked.volume_id)?;
        let target = parse_path("volume_path", &asked.volume_path)?;
        let known = self.volumes.state.get(&id).map_err(volumes::error_status)?;
        if known.is_none_or(|volume| volume.target != target || !volume.is_published) {
            return Err(Status::not_found("no such volume is published there"));
        }
        let volumes = Arc::clone(&self.volumes);
        let look =
            move || stats::volume_stats(&volumes.settings.store, &canonical_target(&target)?);
        tokio::task::spawn_blocking(look)
            .await
            .unwrap_or_else(|_| Err(Status::internal("this is a bug in cachefs")))
    }
}

fn volume_id(id: String) -> Result<String, Status> {
    match id.len() {
        0 => Err(Status::invalid_argument("volume_id is missing")),
        1..=MAX_NAME => Ok(id),
        _ => Err(Status::invalid_argument("volume_id is too long")),
    }
}

/// Parses a path from kubelet. Rejects a path that has a special meaning as the path of a cache.
fn parse_path(field: &str, text: &str) -> Result<PathBuf, Status> {
    if text.is_empty() {
        return Err(Status::invalid_argument(format!("{field} is missing")));
    }
    let path = Path::new(text);
    let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    if !path.is_absolute() || !path.components().all(plain) || path.parent().is_none() {
        return Err(Status::invalid_argument(format!(
            "{field} is not an absolute path of a directory: {text}"
        )));
    }
    if text.contains(SPECIAL) {
        return Err(Status::invalid_argument(format!(
            "{field} has characters with a special meaning in paths of caches: {text}"
        )));
    }
    Ok(path.to_owned())
}

/// Checks the requested access to the volume; returns whether it is read-only.
fn check_capability(capability: Option<&wire::VolumeCapability>) -> Result<bool, Status> {
    let invalid = |message: &str| Err(Status::invalid_argument(message));
    let Some(capability) = capability else {
        return invalid("volume_capability is missing");
    };
    match (&capability.block, &capability.mount) {
        (Some(_), _) => return invalid("a cache is a directory, not a block device"),
        (None, None) => return invalid("volume_capability has no access type"),
        (None, Some(mount)) if !mount.fs_type.is_empty() => {
            return invalid("a cache has no filesystem of its own: remove fsType");
        }
        (None, Some(mount)) if !mount.mount_flags.is_empty() => {
            return invalid("a cache has no mount options: remove them");
        }
        (None, Some(_)) => {}
    }
    match capability.access_mode.as_ref().map_or(0, |mode| mode.mode) {
        mode::SINGLE_NODE_WRITER
        | mode::SINGLE_NODE_SINGLE_WRITER
        | mode::SINGLE_NODE_MULTI_WRITER => Ok(false),
        mode::SINGLE_NODE_READER_ONLY => Ok(true),
        mode::MULTI_NODE_READER_ONLY
        | mode::MULTI_NODE_SINGLE_WRITER
        | mode::MULTI_NODE_MULTI_WRITER => {
            invalid("a volume belongs to one pod on one node; pods share a cache by its key")
        }
        _ => invalid("volume_capability has an unknown access mode"),
    }
}
