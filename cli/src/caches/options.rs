//! How caches are restored and saved: options that flags, files and other commands share.
//!
//! An option added here is an option of the commands, and a key of `cachefs.toml` under the same
//! name.

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
    /// Restore only, save only, or both; the other of the two then does nothing
    #[arg(long, value_enum, value_name = "WHAT", env = "CACHEFS_POLICY", default_value_t = PolicyArg::PullPush)]
    pub(crate) policy: PolicyArg,
    /// Write nothing to the remote: save nothing, and do not note what this job reads
    #[arg(long, env = "CACHEFS_READ_ONLY", value_parser = BoolishValueParser::new())]
    pub(crate) read_only: bool,
    /// Accept missing files and unset variables in keys
    #[arg(long, env = "CACHEFS_ALLOW_MISSING", value_parser = BoolishValueParser::new())]
    pub(crate) allow_missing: bool,
    /// Whose key it is, and so what its template sees. No option: the command that makes the cache
    /// says so.
    #[arg(skip)]
    pub(crate) author: Author,
}

/// How to restore.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RestoreHow {
    /// Mount it, copy it, or mount where that works
    #[arg(long, value_enum, default_value_t = ModeArg::Auto)]
    pub(crate) mode: ModeArg,
    /// What a mount is made of: an EROFS image where the kernel takes one, or files over FUSE
    #[arg(
        long,
        value_enum,
        value_name = "KIND",
        env = "CACHEFS_LOWER",
        default_value_t = LowerArg::Auto,
        hide_short_help = true
    )]
    pub(crate) lower: LowerArg,
    /// Show everything as this user's, whoever it was saved from [default group: the same number]
    #[arg(long, value_name = "UID[:GID]", env = "CACHEFS_OWNER")]
    pub(crate) owner: Option<Owner>,
    /// What to fetch before it is asked for: nothing, what earlier jobs read, that and then all of
    /// it, or all unless it is large
    #[arg(long, value_enum, default_value_t = PrefetchArg::Auto)]
    pub(crate) prefetch: PrefetchArg,
    /// Do not note what this job reads for the next one
    #[arg(long, env = "CACHEFS_NO_TRACE", value_parser = BoolishValueParser::new())]
    pub(crate) no_trace: bool,
    /// Keep unsaved changes of an earlier restore of the same cache at the path, instead of moving
    /// them to `unsaved/` in the store
    #[arg(long, env = "CACHEFS_KEEP_CHANGES", value_parser = BoolishValueParser::new())]
    pub(crate) keep_changes: bool,
    /// Show device nodes, setuid and setgid bits and file capabilities too; without this they are
    /// left out
    #[arg(long, env = "CACHEFS_ALLOW_PRIVILEGED", value_parser = BoolishValueParser::new())]
    pub(crate) allow_privileged: bool,
    /// Look in this scope too, after --scope (repeatable)
    #[arg(
        long,
        value_name = "NAME",
        env = "CACHEFS_FALLBACK_SCOPE",
        value_delimiter = ','
    )]
    pub(crate) fallback_scope: Vec<String>,
    /// Take the key itself or nothing: prefixes do not count
    #[arg(long, env = "CACHEFS_STRICT_KEY", value_parser = BoolishValueParser::new())]
    pub(crate) strict_key: bool,
    /// Only find out what would be restored
    #[arg(long)]
    pub(crate) lookup_only: bool,
    /// Fail without a cache: code 3 when nothing matches, 4 or 1 when it cannot be looked up or shown
    #[arg(long, env = "CACHEFS_FAIL_ON_CACHE_MISS", value_parser = BoolishValueParser::new())]
    pub(crate) fail_on_cache_miss: bool,
    /// Longest time for the whole, after which the build goes on without the cache [default: 2m, or
    /// 30m once files are being copied]
    #[arg(long, value_name = "TIME", env = "CACHEFS_RESTORE_TIMEOUT", value_parser = parse_duration)]
    pub(crate) restore_timeout: Option<Duration>,
}

