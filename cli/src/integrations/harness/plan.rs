//! Converts the plugin's environment to a plan.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cachefs::Error;

use super::plugin_variables::{self, Meaning, TABLE};
use super::variable_values::{Values, Variables};
use crate::caches::ModeArg;
use crate::global::parse_duration;

/// The prefix of our objects in the bucket; the plugin's archives are outside of it.
const PREFIX: &str = "cachefs";
/// The default directory of the plugin's filesystem backend.
const FILESYSTEM_ROOT: &str = "/tmp/cache";

/// The action of the plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PluginAction {
    Restore,
    Rebuild,
}

/// The plan described by the plugin's environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PluginPlan {
    pub(super) action: PluginAction,
    /// Template of the key, without prefix and suffix.
    pub(super) key: String,
    /// Prefix of the key that separates repositories.
    pub(super) root: Option<String>,
    /// Possible prefixes of the names of the plugin's archives, most likely first.
    pub(super) old_roots: Vec<String>,
    /// The bucket or directory with the plugin's archives.
    pub(super) old_remote: String,
    /// The paths as given; empty if a restore should restore all saved paths.
    pub(super) mounts: Vec<String>,
    /// Whether to detect the paths from the tools of the workspace.
    pub(super) detects: bool,
    /// The base of relative paths, if it is not the current directory.
    pub(super) local_root: Option<PathBuf>,
    pub(super) mode: ModeArg,
    /// Whether to save an existing key again.
    pub(super) overwrite: bool,
    /// Whether a restore without mounts ignores keys that only start with the requested one.
    pub(super) strict_key: bool,
    pub(super) fail_on_miss: bool,
    /// Whether problems that the plugin ignores are errors.
    pub(super) strict: bool,
    /// Variables to set for the rest of the program.
    pub(super) variables: Variables,
    /// Notes for the user.
    pub(super) notes: Vec<String>,
}

