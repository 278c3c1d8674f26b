//! Executes a plan.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use cachefs_store::archive::{Names, ReadOptions};
use cachefs_store::local::LayerCache;
use cachefs_store::refs::{RefName, list_keys, resolve_key};
use cachefs_store::remote::{ObjectKey, OpenRemote, RemoteSpec, RetryPolicy};
use cachefs_store::restore::find_loss;
use tokio::runtime::Runtime;

use super::legacy_archives::{self, Archives};
use super::mounts::{self, MountBase, PluginMount};
use super::plan::{PluginAction, PluginPlan};
use crate::caches::{self, CommonOptions, ResolvedCache, RestoreHow, RestoredDirectory, SaveHow};
use crate::commands::auto;
use crate::commands::import::{ImportSource, import_lines, run_import};
use crate::detect::CacheChoice;
use crate::failure::describe_failure;
use crate::global::{Global, OutputFormat};
use crate::keys::ExpandedKey;
use crate::progress::Display;
use crate::{exit, output, setup};

/// Maximum unpacked size of a plugin's archive in bytes.
const LARGEST_ARCHIVE: u64 = 1 << 40;

/// The state of a plan's execution.
struct PluginRun<'a> {
    global: &'a Global,
    plan: &'a PluginPlan,
    place: MountBase,
    /// The expanded key, without the mount.
    expanded: ExpandedKey,
    runtime: Arc<Runtime>,
    remote: OpenRemote,
    display: Display,
}

pub(super) fn run_plan(global: &Global, plan: &PluginPlan) -> anyhow::Result<u8> {
    for note in &plan.notes {
        output::log_text(&format!("note: {note}"));
    }
    let workspace = match &plan.local_root {
        Some(root) => std::path::absolute(root).context("cannot tell the current directory")?,
        None => setup::workspace_directory()?,
    };
    if plan.detects {
        return run_detected(global, plan, workspace);
    }
    let expanded = setup::expand_in(&workspace, &plan.key, false, &[])?;
    let (runtime, remote) = setup::connect_remote(global)?;
    let work = PluginRun {
        global,
        plan,
        place: MountBase {
            workspace,
            home: std::env::home_dir(),
        },
        expanded,
        runtime,
        remote,
        display: Display::start(match plan.action {
            PluginAction::Restore => "restoring",
            PluginAction::Rebuild => "saving",
        })?,
    };
    match plan.action {
        PluginAction::Restore => work.restore(),
        PluginAction::Rebuild => work.rebuild(),
    }
}

/// Restores or saves the caches of the tools in the workspace, with the keys of `cachefs auto`
/// prefixed by the repository or the account.
fn run_detected(global: &Global, plan: &PluginPlan, workspace: PathBuf) -> anyhow::Result<u8> {
    let root = plan.root.as_deref().filter(|root| !root.is_empty());
    let choice = CacheChoice {
        workspace: Some(workspace),
        key_prefix: root.map(|root| format!("{root}/")).unwrap_or_default(),
        ..CacheChoice::default()
    };
    let common = CommonOptions::default();
    match plan.action {
        PluginAction::Restore => {
            let how = RestoreHow {
                mode: plan.mode,
                strict_key: plan.strict_key,
                fail_on_cache_miss: plan.fail_on_miss,
                ..RestoreHow::default()
            };
            auto::auto_restore(global, &choice, &common, &how)
        }
        PluginAction::Rebuild => auto::auto_save(global, &choice, &common, &SaveHow::default()),
    }
}

