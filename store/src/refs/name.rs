//! Keys, scopes, and the object names they lead to.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::encoding::{decode_segments, encode_segments};
use super::key_part::CachePart;
use crate::error::{Error, Result};
use crate::id::SaveId;
use crate::remote::ObjectKey;

/// A key has at most this many characters.
pub const MAX_KEY_CHARS: usize = 512;

/// The encoded key, with its part, has at most this many bytes, so that object names stay below
/// the 1,024 that object stores allow.
const MAX_ENCODED_KEY: usize = 800;
/// The encoded scope is one segment of a path, and filesystems allow 255 bytes.
const MAX_ENCODED_SCOPE: usize = 180;

/// The name of a cache within a scope, as the user writes it after templates are expanded.
///
/// # Examples
///
/// ```
/// use cachefs_store::refs::Key;
///
/// assert_eq!(Key::new("npm-linux-3f2a")?.as_str(), "npm-linux-3f2a");
/// assert!(Key::new("").is_err());
/// assert!(Key::new("two\nlines").is_err());
/// # Ok::<(), cachefs_store::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

/// Owner of a key: a branch, a pull request, or any name that the pipeline chooses.
///
/// # Examples
///
/// ```
/// use cachefs_store::refs::Scope;
///
/// assert_eq!(Scope::new("pr/42")?.to_string(), "pr/42");
/// // The encoded name is a file name of a directory remote, so it is shorter than a key.
/// assert!(Scope::new("x".repeat(200)).is_err());
/// # Ok::<(), cachefs_store::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(String);

fn check_name(what: &str, text: &str) -> Result<()> {
    let problem = if text.is_empty() {
        "is empty".to_owned()
    } else if text.chars().count() > MAX_KEY_CHARS {
        format!(
            "has {} characters; at most {MAX_KEY_CHARS} are allowed",
            text.chars().count()
        )
    } else if let Some(bad) = text.chars().find(|c| c.is_control()) {
        format!("has the control character {bad:?}")
    } else {
        return Ok(());
    };
    Err(Error::InvalidName(format!("the {what} {problem}")))
}

impl Key {
    /// Checks a key: not empty, at most 512 characters, no control characters.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        check_name("key", &text)?;
        if encode_segments(&text).len() > MAX_ENCODED_KEY {
            return Err(Error::InvalidName(format!(
                "the key takes more than {MAX_ENCODED_KEY} bytes when encoded as an object name; use a checksum for its longest part"
            )));
        }
        Ok(Self(text))
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Scope {
    /// Checks a scope name.
    pub fn new(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        check_name("scope", &text)?;
        if encode_segments(&text).len() > MAX_ENCODED_SCOPE {
            return Err(Error::InvalidName(format!(
                "the scope takes more than {MAX_ENCODED_SCOPE} bytes when encoded as an object name"
            )));
        }
        Ok(Self(text))
    }

    /// The scope's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

macro_rules! text_type {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self> {
                Self::new(text)
            }
        }
        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}
text_type!(Key);
text_type!(Scope);

/// A key in a scope, or one of its parts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RefName {
    /// The scope of the key.
    pub scope: Scope,
    /// Its name there.
    pub key: Key,
    /// Which of the key's caches; `None` for a key of one path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<CachePart>,
}

impl RefName {
    /// A key of one path.
    pub fn new(scope: Scope, key: Key) -> Self {
        Self {
            scope,
            key,
            part: None,
        }
    }

    /// One part of a key. Fails when both together are too long for an object's name.
    pub fn of_part(scope: Scope, key: Key, part: CachePart) -> Result<Self> {
        let length = encode_segments(key.as_str()).len() + encode_segments(part.as_str()).len();
        if length > MAX_ENCODED_KEY {
            return Err(Error::InvalidName(format!(
                "the key and the path `{part}` take more than {MAX_ENCODED_KEY} bytes when encoded as an object name; use a checksum for the key's longest part"
            )));
        }
        Ok(Self {
            scope,
            key,
            part: Some(part),
        })
    }

    fn base(&self) -> String {
        let key = key_base(&self.scope, &self.key);
        match &self.part {
            None => key,
            Some(part) => format!("{key}/~p{}", encode_segments(part.as_str())),
        }
    }

    /// The object that holds the head.
    pub(crate) fn head(&self) -> ObjectKey {
        ObjectKey::new(format!("{}/~h", self.base()))
    }

    /// The object that holds one save's record.
    pub(crate) fn record(&self, save: &SaveId) -> ObjectKey {
        ObjectKey::new(format!("{}/~{save}", self.base()))
    }

    /// Common prefix of the names of all records of this name, and of no others.
    pub(super) fn records(&self) -> String {
        format!("{}/~r", self.base())
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.part {
            None => write!(f, "{} (scope {})", self.key, self.scope),
            Some(part) => write!(f, "{} (path {part}, scope {})", self.key, self.scope),
        }
    }
}

fn scope_prefix(scope: &Scope) -> String {
    // A scope is one segment: its encoding is never long enough to be split.
    format!("refs/{}/", encode_segments(scope.as_str()).replace('/', ""))
}

fn key_base(scope: &Scope, key: &Key) -> String {
    format!("{}{}", scope_prefix(scope), encode_segments(key.as_str()))
}

/// Common prefix of the names of all heads and records of a key and its parts. Those of a longer
/// key may start with it, too.
pub(super) fn parts_prefix(scope: &Scope, key: &Key) -> String {
    format!("{}/~", key_base(scope, key))
}

