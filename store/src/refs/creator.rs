//! The maker of a save: host, job and platform.

use serde::{Deserialize, Serialize};

/// Creator of a save.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Creator {
    /// Host name.
    pub host: String,
    /// The cachefs version.
    pub version: String,
    /// The job, where the CI system names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
}

/// Where a cache was made; a difference is worth a warning, since caches hold compiled things.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Platform {
    /// Operating system, as `linux`.
    pub os: String,
    /// Machine architecture, as `x86_64`.
    pub arch: String,
    /// C library, as `gnu`, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub libc: Option<String>,
}
