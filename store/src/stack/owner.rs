//! Owner override for the entries of a stack.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A user and a group, by number.
///
/// Written as `UID:GID`, or as `UID` alone where the group has the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

impl Owner {
    /// The user and group as which this process makes files.
    pub fn of_process() -> Self {
        Self {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

/// A text that names no owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not UID or UID:GID, in numbers, such as 1000:1000")]
pub struct NotAnOwner(String);

impl FromStr for Owner {
    type Err = NotAnOwner;

    fn from_str(text: &str) -> Result<Self, NotAnOwner> {
        // The kernel's number for "no one"; `chown` interprets it as "unchanged".
        let id = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            let id = text.parse().ok().filter(|_| digits);
            id.filter(|&id| id != u32::MAX)
                .ok_or_else(|| NotAnOwner(text.to_owned()))
        };
        let (uid, gid) = text.split_once(':').unwrap_or((text, text));
        match (id(uid), id(gid)) {
            (Ok(uid), Ok(gid)) => Ok(Self { uid, gid }),
            _ => Err(NotAnOwner(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_numbers() {
        let owner = |text: &str| text.parse::<Owner>().map(|owner| (owner.uid, owner.gid));
        assert_eq!(owner("1000"), Ok((1000, 1000)));
        assert_eq!(owner("1000:100"), Ok((1000, 100)));
        assert_eq!(owner("0:0"), Ok((0, 0)));
        for bad in [
            "",
            ":",
            "1000:",
            ":100",
            "root",
            "-1",
            "+1",
            "4294967295",
            "4294967296",
            "1:2:3",
            " 1",
        ] {
            assert_eq!(owner(bad), Err(NotAnOwner(bad.to_owned())), "{bad:?}");
        }
    }
}
