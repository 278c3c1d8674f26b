//! The plugin's variables and how we treat them.

/// How we treat a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It has the same effect as in the plugin.
    Used,
    /// It is accepted without effect; the text has the reason.
    Idle(&'static str),
    /// It requests an unsupported feature; the text names the alternative.
    Refused(&'static str),
}

use Meaning::{Idle, Refused, Used};

const NO_ARCHIVE: &str = "no archives are written";

/// Every `PLUGIN_*` variable that the Drone or Harness plugin reads.
pub(super) const TABLE: &[(&str, Meaning)] = &[
    ("PLUGIN_RESTORE", Used),
    ("PLUGIN_REBUILD", Used),
    ("PLUGIN_MOUNT", Used),
    ("PLUGIN_CACHE_KEY", Used),
    ("PLUGIN_MODE", Used),
    ("PLUGIN_BACKEND", Used),
    ("PLUGIN_BUCKET", Used),
    ("PLUGIN_REGION", Used),
    ("PLUGIN_ENDPOINT", Used),
    ("PLUGIN_PATH_STYLE", Used),
    ("PLUGIN_ACL", Used),
    ("PLUGIN_ENCRYPTION", Used),
    ("PLUGIN_ACCESS_KEY", Used),
    ("PLUGIN_SECRET_KEY", Used),
    ("PLUGIN_ASSUME_ROLE_ARN", Used),
    ("PLUGIN_ASSUME_ROLE", Used),
    ("PLUGIN_ASSUME_ROLE_SESSION_NAME", Used),
    ("PLUGIN_EXTERNAL_ID", Used),
    ("PLUGIN_USER_ROLE_ARN", Used),
    ("PLUGIN_USER_ROLE_EXTERNAL_ID", Used),
    ("PLUGIN_STS_ENDPOINT", Used),
    ("PLUGIN_JSON_KEY", Used),
    ("PLUGIN_ACCOUNT_NAME", Used),
    ("PLUGIN_ACCOUNT_KEY", Used),
    ("PLUGIN_CONTAINER", Used),
    ("PLUGIN_FILESYSTEM_CACHE_ROOT", Used),
    ("PLUGIN_REMOTE_ROOT", Used),
    ("PLUGIN_LOCAL_ROOT", Used),
    ("PLUGIN_ACCOUNT_ID", Used),
    ("PLUGIN_OVERRIDE", Used),
    ("PLUGIN_FAIL_RESTORE_IF_KEY_NOT_PRESENT", Used),
    ("PLUGIN_STRICT_KEY_MATCHING", Used),
    ("PLUGIN_BACKEND_OPERATION_TIMEOUT", Used),
    ("PLUGIN_EXIT_CODE", Used),
    ("PLUGIN_DEBUG", Used),
    ("PLUGIN_LOG_LEVEL", Used),
    ("PLUGIN_CACHE_INTEL_METRICS_FILE", Used),
    ("PLUGIN_AUTO_CACHE", Used),
    ("PLUGIN_AUTO_DETECT", Used),
    (
        "PLUGIN_AUTO_CACHE_EARLY_EXIT",
        Idle("a path without a key has that of the branch"),
    ),
    ("PLUGIN_ARCHIVE_FORMAT", Idle(NO_ARCHIVE)),
    ("PLUGIN_COMPRESSION_LEVEL", Idle(NO_ARCHIVE)),
    (
        "PLUGIN_SKIP_SYMLINKS",
        Idle("symbolic links are kept as links and never followed"),
    ),
    (
        "PLUGIN_PRESERVE_METADATA",
        Idle("modes, owners and times are always kept"),
    ),
    ("PLUGIN_LOG_FORMAT", Idle("output is text for people")),
    (
        "PLUGIN_ENABLE_SEPARATOR",
        Idle("a key ends where its name ends"),
    ),
    ("PLUGIN_CACHE_TYPE", Idle("there is one sort of cache")),
    ("PLUGIN_ENABLE_MULTIPART", Idle("objects are small")),
    ("PLUGIN_MULTIPART_CHUNK_SIZE_MB", Idle("objects are small")),
    (
        "PLUGIN_MULTIPART_MAX_UPLOAD_SIZE_MB",
        Idle("objects are small"),
    ),
    (
        "PLUGIN_MULTIPART_THRESHOLD_SIZE_MB",
        Idle("objects are small"),
    ),
    (
        "PLUGIN_GCS_ACL",
        Idle("objects have the access of their bucket"),
    ),
    (
        "PLUGIN_GCS_ENCRYPTION_KEY",
        Refused("let the bucket encrypt with a key of its own"),
    ),
    (
        "PLUGIN_API_KEY",
        Refused("use a service account: PLUGIN_JSON_KEY"),
    ),
    (
        "PLUGIN_OIDC_TOKEN_ID",
        Refused(
            "write the token to a file, and name it and the role in AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN",
        ),
    ),
    ("PLUGIN_PROJECT_NUMBER", Refused(WORKLOAD)),
    ("PLUGIN_POOL_ID", Refused(WORKLOAD)),
    ("PLUGIN_PROVIDER_ID", Refused(WORKLOAD)),
    ("PLUGIN_SERVICE_ACCOUNT_EMAIL", Refused(WORKLOAD)),
    ("PLUGIN_USERNAME", Refused(SFTP)),
    ("PLUGIN_PASSWORD", Refused(SFTP)),
    ("PLUGIN_PUBLIC_KEY_FILE", Refused(SFTP)),
    ("PLUGIN_CACHE_SERVICE_BEARER_TOKEN", Refused(SERVICE)),
    ("PLUGIN_CACHE_SERVICE_BASE_URL", Refused(SERVICE)),
];

const WORKLOAD: &str = "name a credentials file in GOOGLE_APPLICATION_CREDENTIALS";
const SFTP: &str = "mount the directory and use PLUGIN_BACKEND=filesystem";
const SERVICE: &str = "use a bucket of your own: PLUGIN_BACKEND=s3";

/// Variables that request an action; without one of them, the plugin has nothing to do.
const ACTIONS: [&str; 4] = [
    "PLUGIN_RESTORE",
    "PLUGIN_REBUILD",
    "PLUGIN_MOUNT",
    "PLUGIN_CACHE_KEY",
];

/// Whether this variable shows that the command replaces the plugin.
pub(super) fn tells_what_to_do(name: &str) -> bool {
    ACTIONS.contains(&name)
}

/// How we treat a variable; `None` if the plugin does not know it either.
pub(super) fn variable_meaning(name: &str) -> Option<Meaning> {
    let row = TABLE.iter().find(|(known, _)| *known == name);
    row.map(|(_, meaning)| *meaning)
}
