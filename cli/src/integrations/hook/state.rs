//! The state that a runtime passes to its hooks, as defined by the OCI runtime specification.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use cachefs::Error;
use serde::Deserialize;

use crate::integrations::container_cache::check_name;

/// Maximum size of a state in bytes.
const LONGEST: u64 = 16 << 20;

/// The state of a container.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct ContainerState {
    /// The runtime's ID of the container.
    pub(super) id: String,
    /// `creating` or `created` before the program runs, `stopped` after it exits.
    pub(super) status: String,
    /// PID of the first process; 0 after it exits.
    #[serde(default)]
    pub(super) pid: u32,
    /// The directory with the container's configuration.
    pub(super) bundle: PathBuf,
    /// Annotations of the container.
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
}

/// The parts of the container's configuration that we use.
#[derive(Debug, Deserialize)]
struct ContainerConfig {
    root: StateRoot,
}

#[derive(Debug, Deserialize)]
struct StateRoot {
    path: PathBuf,
}

impl ContainerState {
    /// Reads the state from the standard input of a hook.
    ///
    /// # Errors
    ///
    /// A usage error if it is invalid, because then the caller is not a runtime.
    pub(crate) fn read(input: impl Read) -> Result<Self, Error> {
        let state: Self = serde_json::from_reader(input.take(LONGEST)).map_err(|error| {
            Error::usage(
                format!("stdin has no container state: {error}"),
                "container runtimes call this command; `cachefs oci-hook --print` prints the configuration for them",
            )
        })?;
        // The ID becomes the name of a directory.
        check_name(&state.id)?;
        Ok(state)
    }

    /// Whether the container has stopped.
    pub(super) fn is_over(&self) -> bool {
        self.status == "stopped"
    }

    /// The container's root directory on the host.
    ///
    /// # Errors
    ///
    /// If the configuration in the bundle cannot be read.
    pub(super) fn root(&self) -> Result<PathBuf, Error> {
        let file = self.bundle.join("config.json");
        let bytes = std::fs::read(&file).map_err(Error::io("read", &file))?;
        let config: ContainerConfig = serde_json::from_slice(&bytes)
            .map_err(|error| Error::io("read", &file)(error.into()))?;
        Ok(absolute_root(&self.bundle, &config.root.path))
    }
}

fn absolute_root(bundle: &Path, root: &Path) -> PathBuf {
    let path = bundle.join(root);
    path.canonicalize().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_and_the_root_are_read() {
        let bundle = tempfile::tempdir().unwrap();
        std::fs::create_dir(bundle.path().join("rootfs")).unwrap();
        std::fs::write(
            bundle.path().join("config.json"),
            r#"{"ociVersion":"1.0.2","root":{"path":"rootfs","readonly":true}}"#,
        )
        .unwrap();
        let text = format!(
            r#"{{"ociVersion":"1.0.2","id":"c1","status":"creating","pid":7,"bundle":{:?},
               "annotations":{{"io.cachefs.m2.key":"a"}}}}"#,
            bundle.path()
        );
        let state = ContainerState::read(text.as_bytes()).unwrap();
        assert!(!state.is_over());
        assert_eq!(state.annotations["io.cachefs.m2.key"], "a");
        assert!(state.root().unwrap().ends_with("rootfs"));
        let over = text
            .replace("creating", "stopped")
            .replace("\"pid\":7,", "");
        assert!(ContainerState::read(over.as_bytes()).unwrap().is_over());
        for id in ["../x", "/x", "..", "", "a/b"] {
            let text = text.replace("\"c1\"", &format!("{id:?}"));
            assert!(ContainerState::read(text.as_bytes()).is_err(), "{id}");
        }
        assert!(ContainerState::read(&b""[..]).is_err());
    }
}
