//! The address at which kubelet connects.

use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The path of a Unix socket, written as `unix:///csi/csi.sock`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint(PathBuf);

impl Endpoint {
    /// The socket's path.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = match text.strip_prefix("unix:") {
            Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
            None => text,
        };
        match path.starts_with('/') && !path.ends_with('/') {
            true => Ok(Self(path.into())),
            false => Err(format!(
                "`{text}` is not the address of a Unix socket, such as unix:///csi/csi.sock"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_spellings() {
        for text in [
            "unix:///csi/csi.sock",
            "unix:/csi/csi.sock",
            "/csi/csi.sock",
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.path(), Path::new("/csi/csi.sock"));
        }
        for text in ["tcp://127.0.0.1:1", "csi.sock", "unix://", "unix:///csi/"] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }
}
