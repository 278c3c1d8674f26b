//! Converts the command line to arguments of the library.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context as _;
use cachefs::paths::{PathSet, Places, working_directory};
use cachefs::shares::ClientGrant;
use cachefs::sys::namespace::in_initial_user_namespace;
use cachefs::{DaemonClient, StoreDir};
use cachefs_store::refs::{Key, RefName, Scope};
use cachefs_store::remote::{OpenRemote, RemoteSpec, RetryPolicy, open_remote};
use tokio::runtime::Runtime;

use crate::ci::{self, Ci, Scopes};
use crate::global::Global;
use crate::keys;

/// Default store directory of root.
const ROOTS_STORE: &str = "/var/lib/cachefs";

/// Whether this process is root of the machine. In a user namespace of an ordinary user (`unshare
/// -Ur`) it has UID 0 but only that user's permissions, so its caches are in the home directory.
fn is_machines_root() -> bool {
    let may_write = |path: &str| {
        let wanted = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
        rustix::fs::access(path, wanted).is_ok()
    };
    in_initial_user_namespace() || may_write(ROOTS_STORE) || may_write("/var/lib")
}

/// The store directory selected by the options.
pub(crate) fn store_path(global: &Global) -> anyhow::Result<PathBuf> {
    if let Some(store) = &global.store {
        return Ok(std::path::absolute(store)?);
    }
    if rustix::process::geteuid().is_root() && is_machines_root() {
        return Ok(PathBuf::from(ROOTS_STORE));
    }
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .ok_or_else(|| {
            cachefs::Error::usage(
                "no home directory for the local store",
                "name one with --store",
            )
        })?;
    Ok(cache.join("cachefs"))
}

/// Opens the store directory.
pub(crate) fn open_store(global: &Global) -> anyhow::Result<StoreDir> {
    let exe = std::env::current_exe().context("cannot find this program's own file")?;
    let store = StoreDir::open(&store_path(global)?, exe, global.cache_limit)?;
    Ok(match &global.daemon {
        Some(share) => store.served_by(std::path::absolute(share)?),
        None => store,
    })
}

/// The grant of the share selected by the options; `None` without one.
fn share_grant(global: &Global) -> anyhow::Result<Option<ClientGrant>> {
    if global.daemon.is_none() {
        return Ok(None);
    }
    Ok(Some(
        DaemonClient::connect(&open_store(global)?)?.allowed()?,
    ))
}

/// The remote selected by the options; without one, that of the share, or else a directory in the
/// store.
pub(crate) fn remote_spec(global: &Global, store: &StoreDir) -> anyhow::Result<RemoteSpec> {
    if global.remote.remote.is_none()
        && let Some(allowed) = share_grant(global)?
    {
        return Ok(allowed.reached_with(std::env::vars_os().collect()));
    }
    let url = match &global.remote.remote {
        Some(url) => url.clone(),
        None => store.embedded_remote()?,
    };
    let spec = global.remote.spec(url, std::env::vars_os().collect());
    // Check first, because the URL is printed and written to the store.
    spec.check_no_secrets().map_err(cachefs::Error::from)?;
    Ok(spec)
}

/// The remote for saves.
///
/// The remote of a share may be a directory of the host. If that is not visible here, a save would
/// create a new directory that no restore ever reads.
pub(crate) fn remote_to_save_to(global: &Global, store: &StoreDir) -> anyhow::Result<RemoteSpec> {
    let spec = remote_spec(global, store)?;
    let is_elsewhere = global.daemon.is_some()
        && global.remote.remote.is_none()
        && spec
            .url
            .strip_prefix("file://")
            .is_some_and(|path| !Path::new(path).is_dir());
    if is_elsewhere {
        return Err(cachefs::Error::usage(
            format!(
                "{} is a directory of the host, not of this container",
                spec.url
            ),
            "save on the host, or name a remote with --remote",
        )
        .into());
    }
    Ok(spec)
}

/// Opens the remote in this process, with a runtime for its requests.
pub(crate) fn connect_remote(global: &Global) -> anyhow::Result<(Arc<Runtime>, OpenRemote)> {
    let store = open_store(global)?;
    let open = open_remote(
        &remote_spec(global, &store)?,
        RetryPolicy::within(global.timeout),
    )
    .map_err(cachefs::Error::from)?;
    Ok((
        Arc::new(Runtime::new().context("cannot start the network runtime")?),
        open,
    ))
}

