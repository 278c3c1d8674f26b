//! The cache of a container: restored before the container starts, saved after it exits.

use std::fmt;
use std::fs;
use std::path::Path;

use cachefs::mounts::{MountRecords, Presence, check_presence, unmount_path};
use cachefs::{Error, StoreDir};
use cachefs_store::ErrorKind;
use cachefs_store::save::SaveOutcome;

use super::options::VolumeOptions;
use super::place::VolumeDirectory;
use crate::caches::{restore_all, save_all};
use crate::detect::holds_something;
use crate::exit;
use crate::failure::{CommandFailure, describe_failure};
use crate::output;
use crate::progress::Display;

/// The reason for a failure, for an engine that shows one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The failure.
    pub(crate) message: String,
    /// The fix.
    pub(crate) hint: Option<String>,
}

/// A cache at its directory on the host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cycle<'a> {
    store: &'a StoreDir,
    request: &'a VolumeOptions,
}

impl<'a> Cycle<'a> {
    /// Creates a cycle for a cache, in a store.
    pub(crate) fn new(store: &'a StoreDir, request: &'a VolumeOptions) -> Self {
        Self { store, request }
    }

    fn path(&self) -> &Path {
        // The options have exactly one path.
        &self.request.cache.paths[0]
    }

    /// Restores the cache at its directory, which it creates; returns a short summary.
    ///
    /// Soft failures leave the directory empty and are logged.
    ///
    /// # Errors
    ///
    /// Hard failures, and a miss with `fail-on-cache-miss`.
    pub(crate) fn begin(&self) -> Result<String, Refusal> {
        let path = self.path();
        VolumeDirectory::of(self.store, path)?;
        fs::create_dir_all(path).map_err(Error::io("create", path))?;
        let display = Display::of_server("copying");
        let mut cache = self.request.cache.clone();
        // A dead mount may have unsaved changes of its containers.
        cache.restore.keep_changes |= self.is(Presence::Dead)?;
        let caches = std::slice::from_ref(&cache);
        let mut restored = restore_all(&self.request.global, caches, &display)?;
        let Some(one) = restored.pop() else {
            return Ok("not restored".to_owned());
        };
        match &one.result {
            Err(failed) if failed.code != exit::SUCCESS => Err(failed.into()),
            Err(failed) => Ok(format!("not restored: {}", failed.message)),
            Ok(_) if one.code == exit::MISS => Err(Refusal {
                message: "no cache matches, and fail-on-cache-miss is set".to_owned(),
                hint: Some("save it once without that option".to_owned()),
            }),
            Ok(report) => Ok(match one.main() {
                Some(found) => format!("restored {}", found.name.key),
                None if report.layers.is_empty() => "nothing to restore".to_owned(),
                None => "restored".to_owned(),
            }),
        }
    }

    /// Saves the directory according to the cache's policy, and unmounts it; returns a short
    /// summary.
    ///
    /// # Errors
    ///
    /// If the save fails; everything is kept for another attempt.
    pub(crate) fn end(&self) -> Result<String, Refusal> {
        let done = self.save()?;
        self.clear()?;
        Ok(done)
    }

    fn save(&self) -> Result<String, Refusal> {
        VolumeDirectory::of(self.store, self.path())?;
        if self.is(Presence::Dead)? {
            // The changes survive a dead mount; once it is repaired, we can save them.
            self.begin()?;
        }
        if !holds_something(self.path()) && !self.is(Presence::Alive)? {
            return Ok("nothing to save".to_owned());
        }
        let display = Display::of_server("saving");
        let caches = std::slice::from_ref(&self.request.cache);
        let mut saved = save_all(&self.request.global, caches, &display)?;
        let Some(one) = saved.pop() else {
            return Ok("not saved".to_owned());
        };
        let key = one.key().to_owned();
        match &one.result {
            Err(failed) => Err(failed.into()),
            Ok(report) => match report.outcome {
                SaveOutcome::Refused => Err(Refusal {
                    message: format!("not saved under {key}: files contain secrets"),
                    hint: Some(
                        "the log lists them; docs/secrets.md explains the options".to_owned(),
                    ),
                }),
                SaveOutcome::Saved(_) => Ok(format!("saved {key}")),
                _ => Ok(format!("nothing new for {key}")),
            },
        }
    }

    /// Unmounts the directory and removes its content.
    ///
    /// # Errors
    ///
    /// If something cannot be removed, or the directory does not belong to the store.
    pub(crate) fn clear(&self) -> Result<(), Refusal> {
        clear_directory(self.store, self.path())
    }

    /// Like [`Cycle::clear`], but also removes the directory itself.
    ///
    /// # Errors
    ///
    /// Those of [`Cycle::clear`].
    pub(crate) fn take_away(&self) -> Result<(), Refusal> {
        self.clear()?;
        Ok(VolumeDirectory::of(self.store, self.path())?.remove()?)
    }

    /// Whether the directory was restored as a mount that is now in the given state.
    pub(crate) fn is(&self, wanted: Presence) -> Result<bool, Refusal> {
        let records = MountRecords::new(self.store);
        Ok(match records.get(self.path())? {
            Some(record) if record.how == cachefs::mounts::How::Mount => {
                check_presence(&record, &records)? == wanted
            }
            _ => false,
        })
    }
}

/// Unmounts a directory of the store and removes its content.
///
/// # Errors
///
/// If something cannot be removed, or the directory does not belong to the store.
pub(in crate::integrations) fn clear_directory(
    store: &StoreDir,
    path: &Path,
) -> Result<(), Refusal> {
    let place = VolumeDirectory::of(store, path)?;
    match unmount_path(store, path, false) {
        Ok(_) => {}
        // It was never restored.
        Err(error) if error.kind() == ErrorKind::Usage => {}
        Err(error) => {
            output::log_text(&format!(
                "note: unmounting {} although it is in use: {}",
                output::format_path(path),
                cachefs::describe_chain(&error)
            ));
            unmount_path(store, path, true)?;
        }
    }
    Ok(place.empty()?)
}

impl Refusal {
    /// Creates a refusal with a hint.
    pub(in crate::integrations) fn new(
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self {
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    /// Prints the refusal, prefixed with the name of the volume or container.
    pub(crate) fn say(&self, severity: &str, about: &str) {
        let lines = output::error_lines(
            severity,
            &format!("{about}: {}", self.message),
            self.hint.as_deref(),
        );
        output::log_text(&lines.join("\n"));
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.hint {
            Some(hint) => write!(f, "{} ({hint})", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl From<&CommandFailure> for Refusal {
    fn from(failure: &CommandFailure) -> Self {
        Self {
            message: failure.message.clone(),
            hint: failure.hint.clone(),
        }
    }
}

impl From<anyhow::Error> for Refusal {
    fn from(error: anyhow::Error) -> Self {
        (&describe_failure(&error, false)).into()
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        anyhow::Error::from(error).into()
    }
}
