//! Keys, scopes, and the object names they lead to.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::id::SaveId;
use crate::remote::ObjectKey;

/// A key has at most this many characters.
pub const MAX_KEY_CHARS: usize = 512;

/// The encoded key has at most this many bytes, so that object names stay below the 1,024 that
/// object stores allow.
const MAX_ENCODED_KEY: usize = 800;
/// The encoded scope is one segment of a path, and filesystems allow 255 bytes.
const MAX_ENCODED_SCOPE: usize = 180;
/// An encoded key is split into segments of at least this many bytes, for filesystems' sake.
const SEGMENT: usize = 128;

/// The name of a cache within a scope, as the user writes it after templates are expanded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Key(String);

/// Whose key it is: a branch, a pull request, or whatever the pipeline names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(String);

fn check(what: &str, text: &str) -> Result<()> {
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
        check("key", &text)?;
        if encode(&text).len() > MAX_ENCODED_KEY {
            return Err(Error::InvalidName(format!(
                "the key takes more than {MAX_ENCODED_KEY} bytes once written as an object name; \
                 use a checksum for its longest part"
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
        check("scope", &text)?;
        if encode(&text).len() > MAX_ENCODED_SCOPE {
            return Err(Error::InvalidName(format!(
                "the scope takes more than {MAX_ENCODED_SCOPE} bytes once written as an object name"
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

/// Writes any text as path segments so that a prefix of the text is a prefix of the result.
///
/// Letters, digits, `_`, `-` and `.` stand for themselves; other bytes are `~` and two uppercase
/// hexadecimal digits, as is a `.` at the start of a segment.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut segment = 0;
    for byte in text.bytes() {
        if segment >= SEGMENT {
            out.push('/');
            segment = 0;
        }
        let before = out.len();
        match byte {
            b'.' if segment == 0 => out.push_str("~2E"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => out.push(byte as char),
            _ => {
                out.push('~');
                for nibble in [byte >> 4, byte & 15] {
                    out.push(char::from(b"0123456789ABCDEF"[usize::from(nibble)]));
                }
            }
        }
        segment += out.len() - before;
    }
    out
}

fn decode(encoded: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes().filter(|byte| *byte != b'/');
    while let Some(byte) = rest.next() {
        if byte == b'~' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            bytes.push((digit()? * 16 + digit()?) as u8);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// A key in a scope.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RefName {
    /// Whose it is.
    pub scope: Scope,
    /// Its name there.
    pub key: Key,
}

impl RefName {
    fn base(&self) -> String {
        format!("{}{}", scope_prefix(&self.scope), encode(self.key.as_str()))
    }

    /// The object that holds the head.
    pub(crate) fn head(&self) -> ObjectKey {
        ObjectKey::new(format!("{}/~h", self.base()))
    }

    /// The object that holds one save's record.
    pub(crate) fn record(&self, save: &SaveId) -> ObjectKey {
        ObjectKey::new(format!("{}/~{save}", self.base()))
    }

    /// What the names of all records of this key, and no others, start with.
    pub(super) fn records(&self) -> String {
        format!("{}/~r", self.base())
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (scope {})", self.key, self.scope)
    }
}

fn scope_prefix(scope: &Scope) -> String {
    // A scope is one segment: its encoding is never long enough to be split.
    format!("refs/{}/", encode(scope.as_str()).replace('/', ""))
}

/// What the names of all records whose keys start with `prefix` start with.
pub(super) fn listing_prefix(scope: &Scope, prefix: &str) -> String {
    format!("{}{}", scope_prefix(scope), encode(prefix))
}

/// Reads a record's name in a listing; `None` for heads and for what is not ours.
pub fn parse_listing(name: &ObjectKey) -> Option<(RefName, SaveId)> {
    let (scope, rest) = name.as_str().strip_prefix("refs/")?.split_once('/')?;
    let (key, save) = rest.rsplit_once("/~")?;
    let name = RefName {
        scope: Scope::new(decode(scope)?).ok()?,
        key: Key::new(decode(key)?).ok()?,
    };
    Some((name, save.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn names_round_trip(scope in "[^\\p{C}]{1,14}", key in "[^\\p{C}]{1,60}") {
            let name = RefName { scope: Scope::new(scope)?, key: Key::new(key)? };
            let save = SaveId::now();
            prop_assert_eq!(parse_listing(&name.record(&save)), Some((name.clone(), save)));
            prop_assert_eq!(parse_listing(&name.head()), None);
            prop_assert!(name.record(&save).as_str().split('/').all(|part| part.len() <= 255));
        }

        #[test]
        fn prefixes_stay_prefixes(key in "[^\\p{C}]{2,60}", cut in 0usize..60) {
            let scope = Scope::new("main")?;
            let prefix: String = key.chars().take(cut).collect();
            let name = RefName { scope: scope.clone(), key: Key::new(key)? };
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
    fn one_key_never_lists_another() {
        let scope = Scope::new("main").unwrap();
        let name = |key: &str| RefName {
            scope: scope.clone(),
            key: Key::new(key).unwrap(),
        };
        let longer = name("m2-1").record(&SaveId::now());
        assert!(!longer.as_str().starts_with(&name("m2-").records()));
        let nested = name("m2-/x").record(&SaveId::now());
        assert!(!nested.as_str().starts_with(&name("m2-").records()));
    }
}