/// Converts the plugin's environment to a plan.
///
/// # Errors
///
/// A usage error if it requests no action, conflicting actions, or an unsupported feature. Messages
/// never contain the value of a variable, because it can be secret.
pub(super) fn plan_from_environment(
    environment: &BTreeMap<String, String>,
) -> Result<PluginPlan, Error> {
    let values = Values(environment);
    let mut notes = Vec::new();
    read_table(environment, &mut notes)?;
    let action = match (
        values.is_true("PLUGIN_RESTORE", false)?,
        values.is_true("PLUGIN_REBUILD", false)?,
    ) {
        (true, false) => PluginAction::Restore,
        (false, true) => PluginAction::Rebuild,
        (true, true) => {
            return Err(Error::usage(
                "PLUGIN_RESTORE and PLUGIN_REBUILD are both true",
                "a step either restores, before the build, or rebuilds, after it",
            ));
        }
        (false, false) => {
            return Err(Error::usage(
                "neither PLUGIN_RESTORE nor PLUGIN_REBUILD is true",
                "set `restore: true` in the step before the build, `rebuild: true` in the one after it",
            ));
        }
    };
    let mounts = values.list("PLUGIN_MOUNT");
    let is_auto = values.is_true("PLUGIN_AUTO_CACHE", false)?
        || values.is_true("PLUGIN_AUTO_DETECT", false)?;
    let detects = is_auto && mounts.is_empty();
    if mounts.is_empty() && !detects && action == PluginAction::Rebuild {
        return Err(Error::usage(
            "PLUGIN_MOUNT names no path",
            "set the directories, for example `mount: [ .m2/repository ]`, or detect them with `auto_cache: true`",
        ));
    }
    let mut variables = Variables::default();
    let old_remote = plan_remote(&values, &mut variables)?;
    plan_options(&values, &mut variables)?;
    // The plugin reads Drone's variables everywhere; we read them only if this one is set.
    if values.get(&["DRONE"]).is_none() && environment.keys().any(|name| name.starts_with("DRONE_"))
    {
        variables.set("DRONE", "true");
    }
    // Our own variables, if set by the user, take precedence.
    let variables = unless_set(variables, environment);
    let account = values.get(&["PLUGIN_ACCOUNT_ID"]).map(str::to_owned);
    let repository = values
        .get(&["PLUGIN_REMOTE_ROOT", "DRONE_REPO_NAME"])
        .map(|root| root.trim_matches('/').to_owned());
    // On Harness, the plugin omits the repository, because keys are shared by the account.
    let on_harness = values
        .get(&["HARNESS_ACCOUNT_ID", "HARNESS_BUILD_ID"])
        .is_some();
    let given = values.get(&["PLUGIN_REMOTE_ROOT"]).is_some();
    let root = match (is_auto, &account, on_harness && !given) {
        (true, Some(account), _) => Some(account.clone()),
        (_, _, true) => None,
        _ => repository.clone(),
    };
    let mut old_roots: Vec<String> = Vec::new();
    for candidate in [root.clone(), repository, Some(String::new())] {
        old_roots.extend(candidate.filter(|candidate| !old_roots.contains(candidate)));
    }
    Ok(PluginPlan {
        action,
        key: values
            .get(&["PLUGIN_CACHE_KEY"])
            .unwrap_or("{{ .Commit.Branch }}")
            .to_owned(),
        root,
        old_roots,
        old_remote,
        mounts,
        detects,
        local_root: values.get(&["PLUGIN_LOCAL_ROOT"]).map(PathBuf::from),
        mode: match values.get(&["PLUGIN_MODE"]) {
            None | Some("copy") => ModeArg::Copy,
            Some("mount") => ModeArg::Mount,
            Some("auto") => ModeArg::Auto,
            Some(_) => {
                return Err(Error::usage(
                    "PLUGIN_MODE is none of `copy`, `mount` and `auto`",
                    "remove it to copy, so that later steps see the cache, too",
                ));
            }
        },
        overwrite: values.is_true("PLUGIN_OVERRIDE", true)?,
        strict_key: values.is_true("PLUGIN_STRICT_KEY_MATCHING", true)?,
        fail_on_miss: values.is_true("PLUGIN_FAIL_RESTORE_IF_KEY_NOT_PRESENT", false)?,
        strict: values.is_true("PLUGIN_EXIT_CODE", false)?,
        variables,
        notes,
    })
}

/// Checks every variable against the table.
fn read_table(
    environment: &BTreeMap<String, String>,
    notes: &mut Vec<String>,
) -> Result<(), Error> {
    let set = |name: &&String| name.starts_with("PLUGIN_") && !environment[*name].is_empty();
    for name in environment.keys().filter(set) {
        match plugin_variables::variable_meaning(name) {
            Some(Meaning::Used) => {}
            Some(Meaning::Idle(why)) => {
                notes.push(format!("{name} has no effect: {why}"));
            }
            Some(Meaning::Refused(instead)) => {
                return Err(Error::usage(format!("{name} is not supported"), instead));
            }
            None => {
                let alike = TABLE
                    .iter()
                    .find(|(known, _)| known.replace('_', "") == name.replace('_', ""));
                notes.push(match alike {
                    Some((known, _)) => format!("{name} is unknown; did you mean {known}?"),
                    None => format!("{name} is unknown and ignored"),
                });
            }
        }
    }
    Ok(())
}

