//! Checking that everything that the keys of a repository need is there and intact.
//!
//! From the top down: every ref is read and decoded; every layer that a ref names is fetched,
//! each of its pages verified and each of its records looked at; every pack that a layer refers to
//! must have the length and the trailer it should, and hold the frames that layers look for in
//! it. On demand every frame is fetched, decoded and compared with the trailer, chunk by chunk.
//!
//! A fault of an object is a [`ObjectFinding`]. It counts against the saves whose own description of the
//! object is wrong, not against all that name it: records and layers of one tenant may say anything of
//! the objects of another. An outage, or a refusal of access, is an error: nothing follows from it.

mod availability;
mod finding;
mod frames;
mod layers;
mod packs;
mod repair;
mod saves;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub(crate) use availability::is_damaged;
pub use availability::{Missing, find_missing, may_be_missing};
pub use finding::{FindingKind, ObjectFinding};
pub(crate) use packs::verify_pack;
pub use repair::{Repaired, repair_keys};

use crate::error::Result;
use crate::id::SaveId;
use crate::progress::Progress;
use crate::refs::{RefName, Scope};
use crate::remote::{DynRemote, ObjectKey};

/// The keys to check, and how thoroughly.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckOptions {
    /// The scopes whose keys are checked; `None` for all.
    pub scopes: Option<Vec<Scope>>,
    /// Only keys that start with this.
    pub prefix: String,
    /// Fetches and verifies the data too, not only the structure.
    pub read_data: bool,
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CheckReport {
    /// Number of keys.
    pub keys: u64,
    /// Number of saves of these keys.
    pub saves: u64,
    /// Number of layers that they are made of.
    pub layers: u64,
    /// Number of packs that the layers refer to.
    pub packs: u64,
    /// Number of frames that were decoded; 0 unless data was read.
    pub frames: u64,
    /// Number of bytes that were fetched.
    pub bytes: u64,
    /// The faults, sorted by object.
    pub findings: Vec<ObjectFinding>,
    /// The saves that each save supersedes and that are still there, for [`repair_keys()`].
    #[serde(skip)]
    pub superseded: BTreeMap<(RefName, SaveId), Vec<SaveId>>,
    /// Packs with data that does not match their own trailer, for [`repair_keys()`]. Otherwise
    /// machines whose index has such a pack would reference it again.
    #[serde(skip)]
    pub damaged_packs: BTreeSet<ObjectKey>,
    /// Whether all keys of the repository were checked.
    #[serde(skip)]
    pub is_complete: bool,
}

/// Checks the keys of a repository.
///
/// Memory is bounded by the number of frames (about 32 bytes for each 256 KiB of data), by four
/// layers and by four ranges of packs at a time. A save that is published or superseded during the
/// check is not a finding. Fails if the remote is unavailable or denies access, and if `progress`
/// cancels.
///
/// # Examples
///
/// Verifies all data of all keys:
///
/// ```
/// use cachefs_store::check::{CheckOptions, check_repository};
/// use cachefs_store::progress::Silent;
/// use cachefs_store::remote::{RemoteSpec, RetryPolicy, open_remote};
///
/// # let dir = tempfile::tempdir()?;
/// # let url = format!("file://{}", dir.path().display());
/// let spec = RemoteSpec { url, ..RemoteSpec::default() };
/// let opened = open_remote(&spec, RetryPolicy::default())?;
/// let options = CheckOptions { read_data: true, ..CheckOptions::default() };
/// let runtime = tokio::runtime::Runtime::new()?;
/// let report = runtime.block_on(check_repository(&opened.remote, &options, &Silent))?;
/// assert!(report.findings.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub async fn check_repository(
    remote: &DynRemote,
    options: &CheckOptions,
    progress: &dyn Progress,
) -> Result<CheckReport> {
    let mut report = CheckReport {
        is_complete: options.scopes.is_none() && options.prefix.is_empty(),
        ..CheckReport::default()
    };
    let saves = saves::check_saves(remote, options, progress, &mut report).await?;
    let packs = layers::check_layers(remote, saves, progress, &mut report).await?;
    packs::check_packs(remote, packs, options.read_data, progress, &mut report).await?;
    report
        .findings
        .sort_by(|a, b| (&a.object, a.kind, &a.detail).cmp(&(&b.object, b.kind, &b.detail)));
    Ok(report)
}
