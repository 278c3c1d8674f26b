//! The files that configure engines to run the hook.

use std::path::PathBuf;

use cachefs::Error;
use serde_json::{Value, json};

use super::annotations::PREFIX;
use super::runtime_config::Called;
use crate::integrations::container_cache::check_name;

/// The kind of our CDI devices.
const KIND: &str = "cachefs.io/cache";
/// The oldest version of the Container Device Interface with all features that we use.
const CDI_VERSION: &str = "0.3.0";
/// The stages before the container's program starts, and after it exits.
const STAGES: [&str; 2] = ["createRuntime", "poststop"];

/// The file for a directory of hooks, such as podman's `--hooks-dir`. The hook runs for containers
/// with our annotations, whose keys may read files below `workspaces`.
pub(crate) fn hook_file(called: &Called, workspaces: &[PathBuf]) -> Value {
    let allow = |path: &PathBuf| format!("--allow-workspace={}", path.display());
    let allow: Vec<_> = workspaces.iter().map(allow).collect();
    let args: Vec<_> = allow.iter().map(String::as_str).collect();
    let prefix = PREFIX.replace('.', "\\.");
    json!({
        "version": "1.0.0",
        "hook": called.hook(&args),
        "when": { "annotations": { format!("^{prefix}.+$"): ".*" } },
        "stages": STAGES,
    })
}

/// The file for a directory of CDI specifications: a device for each of these caches, and one with
/// everything that a container needs to mount caches itself.
///
/// # Errors
///
/// A usage error for an invalid device name.
pub(crate) fn device_file(called: &Called, names: &[String]) -> Result<Value, Error> {
    let mut devices = vec![json!({
        "name": "fuse",
        "containerEdits": { "deviceNodes": [{ "path": "/dev/fuse" }] },
    })];
    for name in names {
        check_device_name(name)?;
        let hooks = STAGES.map(|stage| {
            let mut hook = called.hook(&["--cache", name]);
            hook["hookName"] = stage.into();
            hook
        });
        devices.push(json!({ "name": name, "containerEdits": { "hooks": hooks } }));
    }
    Ok(json!({ "cdiVersion": CDI_VERSION, "kind": KIND, "devices": devices }))
}

/// Checks a device's name: a valid directory name, with a letter or digit at both ends.
fn check_device_name(name: &str) -> Result<(), Error> {
    let is_end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if is_end(name.chars().next())
        && is_end(name.chars().next_back())
        && check_name(name).is_ok()
        && name != "fuse"
    {
        return Ok(());
    }
    Err(Error::usage(
        format!("the cache `{}` cannot be a device", name.escape_debug()),
        "rename it: letters, digits and `_-.`, a letter or digit at both ends, and not `fuse`",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called() -> Called {
        Called {
            program: "/usr/bin/cachefs".into(),
            flags: vec!["--store=/s".to_owned()],
            env: vec!["CACHEFS_REMOTE=file:///r".to_owned()],
        }
    }

    #[test]
    fn the_hook_is_for_annotated_containers() {
        let file = hook_file(&called(), &[]);
        assert_eq!(file["hook"]["path"], "/usr/bin/cachefs");
        assert_eq!(
            file["hook"]["args"],
            json!(["cachefs", "--store=/s", "oci-hook"])
        );
        let file = hook_file(&called(), &["/srv".into()]);
        assert_eq!(file["hook"]["args"][3], "--allow-workspace=/srv");
        assert_eq!(file["hook"]["env"][0], "CACHEFS_REMOTE=file:///r");
        assert_eq!(file["when"]["annotations"]["^io\\.cachefs\\..+$"], ".*");
        assert_eq!(file["stages"], json!(["createRuntime", "poststop"]));
    }

    #[test]
    fn devices_follow_the_rules_of_the_specification() {
        let file = device_file(&called(), &["m2".to_owned()]).unwrap();
        assert_eq!(file["kind"], "cachefs.io/cache");
        assert_eq!(
            file["devices"][0]["containerEdits"]["deviceNodes"][0]["path"],
            "/dev/fuse"
        );
        let hooks = file["devices"][1]["containerEdits"]["hooks"]
            .as_array()
            .unwrap();
        let stages: Vec<_> = hooks.iter().map(|hook| hook["hookName"].clone()).collect();
        assert_eq!(stages, STAGES);
        assert!(
            hooks
                .iter()
                .all(|hook| hook["path"].as_str().unwrap().starts_with('/'))
        );
        assert_eq!(
            hooks[0]["args"],
            json!(["cachefs", "--store=/s", "oci-hook", "--cache", "m2"])
        );
        for bad in ["", "-m2", "a b", "m2.", "fuse", "ä", "a/b", "..", "m2:1"] {
            assert!(device_file(&called(), &[bad.to_owned()]).is_err(), "{bad}");
        }
    }
}