/// How to save.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct SaveHow {
    /// Only find out what would be saved
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Read every file, also those that have the size and times that an earlier save found
    #[arg(long, short = 'I')]
    pub(crate) ignore_times: bool,
    /// Fail if a file changes while it is saved, instead of reading it again or leaving it out
    #[arg(long, env = "CACHEFS_STRICT_CONSISTENCY", value_parser = BoolishValueParser::new())]
    pub(crate) strict_consistency: bool,
    /// Save a directory that holds no file, too
    #[arg(long, env = "CACHEFS_ALLOW_EMPTY", value_parser = BoolishValueParser::new())]
    pub(crate) allow_empty: bool,
    /// Whether paths that are not there count as empty, rather than as an error: set by `exec`.
    #[arg(skip)]
    pub(crate) absent_is_empty: bool,
    /// When to save: always, if something changed, or only if the key does not exist yet
    #[arg(long, value_enum, value_name = "WHEN", env = "CACHEFS_SAVE_IF", default_value_t = SaveIfArg::Changed)]
    pub(crate) save_if: SaveIfArg,
    /// Replace what the key holds instead of adding to it
    #[arg(long = "override", env = "CACHEFS_OVERRIDE", value_parser = BoolishValueParser::new())]
    pub(crate) replace: bool,
    /// Longest time for the whole, after which the build goes on without having saved [default:
    /// 30m]
    #[arg(long, value_name = "TIME", env = "CACHEFS_SAVE_TIMEOUT", value_parser = parse_duration)]
    pub(crate) save_timeout: Option<Duration>,
    /// Let the key expire this long after its last save, such as 14d; by default it never does
    #[arg(long, value_name = "TIME", env = "CACHEFS_TTL", value_parser = parse_age)]
    pub(crate) ttl: Option<Duration>,
    /// Policy for files that hold secrets
    #[arg(
        long,
        value_enum,
        value_name = "POLICY",
        env = "CACHEFS_SECRETS",
        default_value_t = SecretsArg::Credentials
    )]
    pub(crate) secrets: SecretsArg,
    /// Save files that match this pattern despite findings, such as 'test/keys/*.pem' (repeatable)
    #[arg(
        long,
        value_name = "PATTERN",
        env = "CACHEFS_SECRETS_ALLOW",
        value_delimiter = ','
    )]
    pub(crate) secrets_allow: Vec<String>,
    /// Search every file for the value of this variable, plain and in base64 (repeatable)
    #[arg(
        long,
        value_name = "NAME",
        env = "CACHEFS_SECRET_ENV",
        value_delimiter = ','
    )]
    pub(crate) secret_env: Vec<String>,
}

impl CommonOptions {
    /// Why nothing is restored, if nothing is.
    pub(crate) fn no_restore(&self) -> Option<&'static str> {
        (self.policy == PolicyArg::Push).then_some("the policy is push")
    }

    /// Why nothing is saved, if nothing is.
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
    /// When unsaved changes of an earlier restore stay. A job in CI cannot tell its own from those of
    /// the job before.
    pub(crate) fn kept_changes(&self) -> KeepChanges {
        match self.keep_changes {
            true => KeepChanges::Always,
            false if machine_identity::is_ci() => KeepChanges::Never,
            false => KeepChanges::AfterCrash,
        }
    }
}

impl SaveHow {
    /// What becomes of what the key holds.
    ///
    /// # Errors
    ///
    /// A usage error for options that contradict each other.
    pub(crate) fn existing(&self) -> Result<Existing, cachefs::Error> {
        match (self.save_if, self.replace) {
            (SaveIfArg::Missing, true) => Err(cachefs::Error::usage(
                "--override replaces a key that exists, and --save-if missing keeps it",
                "choose one of them",
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
    /// Restores, and never saves.
    Pull,
    /// Saves, and never restores.
    Push,
    /// Both.
    #[default]
    PullPush,
}

/// `--save-if`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum SaveIfArg {
    /// Also when nothing changed: the key becomes the newest of its prefix.
    Always,
    /// If anything changed.
    #[default]
    Changed,
    /// If there is no such key; otherwise nothing is even looked at.
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
    #[default]
    Auto,
    Mount,
    Copy,
}

/// `--lower`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum LowerArg {
    #[default]
    Auto,
    Fuse,
}

/// `--prefetch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum PrefetchArg {
    None,
    Trace,
    #[default]
    Auto,
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
