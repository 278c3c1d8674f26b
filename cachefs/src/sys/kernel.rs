//! The version of the running kernel.

use std::fmt;

/// A kernel version, with the precision that features depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

impl KernelVersion {
    /// Asks the running kernel. A release that cannot be parsed counts as 0.0: no new feature is
    /// then taken for granted.
    pub fn running() -> Self {
        let name = rustix::system::uname();
        Self::parse(&name.release().to_string_lossy()).unwrap_or(Self { major: 0, minor: 0 })
    }

    /// Parses a release such as `6.1.0-18-amd64`.
    pub fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit());
        Some(Self {
            major: numbers.next()?.parse().ok()?,
            minor: numbers.next()?.parse().ok()?,
        })
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_distributions() {
        let parsed = |text| KernelVersion::parse(text).map(|v| (v.major, v.minor));
        assert_eq!(parsed("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(parsed("5.15.167.4-microsoft-standard-WSL2"), Some((5, 15)));
        assert_eq!(parsed("6.12-rc3"), Some((6, 12)));
        assert_eq!(parsed("linux"), None);
        assert!(
            KernelVersion {
                major: 6,
                minor: 10
            } > KernelVersion { major: 6, minor: 9 }
        );
    }
}
