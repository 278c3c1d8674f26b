//! The two versions of a directory that we save and restore, and checks of the restored trees.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::measure::Unit;
use crate::report::ReportSection;
use crate::work::{WorkTotals, find, sync};
use crate::workspace::Workspace;

/// One version of the directory.
#[derive(Debug, Clone)]
pub(crate) struct SubjectVersion {
    /// The user's directory, which we only read.
    origin: PathBuf,
    /// Number of entries, files and bytes in the copy.
    pub(crate) totals: WorkTotals,
}

/// Both versions, and the copy that the tools save.
#[derive(Debug)]
pub(crate) struct BenchSubject {
    /// The directory to save: a copy of v1 or v2.
    pub(crate) plain: PathBuf,
    /// The state of the directory at the first save.
    pub(crate) v1: SubjectVersion,
    /// The state at the second save, after some changes.
    pub(crate) v2: SubjectVersion,
    /// A file of v1 for the single-file read, relative to the root.
    pub(crate) typical: PathBuf,
}

/// The two directories that the user names.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Versions {
    /// A directory as it is first cached
    #[arg(long, value_name = "DIR")]
    pub(crate) v1: PathBuf,
    /// The same directory after some changes
    #[arg(long, value_name = "DIR")]
    pub(crate) v2: PathBuf,
}

impl BenchSubject {
    /// Scans both versions and checks that they can be copied.
    pub(crate) fn prepare(workspace: &Workspace, versions: &Versions) -> Result<Self> {
        let version = |dir: &Path| -> Result<SubjectVersion> {
            let origin = dir.canonicalize();
            let origin = origin.with_context(|| format!("{} cannot be used", dir.display()))?;
            let (_, totals) = find::find_tree(&origin)?;
            Ok(SubjectVersion { origin, totals })
        };
        let (v1, v2) = (version(&versions.v1)?, version(&versions.v2)?);
        let typical = find::typical_file(&v1.origin)?;
        let typical = typical.context("the first version has no file with content")?;
        let mut subject = Self {
            plain: workspace.fresh("plain")?,
            v1,
            v2,
            typical,
        };
        // Count the copies rather than the originals: the copy skips fifos, sockets and devices.
        for second in [true, false] {
            subject.bring_plain_to(second)?;
            let (_, totals) = find::find_tree(&subject.plain)?;
            let version = if second {
                &mut subject.v2
            } else {
                &mut subject.v1
            };
            ensure!(
                (totals.files, totals.bytes) == (version.totals.files, version.totals.bytes),
                "{} changed while it was copied",
                version.origin.display()
            );
            version.totals = totals;
        }
        Ok(subject)
    }

    /// Makes `plain` a copy of v2 if `second` is set, otherwise of v1.
    pub(crate) fn bring_plain_to(&self, second: bool) -> Result<sync::SyncChanges> {
        let version = if second { &self.v2 } else { &self.v1 };
        sync::sync_directory(&version.origin, &self.plain)
    }

    /// Adds the totals of both versions to the section.
    pub(crate) fn describe(&self, section: &mut ReportSection) {
        for (name, version) in [("v1", &self.v1), ("v2", &self.v2)] {
            let WorkTotals { files, bytes, .. } = version.totals;
            let bytes = Unit::Bytes.show(bytes as f64);
            let origin = version.origin.display();
            section.fact(name, format!("{origin}: {files} files, {bytes}"));
        }
    }
}

/// Returns an error if the totals of a tree differ from those saved.
pub(crate) fn verify_totals(what: &str, found: WorkTotals, wanted: WorkTotals) -> Result<()> {
    let show = |totals: WorkTotals| {
        let bytes = Unit::Bytes.show(totals.bytes as f64);
        format!("{} files with {} ({bytes})", totals.files, totals.bytes)
    };
    ensure!(
        (found.files, found.bytes) == (wanted.files, wanted.bytes),
        "{what} has {} and should have {}",
        show(found),
        show(wanted)
    );
    Ok(())
}

/// Returns an error if two trees differ in content, modes or owners.
pub(crate) fn verify_content(what: &str, wanted: &Path, restored: &Path) -> Result<()> {
    let changes = sync::sync_directory(wanted, restored)?;
    ensure!(
        changes.is_empty(),
        "{what} differs from what was saved: {changes:?}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_that_lacks_something_is_told() {
        let wanted = WorkTotals {
            entries: 9,
            files: 2,
            bytes: 10,
        };
        verify_totals(
            "x",
            WorkTotals {
                entries: 3,
                ..wanted
            },
            wanted,
        )
        .unwrap();
        let error = verify_totals("x", WorkTotals { bytes: 9, ..wanted }, wanted).unwrap_err();
        assert_eq!(
            error.to_string(),
            "x has 2 files with 9 (9 B) and should have 2 files with 10 (10 B)"
        );
        verify_totals("x", WorkTotals { files: 1, ..wanted }, wanted).unwrap_err();
    }
}
