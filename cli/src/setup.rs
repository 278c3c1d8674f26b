//! From the command line to what the library works with.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;
use cachefs::StoreDir;
use cachefs_store::refs::{Key, RefName, Scope};
use cachefs_store::remote::{OpenRemote, RemoteSpec, RetryPolicy, open};
use tokio::runtime::Runtime;

use crate::args::Global;
use crate::ci::{self, Ci, Scopes};
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

/// The scope that the options name, else that of the build.
pub(crate) fn scope(global: &Global) -> anyhow::Result<Scope> {
    Ok(scopes(global, &[])?.own)
}

/// The scopes to look in: the one that the options name, else that of the build with its base
/// and default branch behind it; then `further` ones.
pub(crate) fn scopes(global: &Global, further: &[String]) -> anyhow::Result<Scopes> {
    let named = |name: &String| Scope::new(name.clone()).map_err(cachefs::Error::from);
    let current = std::env::current_dir().context("cannot tell the current directory")?;
    let mut scopes = match &global.scope {
        Some(name) => Scopes::only(named(name)?),
        None => Scopes::of_build(&Ci::new(&ci::environment()), &current),
    };
    for name in further {
        scopes.add(named(name)?);
    }
    Ok(scopes)
}

/// Expands a key's template; `paths` are the cached paths, which a pattern must not look into.
pub(crate) fn expand(template: &str, paths: &[PathBuf]) -> anyhow::Result<keys::Expanded> {
    let current = std::env::current_dir().context("cannot tell the current directory")?;
    expand_in(&current, template, false, paths)
}

/// Expands a template in a given workspace.
pub(crate) fn expand_in(
    workspace: &Path,
    template: &str,
    allow_missing: bool,
    skip: &[PathBuf],
) -> anyhow::Result<keys::Expanded> {
    let env = ci::environment();
    let context = keys::Context {
        workspace,
        env: &env,
        now: SystemTime::now(),
        allow_missing,
        skip,
    };
    Ok(keys::expand(template, &context)?)
}

/// Expands a template and checks that the result can be a key.
pub(crate) fn key(template: &str, paths: &[PathBuf]) -> anyhow::Result<(Key, keys::Expanded)> {
    let expanded = expand(template, paths)?;
    let key = Key::new(expanded.key.clone()).map_err(cachefs::Error::from)?;
    Ok((key, expanded))
}

/// A key in the scope that the options name.
pub(crate) fn name(global: &Global, template: &str) -> anyhow::Result<RefName> {
    Ok(RefName {
        scope: scope(global)?,
        key: key(template, &[])?.0,
    })
}
