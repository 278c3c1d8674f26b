//! How caches are restored and saved: options that flags, files and other commands share.
//!
//! An option added here is an option of the commands, and a key of `cachefs.toml` under the same
//! name.

use cachefs::Prefetch;
use cachefs::restore::{Lower, Mode};
use clap::{Args, ValueEnum};

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
    /// What to fetch before it is asked for: nothing, what earlier jobs read, that and then all of
    /// it, or all unless it is large
    #[arg(long, value_enum, default_value_t = PrefetchArg::Auto)]
    pub(crate) prefetch: PrefetchArg,
    /// Do not note what this job reads for the next one
    #[arg(long, env = "CACHEFS_NO_TRACE")]
    pub(crate) no_trace: bool,
    /// Look in this scope too, after --scope (repeatable)
    #[arg(
        long,
        value_name = "NAME",
        env = "CACHEFS_FALLBACK_SCOPE",
        value_delimiter = ','
    )]
    pub(crate) fallback_scope: Vec<String>,
    /// Exit with code 3 when nothing matches
    #[arg(long)]
    pub(crate) fail_on_cache_miss: bool,
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

impl From<ModeArg> for Mode {
    fn from(mode: ModeArg) -> Self {
        match mode {
            ModeArg::Auto => Self::Auto,
            ModeArg::Mount => Self::Mount,
            ModeArg::Copy => Self::Copy,
        }
    }
}

impl From<LowerArg> for Lower {
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