/// Configures the remote; returns the location of the plugin's archives.
fn plan_remote(values: &Values<'_>, variables: &mut Variables) -> Result<String, Error> {
    let bucket = |scheme: &str, names: &[&str]| {
        let name = values.get(names).ok_or_else(|| {
            Error::usage(
                format!("{} is not set", names[0]),
                "set it to the bucket of the cache",
            )
        })?;
        Ok::<_, Error>(format!("{scheme}://{}", name.trim_matches('/')))
    };
    let old = match values.get(&["PLUGIN_BACKEND"]).unwrap_or("s3") {
        "s3" => {
            s3(values, variables)?;
            bucket("s3", &["PLUGIN_BUCKET", "S3_BUCKET"])?
        }
        "gcs" => {
            if let Some(key) = values.get(&["PLUGIN_JSON_KEY", "GCS_CACHE_JSON_KEY"]) {
                variables.set("GOOGLE_SERVICE_ACCOUNT_KEY", key);
            }
            plan_endpoint(values, &["PLUGIN_ENDPOINT", "GCS_ENDPOINT"], variables);
            bucket("gs", &["PLUGIN_BUCKET", "GCS_BUCKET"])?
        }
        "azure" => {
            for (name, names) in [
                (
                    "AZURE_STORAGE_ACCOUNT_NAME",
                    ["PLUGIN_ACCOUNT_NAME", "AZURE_ACCOUNT_NAME"],
                ),
                (
                    "AZURE_STORAGE_ACCOUNT_KEY",
                    ["PLUGIN_ACCOUNT_KEY", "AZURE_ACCOUNT_KEY"],
                ),
            ] {
                if let Some(value) = values.get(&names) {
                    variables.set(name, value);
                }
            }
            bucket("az", &["PLUGIN_CONTAINER", "AZURE_CONTAINER_NAME"])?
        }
        "filesystem" => {
            let root = values
                .get(&["PLUGIN_FILESYSTEM_CACHE_ROOT", "FILESYSTEM_CACHE_ROOT"])
                .unwrap_or(FILESYSTEM_ROOT);
            if !root.starts_with('/') || root.trim_end_matches('/').is_empty() {
                return Err(Error::usage(
                    "PLUGIN_FILESYSTEM_CACHE_ROOT is not an absolute path",
                    "use the mount point of the volume, for example /cache",
                ));
            }
            format!("file://{}", root.trim_end_matches('/'))
        }
        "harness" | "sftp" => {
            return Err(Error::usage(
                "this PLUGIN_BACKEND is not supported",
                "use s3, gcs, azure or filesystem",
            ));
        }
        _ => {
            return Err(Error::usage(
                "unknown PLUGIN_BACKEND",
                "use s3, gcs, azure or filesystem",
            ));
        }
    };
    variables.set("CACHEFS_REMOTE", format!("{old}/{PREFIX}"));
    Ok(old)
}

fn plan_endpoint(values: &Values<'_>, names: &[&str], variables: &mut Variables) {
    if let Some(endpoint) = values.get(names) {
        let has_scheme = endpoint.contains("://");
        let scheme = if has_scheme { "" } else { "https://" };
        variables.set("CACHEFS_ENDPOINT", format!("{scheme}{endpoint}"));
    }
}

