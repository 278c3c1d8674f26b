//! Options for restoring and saving caches, shared by flags, files and other commands.
//!
//! An option added here becomes an option of the commands, and a key of `cachefs.toml` with the
//! same name.

use std::time::Duration;

use cachefs::Prefetch;
use cachefs::restore::{KeepChanges, MountLower, RestoreMode};
use cachefs_store::save::Existing;
use cachefs_store::secrets::SecretPolicy;
use cachefs_store::stack::Owner;
use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};

use crate::global::{parse_age, parse_duration};
use crate::keys::Author;
use crate::machine_identity;

/// What restores and saves have in common.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct CommonOptions {
    /// Restore, save, or both
    #[arg(long, value_enum, value_name = "POLICY", env = "CACHEFS_POLICY", default_value_t = PolicyArg::PullPush)]
    pub(crate) policy: PolicyArg,
    /// Write nothing to the remote: neither saves nor access traces
    #[arg(long, env = "CACHEFS_READ_ONLY", value_parser = BoolishValueParser::new())]
    pub(crate) read_only: bool,
    /// Accept missing files and unset variables in key templates
    #[arg(long, env = "CACHEFS_ALLOW_MISSING", value_parser = BoolishValueParser::new(), hide_short_help = true)]
    pub(crate) allow_missing: bool,
    /// Whose key it is, and so what its template sees. No option: the command that makes the cache
    /// says so.
    #[arg(skip)]
    pub(crate) author: Author,
}

/// How to restore.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Restore options")]
pub(crate) struct RestoreHow {
    /// Mount or copy the cache
    #[arg(long, value_enum, default_value_t = ModeArg::Auto)]
    pub(crate) mode: ModeArg,
    /// Lower layer of a mount
    #[arg(
        long,
        value_enum,
        value_name = "KIND",
        env = "CACHEFS_LOWER",
        default_value_t = LowerArg::Auto,
        hide_short_help = true
    )]
    pub(crate) lower: LowerArg,
    /// Present all files as owned by this user [default group: the same number]
    #[arg(long, value_name = "UID[:GID]", env = "CACHEFS_OWNER")]
    pub(crate) owner: Option<Owner>,
    /// Data to fetch before the build reads it
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = PrefetchArg::Auto)]
    pub(crate) prefetch: PrefetchArg,
    /// Do not publish this job's reads for prefetching by later jobs
    #[arg(long, env = "CACHEFS_NO_TRACE", value_parser = BoolishValueParser::new(), hide_short_help = true)]
    pub(crate) no_trace: bool,
    /// Keep unsaved changes of an earlier restore [default: move them to unsaved/ in the store]
    #[arg(long, env = "CACHEFS_KEEP_CHANGES", value_parser = BoolishValueParser::new(), hide_short_help = true)]
    pub(crate) keep_changes: bool,
    /// Restore device nodes, setuid and setgid bits, and file capabilities [default: skip them]
    #[arg(long, env = "CACHEFS_ALLOW_PRIVILEGED", value_parser = BoolishValueParser::new(), hide_short_help = true)]
    pub(crate) allow_privileged: bool,
    /// Also search this scope, after --scope (repeatable)
    #[arg(
        long,
        value_name = "NAME",
        env = "CACHEFS_FALLBACK_SCOPE",
        value_delimiter = ','
    )]
    pub(crate) fallback_scope: Vec<String>,
    /// Accept only an exact match of the key
    #[arg(long, env = "CACHEFS_STRICT_KEY", value_parser = BoolishValueParser::new())]
    pub(crate) strict_key: bool,
    /// Dry run: only report which key would be restored
    #[arg(long)]
    pub(crate) lookup_only: bool,
    /// Exit with code 3 on a miss, with 1 or 4 on an error
    #[arg(long, env = "CACHEFS_FAIL_ON_CACHE_MISS", value_parser = BoolishValueParser::new())]
    pub(crate) fail_on_cache_miss: bool,
    /// Deadline of the restore, then continue without the cache [default: 2m; 30m to copy]
    #[arg(long, value_name = "TIME", env = "CACHEFS_RESTORE_TIMEOUT", value_parser = parse_duration)]
    pub(crate) restore_timeout: Option<Duration>,
}

/// How to save.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Save options")]
pub(crate) struct SaveHow {
    /// Only report what would be saved
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Read every file, even if its size and times are unchanged since an earlier save
    #[arg(long, short = 'I')]
    pub(crate) ignore_times: bool,
    /// Fail if a file changes during the save, instead of retrying or skipping it
    #[arg(long, env = "CACHEFS_STRICT_CONSISTENCY", value_parser = BoolishValueParser::new(), hide_short_help = true)]
    pub(crate) strict_consistency: bool,
    /// Save a directory even if it contains no files
    #[arg(long, env = "CACHEFS_ALLOW_EMPTY", value_parser = BoolishValueParser::new(), hide_short_help = true)]
    pub(crate) allow_empty: bool,
    /// Whether paths that are not there count as empty, rather than as an error: set by `exec`.
    #[arg(skip)]
    pub(crate) absent_is_empty: bool,
    /// When to save
    #[arg(long, value_enum, value_name = "WHEN", env = "CACHEFS_SAVE_IF", default_value_t = SaveIfArg::Changed)]
    pub(crate) save_if: SaveIfArg,
    /// Replace the key's content instead of adding to it
    #[arg(long = "override", env = "CACHEFS_OVERRIDE", value_parser = BoolishValueParser::new())]
    pub(crate) replace: bool,
    /// Deadline of the save, then continue without saving [default: 30m]
    #[arg(long, value_name = "TIME", env = "CACHEFS_SAVE_TIMEOUT", value_parser = parse_duration)]
    pub(crate) save_timeout: Option<Duration>,
    /// Expire the key this long after its last save, for example 14d [default: never]
    #[arg(long, value_name = "TIME", env = "CACHEFS_TTL", value_parser = parse_age)]
    pub(crate) ttl: Option<Duration>,
    /// How to treat files that contain secrets
    #[arg(
        long,
        value_enum,
        value_name = "POLICY",
        env = "CACHEFS_SECRETS",
        default_value_t = SecretsArg::Credentials
    )]
    pub(crate) secrets: SecretsArg,
    /// Save matching files despite findings, for example 'test/keys/*.pem' (repeatable)
    #[arg(
        long,
        value_name = "PATTERN",
        env = "CACHEFS_SECRETS_ALLOW",
        value_delimiter = ','
    )]
    pub(crate) secrets_allow: Vec<String>,
    /// Search all files for the value of this variable, plain and in base64 (repeatable)
    #[arg(
        long,
        value_name = "NAME",
        env = "CACHEFS_SECRET_ENV",
        value_delimiter = ','
    )]
    pub(crate) secret_env: Vec<String>,
}

