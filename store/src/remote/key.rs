//! Names of objects in a remote.

use std::fmt;

/// The name of an object: `/`-separated segments of plain ASCII, relative to the remote's prefix.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// Wraps a name.
    ///
    /// # Panics
    ///
    /// When the name is empty, has an empty, `.` or `..` segment, or bytes outside printable
    /// ASCII: names are built by this crate from identifiers and encoded keys, which have none of
    /// these. Names that come from a listing go through [`ObjectKey::from_listing`].
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        match Self::from_listing(&name) {
            Some(key) => key,
            None => panic!("object names are built from safe parts: {name:?}"),
        }
    }

    /// Accepts a name found in a remote, or `None` when it can't be one of ours.
    pub fn from_listing(name: &str) -> Option<Self> {
        let safe = name.bytes().all(|byte| byte.is_ascii_graphic())
            && name
                .split('/')
                .all(|segment| !matches!(segment, "" | "." | ".."));
        safe.then(|| Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_escape_a_directory_are_refused() {
        for name in ["", "/a", "a//b", "../a", "a/./b", "a b", "a/"] {
            assert_eq!(ObjectKey::from_listing(name), None, "{name:?}");
        }
        assert!(ObjectKey::from_listing("refs/main/m2-1/~head").is_some());
    }
}