impl PluginRun<'_> {
    /// Prefixes a key with the repository only.
    fn rooted(&self, key: &str) -> String {
        match &self.plan.root {
            Some(root) if !root.is_empty() => format!("{root}/{key}"),
            _ => key.to_owned(),
        }
    }

    fn cache(&self, mount: &PluginMount) -> ResolvedCache {
        ResolvedCache {
            name: None,
            workspace: self.place.workspace.clone(),
            key: Some(self.rooted(&format!("{}/{}", self.plan.key, mount.name))),
            restore_keys: Vec::new(),
            paths: vec![mount.path.clone()],
            common: CommonOptions::default(),
            layers: Vec::new(),
            only: None,
            restore: RestoreHow {
                mode: self.plan.mode,
                ..RestoreHow::default()
            },
            save: Default::default(),
        }
    }

    fn restore(&self) -> anyhow::Result<u8> {
        let mounts = self.wanted()?;
        let caches: Vec<ResolvedCache> = mounts.iter().map(|mount| self.cache(mount)).collect();
        if caches.is_empty() {
            output::log_text(&format!(
                "miss {}: nothing was saved under this key, and no archive of the plugin is there",
                self.rooted(&self.expanded.key)
            ));
        }
        let restored = caches::restore_or_fill(self.global, &caches, &self.display, |missed| {
            let of_path = |mount: &&PluginMount| missed.cache.paths.contains(&mount.path);
            match mounts.iter().find(of_path) {
                Some(mount) => self.import(mount),
                None => Ok(false),
            }
        })?;
        let mut codes: Vec<u8> = restored.iter().map(|one| one.code).collect();
        if self.plan.fail_on_miss
            && (restored.is_empty() || restored.iter().any(RestoredDirectory::missed))
        {
            output::print_error(
                "error",
                "a key is missing, and PLUGIN_FAIL_RESTORE_IF_KEY_NOT_PRESENT is true",
                Some("rebuild the cache once without it"),
            );
            codes.push(exit::MISS);
        }
        if self.global.format == OutputFormat::Json {
            caches::print_results(&restored)?;
        }
        Ok(caches::worst_code(codes))
    }

    /// The mounts to restore: the named ones, and the existing ones that match a pattern. Without
    /// names, all existing ones.
    fn wanted(&self) -> anyhow::Result<Vec<PluginMount>> {
        let given: Vec<(bool, PluginMount)> = self
            .plan
            .mounts
            .iter()
            .map(|text| {
                (
                    mounts::is_pattern(text, &self.place),
                    self.place.mount(text),
                )
            })
            .collect();
        let is_listed = given.is_empty() || given.iter().any(|(is_pattern, _)| *is_pattern);
        let there = if is_listed { self.there()? } else { Vec::new() };
        if given.is_empty() {
            return Ok(there);
        }
        let mut wanted: Vec<PluginMount> = Vec::new();
        for (is_pattern, mount) in given {
            if is_pattern {
                let matcher = mounts::mount_matcher(&mount)?;
                // A name with brackets may be a directory that does not exist yet.
                let is_match = |there: &&PluginMount| {
                    matcher.is_match(&there.name) || there.name == mount.name
                };
                let matching = there.iter().filter(is_match);
                wanted.extend(matching.cloned());
            } else {
                wanted.push(mount);
            }
        }
        wanted.dedup();
        Ok(wanted)
    }

    /// The mounts that were saved under the key, or for which the plugin left archives.
    fn there(&self) -> anyhow::Result<Vec<PluginMount>> {
        let base = self.rooted(&self.expanded.key);
        let prefix = if self.plan.strict_key {
            format!("{base}/")
        } else {
            base.clone()
        };
        let mut listed = Vec::new();
        for scope in setup::lookup_scopes(self.global)?.all() {
            let there = self
                .runtime
                .block_on(async { list_keys(&self.remote.remote, &scope, &prefix).await });
            match there {
                Ok(there) => listed.extend(there),
                Err(cachefs_store::Error::Remote(error)) if is_new(&error) => {}
                Err(error) => return Err(cachefs::Error::from(error).into()),
            }
        }
        let mut mounts: Vec<PluginMount> = Vec::new();
        for listed in listed {
            // If the listed key is longer than ours, `rest` starts with the rest of the key.
            let rest = &listed.name.key.as_str()[base.len()..];
            if let Some((_, name)) = rest.split_once('/') {
                let mount = self.place.mount(name);
                if !mounts.contains(&mount) {
                    mounts.push(mount);
                }
            }
        }
        if mounts.is_empty() {
            let all = self.archives().and_then(|archives| {
                archives.all(&self.plan.old_roots, &self.old_key(), &self.place)
            });
            match all {
                Ok(all) => mounts.extend(all.into_iter().map(|(_, mount)| mount)),
                Err(error) => self.warn(&error.into()),
            }
        }
        mounts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(mounts)
    }

    fn old_key(&self) -> String {
        let by_branch = std::env::var_os("PLUGIN_CACHE_KEY").is_none_or(|key| key.is_empty());
        legacy_archives::old_key(&self.expanded, &self.place.workspace, by_branch)
    }

    fn old_spec(&self) -> Result<RemoteSpec, cachefs::Error> {
        let store = setup::open_store(self.global).map_err(into_known)?;
        let spec = setup::remote_spec(self.global, &store).map_err(into_known)?;
        Ok(RemoteSpec {
            url: self.plan.old_remote.clone(),
            ..spec
        })
    }

    fn archives(&self) -> Result<Archives, cachefs::Error> {
        let policy = RetryPolicy::within(self.global.timeout);
        Archives::new(&self.old_spec()?, policy, self.runtime.handle().clone())
    }

    /// Imports the plugin's archive of a mount, if there is one; returns whether it did.
    ///
    /// A failure is only logged: the build continues without the cache, as after a miss.
    fn import(&self, mount: &PluginMount) -> anyhow::Result<bool> {
        let imported = self.find(mount).and_then(|found| match found {
            Some(object) => self.import_object(mount, object).map(|()| true),
            None => Ok(false),
        });
        Ok(imported.unwrap_or_else(|error| {
            self.warn(&error);
            false
        }))
    }

    fn find(&self, mount: &PluginMount) -> anyhow::Result<Option<ObjectKey>> {
        let names = legacy_archives::archive_names(&self.plan.old_roots, &self.old_key(), mount);
        if let Some(found) = self.archives()?.find(&names)? {
            return Ok(Some(found));
        }
        // We search an archive that is named after its mount by its names only.
        let all = self
            .archives()?
            .all(&self.plan.old_roots, &self.old_key(), &self.place)?;
        let own = all.into_iter().find(|(_, of)| of == mount);
        Ok(own.map(|(object, _)| object))
    }

    fn import_object(&self, mount: &PluginMount, object: ObjectKey) -> anyhow::Result<()> {
        let cache = self.cache(mount);
        let keys = cache.expand()?;
        let (key, expanded) = keys.main.context("a cache of the plugin has a key")?;
        let name = RefName::new(setup::own_scope(self.global)?, key);
        let from = format!("{}/{object}", self.plan.old_remote);
        self.display.handle().say(&[format!(
            "note: imported {from}, an archive of the plugin, so that this job starts warm"
        )]);
        let read = ReadOptions {
            names: Names::below_first(),
            limit: LARGEST_ARCHIVE,
        };
        let archive = ImportSource::Object(Box::new(self.old_spec()?), object);
        let report = run_import(
            self.global,
            &archive,
            (name.clone(), &expanded),
            read,
            &self.display,
        )?;
        self.display
            .handle()
            .say(&import_lines(&name, &from, &report));
        Ok(())
    }

    fn warn(&self, error: &anyhow::Error) {
        let failure = describe_failure(error, !self.global.strict_errors);
        self.display.handle().say(&failure.lines);
    }

    fn rebuild(&self) -> anyhow::Result<u8> {
        let mut codes = Vec::new();
        let mut caches = Vec::new();
        for text in &self.plan.mounts {
            let mount = self.place.mount(text);
            let found = match mounts::is_pattern(text, &self.place) {
                true => mounts::find_mounts(&mount, &self.place)?,
                false => vec![mount],
            };
            if found.is_empty() {
                self.display
                    .handle()
                    .say(&[format!("note: nothing matches the mount {text}")]);
            }
            for mount in found {
                if !mount.path.exists() {
                    self.display.handle().say(&output::error_lines(
                        if self.plan.strict { "error" } else { "warning" },
                        &format!("{} does not exist", output::format_path(&mount.path)),
                        Some("correct PLUGIN_MOUNT, or check why the build did not create it; the other paths are saved"),
                    ));
                    codes.extend(self.plan.strict.then_some(exit::LOCAL));
                } else if self.plan.overwrite || !self.exists(&mount)? {
                    caches.push(self.cache(&mount));
                }
            }
        }
        let saved = caches::save_all(self.global, &caches, &self.display)?;
        codes.extend(saved.iter().map(|one| one.code));
        if self.global.format == OutputFormat::Json {
            caches::print_results(&saved)?;
        }
        Ok(caches::worst_code(codes))
    }

    /// Whether a mount's key exists; logs that it is kept.
    fn exists(&self, mount: &PluginMount) -> anyhow::Result<bool> {
        let scope = setup::own_scope(self.global)?;
        let cache = self.cache(mount);
        let keys = cache.expand()?;
        let Some(wanted) = keys.wanted(&cache, &[scope]).pop() else {
            return Ok(false);
        };
        let remote = &self.remote.remote;
        let found = match self.runtime.block_on(resolve_key(remote, &wanted)) {
            // Save again a key that cannot be restored.
            Ok(Some(found)) => {
                let store = setup::open_store(self.global)?;
                let layers = LayerCache::new(store.path());
                let lost = find_loss(&layers, remote, &found.layers);
                self.runtime.block_on(lost)?.is_none()
            }
            Ok(None) => false,
            Err(cachefs_store::Error::Remote(error)) if is_new(&error) => false,
            Err(error) => return Err(cachefs::Error::from(error).into()),
        };
        if found {
            self.display.handle().say(&[format!(
                "kept {}: it already exists, and PLUGIN_OVERRIDE is false",
                wanted.key
            )]);
        }
        Ok(found)
    }
}

/// Whether the directory of the remote does not exist yet.
fn is_new(error: &cachefs_store::remote::RemoteError) -> bool {
    error.kind() == cachefs_store::remote::RemoteErrorKind::NoRemote
}

fn into_known(error: anyhow::Error) -> cachefs::Error {
    match error.downcast::<cachefs::Error>() {
        Ok(error) => error,
        Err(error) => cachefs::Error::Io {
            action: "open",
            path: PathBuf::from("the store"),
            source: std::io::Error::other(error),
        },
    }
}
