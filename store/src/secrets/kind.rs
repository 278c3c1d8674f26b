//! What kinds of secrets there are.

/// A kind of secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind {
    /// Its name for programs.
    pub id: &'static str,
    /// What it is, for people; without an article.
    pub what: &'static str,
}

impl Kind {
    pub(super) const fn new(id: &'static str, what: &'static str) -> Self {
        Self { id, what }
    }

    /// The value of a variable that the user named.
    pub const NAMED: Self = Self::new("named-value", "value of a named variable");
    /// A private key.
    pub const PRIVATE_KEY: Self = Self::new("private-key", "private key");
    /// The key file of a Google service account.
    pub const SERVICE_ACCOUNT: Self =
        Self::new("gcp-service-account", "key of a Google service account");
}