impl CommonOptions {
    /// The reason to skip the restore, if any.
    pub(crate) fn no_restore(&self) -> Option<&'static str> {
        (self.policy == PolicyArg::Push).then_some("the policy is push")
    }

    /// The reason to skip the save, if any.
    pub(crate) fn no_save(&self) -> Option<&'static str> {
        if self.read_only {
            Some("--read-only is given")
        } else if self.policy == PolicyArg::Pull {
            Some("the policy is pull")
        } else {
            None
        }
    }
}

impl RestoreHow {
    /// When to keep unsaved changes of an earlier restore. A job in CI cannot distinguish its own
    /// changes from those of an earlier job.
    pub(crate) fn kept_changes(&self) -> KeepChanges {
        match self.keep_changes {
            true => KeepChanges::Always,
            false if machine_identity::is_ci() => KeepChanges::Never,
            false => KeepChanges::AfterCrash,
        }
    }
}

impl SaveHow {
    /// How the save treats the existing content of the key.
    ///
    /// # Errors
    ///
    /// A usage error for options that contradict each other.
    pub(crate) fn existing(&self) -> Result<Existing, cachefs::Error> {
        match (self.save_if, self.replace) {
            (SaveIfArg::Missing, true) => Err(cachefs::Error::usage(
                "--override contradicts --save-if missing",
                "remove one of them",
            )),
            (SaveIfArg::Missing, false) => Ok(Existing::Keep),
            (_, true) => Ok(Existing::Replace),
            (_, false) => Ok(Existing::Extend),
        }
    }
}

/// `--policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum PolicyArg {
    /// Restore, never save.
    Pull,
    /// Save, never restore.
    Push,
    /// Restore and save.
    #[default]
    PullPush,
}

/// `--save-if`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum SaveIfArg {
    /// Save even without changes, which makes the key the newest of its prefix.
    Always,
    /// Save if something changed.
    #[default]
    Changed,
    /// Save if the key does not exist; otherwise do not even scan the directory.
    Missing,
}

/// `--secrets`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum SecretsArg {
    /// Leave out credential files and files with a --secret-env value; report other findings
    #[default]
    Credentials,
    /// Leave out every file with a finding
    Skip,
    /// Save nothing and exit with code 5 if there is a finding
    Fail,
    /// Save everything, with a warning
    Allow,
    /// Do not search
    Off,
}

impl From<SecretsArg> for SecretPolicy {
    fn from(policy: SecretsArg) -> Self {
        match policy {
            SecretsArg::Credentials => Self::Credentials,
            SecretsArg::Skip => Self::Skip,
            SecretsArg::Fail => Self::Fail,
            SecretsArg::Allow => Self::Allow,
            SecretsArg::Off => Self::Off,
        }
    }
}

/// `--mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum ModeArg {
    /// Mount if this machine can, otherwise copy.
    #[default]
    Auto,
    /// Mount, and fetch data on demand.
    Mount,
    /// Copy everything into a plain directory.
    Copy,
}

/// `--lower`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum LowerArg {
    /// An EROFS image if the kernel supports it, otherwise FUSE.
    #[default]
    Auto,
    /// FUSE.
    Fuse,
}

/// `--prefetch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum PrefetchArg {
    /// Nothing.
    None,
    /// The files that earlier jobs read.
    Trace,
    /// The files that earlier jobs read, then everything else unless the cache is large.
    #[default]
    Auto,
    /// Everything.
    All,
}

impl From<ModeArg> for RestoreMode {
    fn from(mode: ModeArg) -> Self {
        match mode {
            ModeArg::Auto => Self::Auto,
            ModeArg::Mount => Self::Mount,
            ModeArg::Copy => Self::Copy,
        }
    }
}

impl From<LowerArg> for MountLower {
    fn from(lower: LowerArg) -> Self {
        match lower {
            LowerArg::Auto => Self::Auto,
            LowerArg::Fuse => Self::Fuse,
        }
    }
}

impl From<PrefetchArg> for Prefetch {
    fn from(prefetch: PrefetchArg) -> Self {
        match prefetch {
            PrefetchArg::None => Self::None,
            PrefetchArg::Trace => Self::Trace,
            PrefetchArg::Auto => Self::Auto,
            PrefetchArg::All => Self::All,
        }
    }
}
