//! The output of `cachefs --format json`, with the fields that the benchmark reads.
//!
//! Missing fields default to zero or empty and unknown fields are ignored, so that you can compare
//! older and newer versions of the program.

use anyhow::Context;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

/// Remote requests by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AnswerRequests {
    /// Reads of whole objects or ranges.
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

impl AnswerRequests {
    /// The total number of requests.
    pub(crate) fn total(&self) -> u64 {
        self.get + self.put + self.head + self.list + self.delete
    }
}

/// Traffic between a command and the remote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AnswerTraffic {
    /// Number of requests.
    pub(crate) requests: AnswerRequests,
    /// Bytes of objects written.
    pub(crate) bytes_sent: u64,
    /// Bytes of objects read.
    pub(crate) bytes_received: u64,
}

/// The answer of `save`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Save {
    /// The saved key.
    pub(crate) key: String,
    /// Number of layers in the saved stack.
    pub(crate) layers: u64,
    /// Remote traffic of the command.
    #[serde(flatten)]
    pub(crate) traffic: AnswerTraffic,
}

/// The answer of `restore`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct RestoreAnswer {
    /// Kind of match: `exact`, `prefix` or `miss`.
    #[serde(rename = "match")]
    pub(crate) matched: String,
    /// Remote traffic until the directory was usable.
    #[serde(flatten)]
    pub(crate) traffic: AnswerTraffic,
}

/// The answer of `stats`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Stats {
    /// Statistics since the daemon started, if one is running.
    pub(crate) daemon: Option<AnswerDaemonStats>,
}

/// Statistics of a daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct AnswerDaemonStats {
    /// Remote traffic of the daemon.
    #[serde(deserialize_with = "by_plurals")]
    pub(crate) traffic: AnswerTraffic,
}

/// Deserializes traffic with the plural field names that daemons use, for example `gets`.
fn by_plurals<'de, D: Deserializer<'de>>(deserializer: D) -> Result<AnswerTraffic, D::Error> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Plurals {
        gets: u64,
        puts: u64,
        heads: u64,
        lists: u64,
        deletes: u64,
        bytes_in: u64,
        bytes_out: u64,
    }
    let counts = Plurals::deserialize(deserializer)?;
    Ok(AnswerTraffic {
        requests: AnswerRequests {
            get: counts.gets,
            put: counts.puts,
            head: counts.heads,
            list: counts.lists,
            delete: counts.deletes,
        },
        bytes_sent: counts.bytes_out,
        bytes_received: counts.bytes_in,
    })
}

/// Parses the JSON object that a command printed.
pub(crate) fn parse_answer<T: DeserializeOwned>(stdout: &str) -> anyhow::Result<T> {
    serde_json::from_str(stdout)
        .with_context(|| format!("the answer is not understood: {}", stdout.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whatever_else_is_in_them() {
        let save: Save = parse_answer(
            r#"{"key":"k","layers":2,"new_bytes":7,"duration_ms":1.5,"bytes_sent":9,
                "requests":{"get":1,"put":3,"patch":4},"later":{"more":[]}}"#,
        )
        .unwrap();
        assert_eq!((save.key.as_str(), save.layers), ("k", 2));
        assert_eq!(save.traffic.requests.total(), 4);
        assert_eq!(
            (save.traffic.bytes_sent, save.traffic.bytes_received),
            (9, 0)
        );
        let restore: RestoreAnswer =
            parse_answer(r#"{"match":"exact","matched_key":null}"#).unwrap();
        assert_eq!(restore.matched, "exact");
        assert_eq!(restore.traffic, AnswerTraffic::default());
        parse_answer::<Save>("saved k").unwrap_err();
    }

    #[test]
    fn the_counts_of_a_daemon_are_read_by_their_plurals() {
        let stats: Stats = parse_answer(
            r#"{"store":"/s","daemon":{"pid":7,"traffic":{"gets":3,"bytes_in":10,"errors":1}}}"#,
        )
        .unwrap();
        let traffic = stats.daemon.unwrap().traffic;
        assert_eq!((traffic.requests.get, traffic.bytes_received), (3, 10));
        assert_eq!(
            parse_answer::<Stats>(r#"{"daemon":null}"#).unwrap().daemon,
            None
        );
    }
}
