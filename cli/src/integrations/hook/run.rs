//! The hook: mounts caches into a container that is about to start, and saves them after it exits.

use std::fs;
use std::path::{Path, PathBuf};

use cachefs::sys::foreign_mount::{Root, mount_in_process};
use cachefs::{Error, StoreDir};

use super::annotations;
use super::state::ContainerState;
use crate::caches::{self, ResolvedCache};
use crate::failure::describe_failure;
use crate::global::Global;
use crate::integrations::container_cache::{Cycle, Defaults, Purpose, VolumeOptions, check_name};
use crate::{exit, output};

/// The caches of a hook.
#[derive(Debug, Clone)]
pub(crate) enum Hooked {
    /// Those described by the container's annotations.
    Annotations(Box<Defaults>),
    /// Caches of a file; their paths are paths in the container.
    Caches(Vec<ResolvedCache>),
}

/// State of a hook's run.
struct Hook<'a> {
    store: &'a StoreDir,
    state: &'a ContainerState,
    /// The directory of the container's caches on the host.
    folder: PathBuf,
}

/// Handles a stage of the container's life; returns the exit code, which is nonzero if the
/// container should not start.
///
/// # Errors
///
/// If nothing could be tried: invalid descriptions of caches, or an unreadable bundle.
pub(crate) fn run_stage(
    global: &Global,
    store: &StoreDir,
    state: &ContainerState,
    hooked: &Hooked,
) -> anyhow::Result<u8> {
    let hook = Hook {
        folder: store.path().join("containers").join(&state.id),
        store,
        state,
    };
    let requests = hook.requests(global, hooked)?;
    if state.is_over() {
        let codes: Vec<u8> = requests.iter().map(|request| hook.end(request)).collect();
        // Fails if other hooks of the container still have caches in it.
        let _ = fs::remove_dir(&hook.folder);
        return Ok(caches::worst_code(codes));
    }
    let mut codes = Vec::new();
    for request in &requests {
        let code = hook.begin(request);
        codes.push(code);
        if code != exit::SUCCESS {
            // The container will not start, so `poststop` will not clean up.
            requests.iter().for_each(|request| hook.take_away(request));
            let _ = fs::remove_dir(&hook.folder);
            break;
        }
    }
    Ok(caches::worst_code(codes))
}

impl Hook<'_> {
    fn requests(&self, global: &Global, hooked: &Hooked) -> anyhow::Result<Vec<VolumeOptions>> {
        match hooked {
            Hooked::Annotations(defaults) => {
                annotations::annotated_caches(&self.state.annotations)?
                    .iter()
                    .map(|(name, options)| {
                        let shown = self.folder.join(name);
                        defaults.read(Purpose::Container, name, options, &shown)
                    })
                    .collect()
            }
            Hooked::Caches(caches) => caches
                .iter()
                .map(|cache| {
                    let name = cache.name.clone().unwrap_or_default();
                    check_name(&name)?;
                    Ok(VolumeOptions::of(global, cache, &self.folder.join(name))?)
                })
                .collect(),
        }
    }

    /// Restores a cache and mounts it into the container.
    fn begin(&self, request: &VolumeOptions) -> u8 {
        let name = request.cache.name.as_deref().unwrap_or_default();
        match Cycle::new(self.store, request).begin() {
            Ok(done) => tracing::info!("{name}: {done}"),
            Err(refusal) => {
                refusal.say("error", name);
                return exit::LOCAL;
            }
        }
        let error = match self.show(request) {
            Ok(()) => return exit::SUCCESS,
            Err(error) => error,
        };
        // The build continues without the cache, unless errors are strict.
        let failure = describe_failure(&error.into(), !request.global.strict_errors);
        failure.lines.iter().for_each(|line| output::log_text(line));
        self.take_away(request);
        failure.code
    }

    fn show(&self, request: &VolumeOptions) -> Result<(), Error> {
        let (shown, inside) = (&request.cache.paths[0], request.inside.as_deref());
        let inside = inside.unwrap_or(Path::new("/"));
        // The image controls the links in the path; none of them may escape the container's root.
        let root = self.state.root()?;
        // The administrator may have linked the store's directory to another disk.
        let shown = shown.canonicalize().map_err(Error::io("find", shown))?;
        mount_in_process(&shown, self.state.pid, Root::At(&root), inside)?;
        Ok(())
    }

    /// Saves a cache and unmounts it. Changes that cannot be saved are lost with the container.
    fn end(&self, request: &VolumeOptions) -> u8 {
        let name = request.cache.name.as_deref().unwrap_or_default();
        if !request.cache.paths[0].exists() {
            // It was never mounted.
            return exit::SUCCESS;
        }
        let code = match Cycle::new(self.store, request).end() {
            Ok(done) => {
                output::log_text(&format!("{name}: {done}"));
                exit::SUCCESS
            }
            Err(refusal) => {
                let severity = match request.global.strict_errors {
                    true => "error",
                    false => "warning",
                };
                refusal.say(severity, name);
                exit::LOCAL
            }
        };
        self.take_away(request);
        match request.global.strict_errors {
            true => code,
            false => exit::SUCCESS,
        }
    }

    fn take_away(&self, request: &VolumeOptions) {
        let name = request.cache.name.as_deref().unwrap_or_default();
        if let Err(refusal) = Cycle::new(self.store, request).take_away() {
            refusal.say("warning", name);
        }
    }
}
