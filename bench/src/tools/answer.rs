//! What `cachefs --format json` answers, as far as the benchmark looks at it.
//!
//! Fields that are missing are zero or empty, and fields that are not known are passed over, so
//! that older and newer versions of the program can be compared.

use std::ops::Sub;

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Requests to the remote by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Requests {
    /// Reads of objects or of parts of them.
    pub(crate) get: u64,
    /// Writes.
    pub(crate) put: u64,
    /// Size queries.
    pub(crate) head: u64,
    /// Pages of listings.
    pub(crate) list: u64,
    /// Deletions.
    pub(crate) delete: u64,
}

impl Requests {
    /// All of them.
    pub(crate) fn total(&self) -> u64 {
        self.get + self.put + self.head + self.list + self.delete
    }
}

/// What went over the line to the remote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Traffic {
    /// How often it was asked.
    pub(crate) requests: Requests,
    /// Bytes of objects written.
    pub(crate) bytes_sent: u64,
    /// Bytes of objects read.
    pub(crate) bytes_received: u64,
}

impl Sub for Traffic {
    type Output = Self;

    /// What happened since `earlier`.
    fn sub(self, earlier: Self) -> Self {
        let (now, then) = (self.requests, earlier.requests);
        Self {
            requests: Requests {
                get: now.get.saturating_sub(then.get),
                put: now.put.saturating_sub(then.put),
                head: now.head.saturating_sub(then.head),
                list: now.list.saturating_sub(then.list),
                delete: now.delete.saturating_sub(then.delete),
            },
            bytes_sent: self.bytes_sent.saturating_sub(earlier.bytes_sent),
            bytes_received: self.bytes_received.saturating_sub(earlier.bytes_received),
        }
    }
}

/// The answer of `save`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Save {
    /// The key that names what was saved.
    pub(crate) key: String,
    /// Layers in the stack that the key names now.
    pub(crate) layers: u64,
    /// What it took.
    #[serde(flatten)]
    pub(crate) traffic: Traffic,
}

/// The answer of `restore`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Restore {
    /// How the key was found: `exact`, `prefix` or `miss`.
    #[serde(rename = "match")]
    pub(crate) matched: String,
    /// What it took until the directory was there.
    #[serde(flatten)]
    pub(crate) traffic: Traffic,
}

/// The answer of `stats`: what the daemon did since it was started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Stats {
    /// What it asked of the remote.
    #[serde(flatten)]
    pub(crate) traffic: Traffic,
}

/// Reads the one object that a command wrote.
pub(crate) fn parse<T: DeserializeOwned>(stdout: &str) -> Result<T> {
    serde_json::from_str(stdout)
        .with_context(|| format!("the answer is not understood: {}", stdout.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whatever_else_is_in_them() {
        let save: Save = parse(
            r#"{"key":"k","layers":2,"new_bytes":7,"milliseconds":1.5,"bytes_sent":9,
                "requests":{"get":1,"put":3,"patch":4},"later":{"more":[]}}"#,
        )
        .unwrap();
        assert_eq!((save.key.as_str(), save.layers), ("k", 2));
        assert_eq!(save.traffic.requests.total(), 4);
        assert_eq!(
            (save.traffic.bytes_sent, save.traffic.bytes_received),
            (9, 0)
        );
        let restore: Restore = parse(r#"{"match":"exact","matched_key":null}"#).unwrap();
        assert_eq!(restore.matched, "exact");
        assert_eq!(restore.traffic, Traffic::default());
        parse::<Save>("saved k").unwrap_err();
    }

    #[test]
    fn traffic_between_two_moments_never_goes_below_zero() {
        let traffic = |get, bytes_received| Traffic {
            requests: Requests {
                get,
                ..Requests::default()
            },
            bytes_received,
            ..Traffic::default()
        };
        assert_eq!(traffic(5, 100) - traffic(3, 40), traffic(2, 60));
        assert_eq!(traffic(1, 1) - traffic(3, 40), Traffic::default());
    }
}
