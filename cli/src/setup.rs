//! From the command line to what the library works with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;
use cachefs::StoreDir;
use cachefs_store::refs::{Key, RefName, Scope};
use cachefs_store::remote::{OpenRemote, RemoteSpec, RetryPolicy, open};
use tokio::runtime::Runtime;

use crate::args::Global;
use crate::keys;

/// The store directory that the options name.
pub(crate) fn store_path(global: &Global) -> anyhow::Result<PathBuf> {
    if let Some(store) = &global.store {
        return Ok(std::path::absolute(store)?);
    }
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/cachefs"));
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .ok_or_else(|| {
            cachefs::Error::usage(
                "there is no home directory for the local store",
                "name one with --store",
            )
        })?;
    Ok(cache.join("cachefs"))
}

/// Opens the store directory.
pub(crate) fn store(global: &Global) -> anyhow::Result<StoreDir> {
    let exe = std::env::current_exe().context("cannot find this program's own file")?;
    Ok(StoreDir::open(
        &store_path(global)?,
        exe,
        global.cache_limit,
    )?)
}

/// The remote that the options name; a directory in the store when they name none.
pub(crate) fn remote_spec(global: &Global, store: &StoreDir) -> anyhow::Result<RemoteSpec> {
    Ok(RemoteSpec {
        url: match &global.remote {
            Some(url) => url.clone(),
            None => store.embedded_remote()?,
        },
        endpoint: global.endpoint.clone(),
        region: global.region.clone(),
        path_style: global.path_style,
        anonymous: global.anonymous,
        env: std::env::vars_os().collect(),
    })
}

/// Opens the remote in this process, with a runtime to run its requests.
pub(crate) fn remote(global: &Global) -> anyhow::Result<(Arc<Runtime>, OpenRemote)> {
    let store = store(global)?;
    let policy = global
        .timeout
        .map_or_else(RetryPolicy::default, RetryPolicy::with_deadline);
    let open = open(&remote_spec(global, &store)?, policy).map_err(cachefs::Error::from)?;
    Ok((
        Arc::new(Runtime::new().context("cannot start the network runtime")?),
        open,
    ))
}

/// The scope that the options name.
pub(crate) fn scope(global: &Global) -> anyhow::Result<Scope> {
    Ok(Scope::new(global.scope.clone()).map_err(cachefs::Error::from)?)
}

/// The directory that files and patterns in templates start from, unless something else is said.
pub(crate) fn workspace() -> anyhow::Result<PathBuf> {
    std::env::current_dir().context("cannot tell the current directory")
}

/// Expands a template in a given workspace; patterns do not look into the directories `skip`, the
/// paths of the cache.
pub(crate) fn expand_in(
    workspace: &Path,
    template: &str,
    allow_missing: bool,
    skip: &[PathBuf],
) -> anyhow::Result<keys::Expanded> {
    // A variable that is not UTF-8 can't be part of a key: it counts as not set.
    let env: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let context = keys::Context {
        workspace,
        env: &env,
        now: SystemTime::now(),
        allow_missing,
        skip,
    };
    Ok(keys::expand(template, &context)?)
}

/// Expands a template in a given workspace, and checks that the result can be a key.
pub(crate) fn key_in(
    workspace: &Path,
    template: &str,
    paths: &[PathBuf],
) -> anyhow::Result<(Key, keys::Expanded)> {
    let expanded = expand_in(workspace, template, false, paths)?;
    let key = Key::new(expanded.key.clone()).map_err(cachefs::Error::from)?;
    Ok((key, expanded))
}

/// A key in the scope that the options name.
pub(crate) fn name(global: &Global, template: &str) -> anyhow::Result<RefName> {
    Ok(RefName {
        scope: scope(global)?,
        key: key_in(&workspace()?, template, &[])?.0,
    })
}
