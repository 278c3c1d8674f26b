//! Kinds of secrets.

/// A kind of secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretKind {
    /// A stable identifier for JSON, such as `github-token`.
    pub id: &'static str,
    /// The name in messages, without an article, such as `GitHub token`.
    pub name: &'static str,
}

impl SecretKind {
    pub(super) const fn new(id: &'static str, name: &'static str) -> Self {
        Self { id, name }
    }

    /// The value of a variable given with `--secret-env`.
    pub const NAMED: Self = Self::new("named-value", "value of a named variable");
}