/// The scope selected by the options, or else that of the build.
pub(crate) fn own_scope(global: &Global) -> anyhow::Result<Scope> {
    Ok(lookup_scopes(global)?.own)
}

/// The scopes to search: the one selected by the options, or else that of the build followed by its
/// base and default branch.
pub(crate) fn lookup_scopes(global: &Global) -> anyhow::Result<Scopes> {
    Ok(match &global.scope {
        Some(name) => Scopes::only(scope_named(name)?),
        None if global.daemon.is_some() => scopes_of_share(global)?,
        None => Scopes::of_build(
            &Ci::new(&ci::process_environment()),
            &workspace_directory()?,
        ),
    })
}

/// The scopes of the share selected by the options.
fn scopes_of_share(global: &Global) -> anyhow::Result<Scopes> {
    let scopes = share_grant(global)?.map(|allowed| allowed.scopes);
    let mut scopes = scopes.unwrap_or_default().into_iter();
    let own = scopes.next().context("the daemon's share has no scope")?;
    Ok(Scopes {
        own,
        fallback: scopes.collect(),
    })
}

/// Parses the name of a scope.
pub(crate) fn scope_named(name: &str) -> anyhow::Result<Scope> {
    Ok(Scope::new(name).map_err(cachefs::Error::from)?)
}

/// The default directory for files and patterns in templates: the working directory. Empty if it
/// has been deleted.
pub(crate) fn workspace_directory() -> anyhow::Result<PathBuf> {
    working_directory().context("cannot tell the current directory")
}

/// Parses the paths of a cache, relative to a workspace.
pub(crate) fn path_set(workspace: &Path, paths: &[PathBuf]) -> anyhow::Result<PathSet> {
    let places = Places {
        workspace: workspace.to_owned(),
        ..Places::current()?
    };
    Ok(PathSet::new(paths, places)?)
}

/// Expands a template in a given workspace; patterns skip `paths`, which are those of the cache.
pub(crate) fn expand_in(
    workspace: &Path,
    template: &str,
    allow_missing: bool,
    paths: &[PathBuf],
) -> anyhow::Result<keys::ExpandedKey> {
    expand_of(
        &keys::Author::User,
        workspace,
        template,
        allow_missing,
        paths,
    )
}

/// Like [`expand_in`], with the access rights of the template's author.
pub(crate) fn expand_of(
    author: &keys::Author,
    workspace: &Path,
    template: &str,
    allow_missing: bool,
    paths: &[PathBuf],
) -> anyhow::Result<keys::ExpandedKey> {
    let reach = author.reach(workspace);
    let reach = reach.map_err(cachefs::Error::io("open", workspace))?;
    let own = match paths {
        [] => None,
        paths => Some(path_set(workspace, paths)?),
    };
    let env = match author {
        keys::Author::User => ci::process_environment(),
        keys::Author::Tenant { .. } => BTreeMap::new(),
    };
    let context = keys::KeyContext {
        workspace,
        env: &env,
        now: SystemTime::now(),
        allow_missing,
        skip: &|path| own.as_ref().is_some_and(|own| own.holds(path)) || StoreDir::is_at(path),
        reach: &reach,
    };
    Ok(keys::expand_template(template, &context)?)
}

/// Expands a template in a given workspace, and checks that the result is a valid key.
pub(crate) fn key_in(
    workspace: &Path,
    template: &str,
    paths: &[PathBuf],
) -> anyhow::Result<(Key, keys::ExpandedKey)> {
    check_key(expand_in(workspace, template, false, paths)?)
}

/// Checks that an expanded template is a valid key.
pub(crate) fn check_key(expanded: keys::ExpandedKey) -> anyhow::Result<(Key, keys::ExpandedKey)> {
    let key = Key::new(expanded.key.clone()).map_err(cachefs::Error::from)?;
    Ok((key, expanded))
}

/// The name of a key in the scope selected by the options.
pub(crate) fn ref_name(global: &Global, template: &str) -> anyhow::Result<RefName> {
    Ok(RefName::new(
        own_scope(global)?,
        key_in(&workspace_directory()?, template, &[])?.0,
    ))
}

/// Expands `~` at the start of a path to the home directory, as in `--path` and in configuration
/// files: shells do not expand `'~/x'` and `--option=~/x`.
pub(crate) fn expand_home(path: &Path) -> cachefs::Result<PathBuf> {
    match path.to_str() {
        Some(text) if text == "~" || text.starts_with("~/") => Places::current()?.resolve(text),
        _ => Ok(path.to_owned()),
    }
}