fn s3(values: &Values<'_>, variables: &mut Variables) -> Result<(), Error> {
    plan_endpoint(values, &["PLUGIN_ENDPOINT", "S3_ENDPOINT"], variables);
    for (name, names) in [
        ("CACHEFS_REGION", &["PLUGIN_REGION", "S3_REGION"][..]),
        ("CACHEFS_ACL", &["PLUGIN_ACL", "AWS_ACL"]),
        ("CACHEFS_SSE", &["PLUGIN_ENCRYPTION", "AWS_ENCRYPTION"]),
        (
            "AWS_ENDPOINT_URL_STS",
            &["PLUGIN_STS_ENDPOINT", "AWS_STS_ENDPOINT"],
        ),
    ] {
        if let Some(value) = values.get(names) {
            variables.set(name, value);
        }
    }
    if values.get(&["PLUGIN_PATH_STYLE"]).is_some() {
        let path_style = values.is_true("PLUGIN_PATH_STYLE", false)?;
        variables.set("CACHEFS_PATH_STYLE", path_style.to_string());
    }
    let key = values.get(&[
        "PLUGIN_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "CACHE_AWS_ACCESS_KEY_ID",
    ]);
    let secret = values.get(&[
        "PLUGIN_SECRET_KEY",
        "AWS_SECRET_ACCESS_KEY",
        "CACHE_AWS_SECRET_ACCESS_KEY",
    ]);
    let assumed = values.get(&[
        "PLUGIN_ASSUME_ROLE_ARN",
        "PLUGIN_ASSUME_ROLE",
        "AWS_ASSUME_ROLE_ARN",
    ]);
    let user = values.get(&["PLUGIN_USER_ROLE_ARN", "AWS_USER_ROLE_ARN"]);
    let has_keys = key.is_some() && secret.is_some();
    if let (Some(key), Some(secret)) = (key, secret) {
        variables.set("AWS_ACCESS_KEY_ID", key);
        variables.set("AWS_SECRET_ACCESS_KEY", secret);
        if values.get(&["PLUGIN_ACCESS_KEY"]).is_some() {
            // A session token belongs to other access keys.
            variables.remove("AWS_SESSION_TOKEN");
        }
    }
    // With access keys, the first role is not assumed, as in the plugin.
    let assumed = assumed.filter(|_| !has_keys);
    if assumed.is_some() && user.is_some() {
        return Err(Error::usage(
            "chained roles are not supported",
            "set PLUGIN_ASSUME_ROLE_ARN to a role with access to the bucket",
        ));
    }
    let (role, external) = match (assumed, user) {
        (Some(role), _) => (Some(role), values.get(&["PLUGIN_EXTERNAL_ID"])),
        (None, user) => (user, values.get(&["PLUGIN_USER_ROLE_EXTERNAL_ID"])),
    };
    if let Some(role) = role {
        variables.set("CACHEFS_ROLE_ARN", role);
        if let Some(external) = external {
            variables.set("CACHEFS_EXTERNAL_ID", external);
        }
        let session = values.get(&[
            "PLUGIN_ASSUME_ROLE_SESSION_NAME",
            "ASSUME_ROLE_SESSION_NAME",
        ]);
        if let Some(session) = session {
            variables.set("CACHEFS_ROLE_SESSION_NAME", session);
        }
    }
    Ok(())
}

/// Configures the global options.
fn plan_options(values: &Values<'_>, variables: &mut Variables) -> Result<(), Error> {
    let timeout = values.get(&[
        "PLUGIN_BACKEND_OPERATION_TIMEOUT",
        "BACKEND_OPERATION_TIMEOUT",
    ]);
    if let Some(text) = timeout {
        let time = parse_duration(text).map_err(|_| {
            Error::usage(
                "PLUGIN_BACKEND_OPERATION_TIMEOUT is not a time",
                "use a time such as 30s, 3m or 1h30m",
            )
        })?;
        variables.set("CACHEFS_TIMEOUT", format!("{}ms", time.as_millis().max(1)));
    }
    if values.is_true("PLUGIN_EXIT_CODE", false)? {
        variables.set("CACHEFS_STRICT_ERRORS", "true");
    }
    let level = match values.get(&["PLUGIN_LOG_LEVEL"]) {
        _ if values.is_true("PLUGIN_DEBUG", false)? => Some("debug"),
        Some(level @ ("debug" | "info" | "warn" | "error")) => Some(level),
        _ => None,
    };
    if let Some(level) = level {
        variables.set("CACHEFS_LOG", level);
    }
    Ok(())
}

/// Drops our own variables that the user has set already.
fn unless_set(variables: Variables, environment: &BTreeMap<String, String>) -> Variables {
    let mut kept = Variables::default();
    for (name, value) in variables.iter() {
        let is_said = name.starts_with("CACHEFS_") && environment.contains_key(name);
        match value {
            _ if is_said => {}
            Some(value) => kept.set(name, value),
            None => kept.remove(name),
        }
    }
    kept
}
