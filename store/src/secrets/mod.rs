//! Searches files that are about to be saved for secrets: anyone who can restore a cache can read
//! them.
//!
//! The search runs while a file's bytes are in memory for the save anyway. It finds
//!
//! - credential files: passwords and tokens in the files where tools keep them ([`config_formats`]);
//! - values of the variables given with `--secret-env` ([`named_values`]);
//! - tokens, private keys and signed URLs by their format ([`patterns`]).
//!
//! The first two are certain. The third also finds test keys in packages and in the stores of package
//! managers, so by default its findings are reported, and the files saved.
//!
//! Everything here is pure: names and bytes in, [`SecretMatch`]s out. [`crate::save`] applies the policy.
//! A [`SecretMatch`] holds a place and a kind, never a part of the secret.

mod allow;
mod config_formats;
mod finding;
mod named_values;
mod patterns;
mod scanner;
mod secret_kind;
mod text_encoding;

pub use config_formats::is_place;
pub use finding::{SecretFinding, SecretHandling, SecretMatch};
pub use named_values::Variable;
pub use scanner::{Scanner, SearchWindow, SecretPolicy, SetupError};
pub use secret_kind::SecretKind;
