//! What can be wrong with an object.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::refs::RefName;
use crate::remote::{ObjectKey, RemoteErrorKind};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The remote answers that there is no such object.
    Missing,
    /// The object is not what it should be.
    Damaged,
    /// The remote has something under this name that it can't read as an object.
    Unreadable,
    /// The object was written by a newer version.
    Unsupported,
}

/// Something that is wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What is wrong.
    pub kind: FindingKind,
    /// The object's name in the remote.
    pub object: String,
    /// How that shows.
    pub detail: String,
    /// The keys that need the object.
    pub keys: Vec<RefName>,
    /// What to do about it.
    pub hint: String,
}

/// Keys that need an object, by their position in a list that all share.
pub(super) type KeyNumbers = BTreeSet<u32>;

/// The keys that are checked.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys(pub(super) Arc<Vec<RefName>>);

impl Keys {
    pub(super) fn named(&self, numbers: &KeyNumbers) -> Vec<RefName> {
        numbers
            .iter()
            .filter_map(|number| self.0.get(*number as usize))
            .cloned()
            .collect()
    }
}

/// A [`Finding`] that does not know yet which keys it affects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: FindingKind,
    pub(super) detail: String,
}

impl Fault {
    pub(super) fn damaged(detail: impl Into<String>) -> Self {
        Self {
            kind: FindingKind::Damaged,
            detail: detail.into(),
        }
    }

    pub(super) fn about(self, object: &ObjectKey, keys: Vec<RefName>) -> Finding {
        let hint = match self.kind {
            FindingKind::Unsupported => "use a newer version of cachefs to read it",
            _ if object.as_str().starts_with("refs/") => "delete the key, or save it again",
            _ => {
                "`cachefs check --repair` drops the keys that need it, so that the next save stores them whole"
            }
        };
        Finding {
            kind: self.kind,
            object: object.to_string(),
            detail: self.detail,
            keys,
            hint: hint.to_owned(),
        }
    }
}

/// Tells what is wrong with an object from what is wrong with the remote: `Ok(Err)` is a fault of
/// the object, `Err` a failure that says nothing of it.
pub(super) fn sort_out<T>(outcome: Result<T>) -> Result<Result<T, Fault>> {
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
            RemoteErrorKind::Damaged | RemoteErrorKind::TooLarge => FindingKind::Damaged,
            RemoteErrorKind::Invalid => FindingKind::Unreadable,
            _ => return Err(error),
        },
        _ => return Err(error),
    };
    let detail = match error {
        Error::Damaged { detail, .. } | Error::Unsupported { detail, .. } => detail,
        Error::Remote(remote) => remote.to_string(),
        Error::Torn { .. } => "it is empty or cut short, and counts as absent".to_owned(),
        other => other.to_string(),
    };
    Ok(Err(Fault { kind, detail }))
}
