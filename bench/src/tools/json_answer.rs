//! What `cachefs --format json` answers, as far as the benchmark looks at it.
//!
//! Fields that are missing are zero or empty, and fields that are not known are passed over, so
//! that older and newer versions of the program can be compared.

use anyhow::Context;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

/// Requests to the remote by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AnswerRequests {
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

impl AnswerRequests {
    /// All of them.
    pub(crate) fn total(&self) -> u64 {
        self.get + self.put + self.head + self.list + self.delete
    }
}

/// What went over the line to the remote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AnswerTraffic {
    /// How often it was asked.
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
    /// The key that names what was saved.
    pub(crate) key: String,
    /// Layers in the stack that the key names now.
    pub(crate) layers: u64,
    /// What it took.
    #[serde(flatten)]
    pub(crate) traffic: AnswerTraffic,
}

/// The answer of `restore`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct RestoreAnswer {
    /// How the key was found: `exact`, `prefix` or `miss`.
    #[serde(rename = "match")]
    pub(crate) matched: String,
    /// What it took until the directory was there.
    #[serde(flatten)]
    pub(crate) traffic: AnswerTraffic,
}

/// The answer of `stats`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Stats {
    /// What the daemon did since it was started, if one is running.
    pub(crate) daemon: Option<AnswerDaemonStats>,
}

/// What a daemon did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct AnswerDaemonStats {
    /// What it asked of remotes.
    #[serde(deserialize_with = "by_plurals")]
    pub(crate) traffic: AnswerTraffic,
}

/// Reads traffic in the form that daemons give it.
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

/// Reads the one object that a command wrote.
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