/// Common prefix of the names of all records whose keys start with `prefix`.
pub(super) fn listing_prefix(scope: &Scope, prefix: &str) -> String {
    format!("{}{}", scope_prefix(scope), encode_segments(prefix))
}

/// Parses a listed name of a record; `None` for heads and foreign objects.
pub fn parse_listing(listed: &ObjectKey) -> Option<(RefName, SaveId)> {
    let (scope, rest) = listed.as_str().strip_prefix("refs/")?.split_once('/')?;
    let (name, save) = rest.rsplit_once("/~")?;
    let (key, part) = match name.split_once("/~p") {
        Some((key, part)) => (key, Some(part)),
        None => (name, None),
    };
    let name = RefName {
        scope: Scope::new(decode_segments(scope)?).ok()?,
        key: Key::new(decode_segments(key)?).ok()?,
        part: match part {
            Some(part) => Some(CachePart::new(decode_segments(part)?).ok()?),
            None => None,
        },
    };
    let save = save.parse().ok()?;
    // A name that no writer writes belongs to no key: its record would never be found where it is
    // looked for, and two objects could pass for one save.
    (format!("{}/~{save}", name.base()) == listed.as_str()).then_some((name, save))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_round_trip(
            scope in "[^\\p{C}]{1,14}",
            key in "[^\\p{C}]{1,40}",
            part in proptest::option::of("(~/|/)?[^\\p{C}/.~]{1,6}(/[^\\p{C}/.~]{1,3}){0,2}"),
        ) {
            let (scope, key) = (Scope::new(scope)?, Key::new(key)?);
            let name = match part {
                None => RefName::new(scope, key),
                Some(part) => RefName::of_part(scope, key, CachePart::new(part)?)?,
            };
            let save = SaveId::now();
            prop_assert!(name.head().as_str().starts_with(&parts_prefix(&name.scope, &name.key)));
            prop_assert_eq!(parse_listing(&name.record(&save)), Some((name.clone(), save)));
            prop_assert_eq!(parse_listing(&name.head()), None);
            prop_assert!(name.record(&save).as_str().split('/').all(|part| part.len() <= 255));
        }

        #[test]
        fn prefixes_stay_prefixes(key in "[^\\p{C}]{2,60}", cut in 0usize..60) {
            let scope = Scope::new("main")?;
            let prefix: String = key.chars().take(cut).collect();
            let name = RefName::new(scope.clone(), Key::new(key)?);
            prop_assert!(name.records().starts_with(&listing_prefix(&scope, &prefix)));
        }
    }

    #[test]
    fn unusable_keys_are_refused() {
        for key in ["", "a\nb", "\u{7f}"] {
            assert!(Key::new(key).is_err(), "{key:?}");
        }
        assert!(Key::new("k".repeat(MAX_KEY_CHARS)).is_ok());
        assert!(Key::new("k".repeat(MAX_KEY_CHARS + 1)).is_err());
        assert!(Key::new("ключ".repeat(128)).is_err());
    }

    #[test]
    fn a_listed_name_is_the_one_that_would_be_written() {
        let save = "r000643f2c0a1b2c3d4e5f60718293a4b";
        let listed = |name: String| parse_listing(&ObjectKey::from_listing(&name).unwrap());
        assert!(listed(format!("refs/pr~2F66/k1/~{save}")).is_some());
        for other in [
            format!("refs/pr~2F66/k~31/~{save}"),
            format!("refs/pr~2f66/k1/~{save}"),
            format!("refs/pr/66/k1/~{save}"),
            format!("refs/pr~2F66/k/1/~{save}"),
            format!("refs/pr~2F66/k1/~p~41/~{save}"),
            format!("refs/pr~2F66/k1/~{}", save.to_uppercase().replace('R', "r")),
            format!("refs/pr~2F66/{}/~{save}", "k".repeat(130)),
        ] {
            assert_eq!(listed(other.clone()), None, "{other}");
        }
    }

    #[test]
    fn one_key_never_lists_another() {
        let scope = Scope::new("main").unwrap();
        let name = |key: &str| RefName::new(scope.clone(), Key::new(key).unwrap());
        let longer = name("m2-1").record(&SaveId::now());
        assert!(!longer.as_str().starts_with(&name("m2-").records()));
        let nested = name("m2-/x").record(&SaveId::now());
        assert!(!nested.as_str().starts_with(&name("m2-").records()));
    }

    #[test]
    fn a_part_is_not_the_key_and_not_another_part() {
        let scope = Scope::new("main").unwrap();
        let key = Key::new("m2-1").unwrap();
        let part = |part: &str| {
            RefName::of_part(scope.clone(), key.clone(), CachePart::new(part).unwrap()).unwrap()
        };
        let save = SaveId::now();
        let record = part("~/.m2").record(&save);
        assert_eq!(
            record.as_str(),
            format!("refs/main/m2-1/~p~7E~2F.m2/~{save}")
        );
        for other in [
            RefName::new(scope.clone(), key.clone()),
            part("~"),
            part("~/.m"),
        ] {
            assert!(!record.as_str().starts_with(&other.records()), "{other}");
        }
        let long = CachePart::new("y".repeat(400)).unwrap();
        assert!(RefName::of_part(scope, Key::new("x".repeat(401)).unwrap(), long).is_err());
    }
}
