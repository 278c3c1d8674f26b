//! Faults of objects, as a check reports them.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::hint::Hint;
use crate::id::SaveId;
use crate::refs::RefName;
use crate::remote::{ObjectKey, RemoteErrorKind};

/// The kind of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The remote answers that the object does not exist.
    Missing,
    /// The bytes that were received, or the length that the remote reports, are not the object's.
    Damaged,
    /// The remote refuses to return the object, or its answers break off. That may be an outage or a
    /// configuration error, such as a disabled encryption key, so nothing follows for the object.
    Unreadable,
    /// The object was written by a newer version.
    Unsupported,
}

/// A save, by the key that it is of.
pub(super) type SaveName = (RefName, SaveId);

/// Something that is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectFinding {
    /// The kind of the fault.
    pub kind: FindingKind,
    /// The object's name in the remote.
    pub object: String,
    /// How that shows.
    pub detail: String,
    /// The keys that need the object as it should be.
    pub keys: Vec<RefName>,
    /// Advice to the user.
    pub hint: Hint,
    /// The saves of these keys that cannot be served, for [`repair_keys`](super::repair_keys). Only those whose
    /// own description of the object is wrong: a save of another tenant may describe it falsely.
    /// None if the object is the head of a key.
    #[serde(skip)]
    pub saves: Vec<(RefName, SaveId)>,
}

impl ObjectFinding {
    /// Whether [`repair_keys`](super::repair_keys) acts on it: received bytes, or the answer that
    /// the object does not exist, prove the fault.
    pub fn is_repairable(&self) -> bool {
        matches!(self.kind, FindingKind::Missing | FindingKind::Damaged)
    }
}

/// FindingSaves, by their position in a list that all share.
pub(super) type SaveNumbers = BTreeSet<u32>;

/// The saves that are checked.
#[derive(Debug, Clone, Default)]
pub(super) struct FindingSaves(pub(super) Arc<Vec<SaveName>>);

impl FindingSaves {
    pub(super) fn named(&self, numbers: &SaveNumbers) -> Vec<SaveName> {
        numbers
            .iter()
            .filter_map(|number| self.0.get(*number as usize))
            .cloned()
            .collect()
    }
}

/// A [`ObjectFinding`] that does not know yet which saves it affects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ObjectFault {
    pub(super) kind: FindingKind,
    pub(super) detail: String,
}

impl ObjectFault {
    pub(super) fn damaged(detail: impl Into<String>) -> Self {
        Self {
            kind: FindingKind::Damaged,
            detail: detail.into(),
        }
    }

    /// The finding about an object that these saves need.
    pub(super) fn about(self, object: &ObjectKey, saves: Vec<SaveName>) -> ObjectFinding {
        let keys: BTreeSet<_> = saves.iter().map(|(name, _)| name.clone()).collect();
        ObjectFinding {
            saves,
            ..self.about_keys(object, keys.into_iter().collect())
        }
    }

    /// The finding about an object that no save needs, such as the head of a key.
    pub(super) fn about_keys(self, object: &ObjectKey, keys: Vec<RefName>) -> ObjectFinding {
        let hint = match self.kind {
            FindingKind::Unsupported => "use a newer version of cachefs to read it".into(),
            FindingKind::Unreadable => Hint::FixRemoteAndCheck,
            _ if object.as_str().starts_with("refs/") => Hint::RepairObject,
            FindingKind::Damaged if object.as_str().starts_with("packs/") => Hint::RepairPack,
            _ => Hint::RepairKeys,
        };
        ObjectFinding {
            kind: self.kind,
            object: object.to_string(),
            detail: self.detail,
            keys,
            hint,
            saves: Vec::new(),
        }
    }
}

/// Separates faults of an object from failures of the remote: `Ok(Err)` is a fault of the object, and
/// `Err` a failure from which nothing follows for it.
pub(super) fn sort_out<T>(outcome: Result<T>) -> Result<Result<T, ObjectFault>> {
    let error = match outcome {
        Ok(value) => return Ok(Ok(value)),
        Err(error) => error,
    };
    let kind = match &error {
        Error::Damaged { .. }
        | Error::Torn { .. }
        | Error::TooLarge { .. }
        | Error::InvalidName(_) => FindingKind::Damaged,
        Error::Unsupported { .. } => FindingKind::Unsupported,
        Error::Remote(remote) => match remote.kind() {
            RemoteErrorKind::NotFound => FindingKind::Missing,
            // Larger than any valid object of its kind, by the length that the remote reports.
            RemoteErrorKind::TooLarge => FindingKind::Damaged,
            RemoteErrorKind::Damaged | RemoteErrorKind::Invalid => FindingKind::Unreadable,
            _ => return Err(error),
        },
        _ => return Err(error),
    };
    let detail = match error {
        Error::Damaged { detail, .. } | Error::Unsupported { detail, .. } => detail,
        Error::Remote(remote) => remote.to_string(),
        Error::Torn { .. } => "it is empty or truncated, and treated as absent".to_owned(),
        other => other.to_string(),
    };
    Ok(Err(ObjectFault { kind, detail }))
}
