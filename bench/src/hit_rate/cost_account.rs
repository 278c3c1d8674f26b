//! Cost of jobs: requests, bytes, time and money, by retention policy.

use std::collections::HashMap;

use super::caches::{Life, Match};
use super::history::{HistoryPiece, HistoryState};

/// Seconds in a month: a twelfth of a year.
pub(super) const MONTH: f64 = 365.25 * 86_400.0 / 12.0;

/// How caches are stored and fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetentionPolicy {
    /// One archive per key, fetched in full before the job and stored in full after it.
    Archive,
    /// Layers: the job fetches the index first and data on demand, and stores only data that the
    /// restored cache lacks.
    Layers,
}

impl RetentionPolicy {
    pub(super) const ALL: [Self; 2] = [Self::Archive, Self::Layers];

    /// The label in the report table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Archive => "archives",
            Self::Layers => "layers",
        }
    }
}

/// Network, prices and other assumptions of the model.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Assumptions {
    /// Bandwidth to the remote, in megabytes per second
    #[arg(long, value_name = "MB", default_value_t = 100.0)]
    pub(super) line_bandwidth: f64,
    /// Time to first byte of a response, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 30.0)]
    pub(super) line_latency: f64,
    /// Fraction of the restored data that a job reads; with layers, the rest is never fetched
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    pub(super) read_share: f64,
    /// Megabytes per request
    #[arg(long, value_name = "MB", default_value_t = 32.0)]
    pub(super) request_size: f64,
    /// Parallel requests
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(super) parallel: u32,
    /// Index bytes per file in a layer
    #[arg(long, value_name = "BYTES", default_value_t = 45)]
    pub(super) index_bytes: u64,
    /// Dollars per 1000 write or list requests
    #[arg(long, value_name = "USD", default_value_t = 0.005)]
    pub(super) price_writes: f64,
    /// Dollars per 1000 read requests
    #[arg(long, value_name = "USD", default_value_t = 0.0004)]
    pub(super) price_reads: f64,
    /// Dollars per gigabyte stored for a month
    #[arg(long, value_name = "USD", default_value_t = 0.023)]
    pub(super) price_storage: f64,
    /// Dollars per gigabyte transferred out of the remote
    #[arg(long, value_name = "USD", default_value_t = 0.0)]
    pub(super) price_transfer: f64,
    /// Dollars per minute of a machine that waits for transfers
    #[arg(long, value_name = "USD", default_value_t = 0.008)]
    pub(super) price_minute: f64,
    /// Days until an unused cache is removed
    #[arg(long, value_name = "DAYS", default_value_t = 30.0)]
    pub(super) keep_days: f64,
    /// Jobs per day, for histories without timestamps
    #[arg(long, value_name = "N", default_value_t = 100.0)]
    pub(super) jobs_per_day: f64,
}

impl Assumptions {
    /// Describes the assumptions for the report, as name and text.
    pub(super) fn describe(&self) -> [(&'static str, String); 3] {
        let line = format!(
            "{} MB/s, {} ms to each answer, {} requests of up to {} MB at a time; unpacking and mounting \
             are not counted",
            self.line_bandwidth, self.line_latency, self.parallel, self.request_size
        );
        let layers = format!(
            "a job reads {} of what was restored; an index has {} bytes for each file; a save shares \
             what the restored cache has, and nothing else",
            self.read_share, self.index_bytes
        );
        let prices = format!(
            "${} for 1000 writes, ${} for 1000 reads, ${} for a GB-month, ${} for a GB out, ${} for a \
             minute of waiting; caches are kept {} days after their last use",
            self.price_writes,
            self.price_reads,
            self.price_storage,
            self.price_transfer,
            self.price_minute,
            self.keep_days
        );
        [("line", line), ("layers", layers), ("prices", prices)]
    }

    fn requests(&self, bytes: f64) -> f64 {
        (bytes / (self.request_size * 1e6)).ceil()
    }

    /// Seconds for `requests` and their `bytes`: one latency per round of parallel requests, plus
    /// the transfer time.
    fn seconds(&self, requests: f64, bytes: f64) -> f64 {
        let rounds = (requests / f64::from(self.parallel.max(1))).ceil();
        rounds * self.line_latency / 1e3 + bytes / (self.line_bandwidth * 1e6)
    }
}

/// Totals over a history.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Account {
    pub(super) jobs: f64,
    pub(super) exact: f64,
    pub(super) prefix: f64,
    pub(super) miss: f64,
    /// Bytes in files that jobs needed, and the restored part.
    pub(super) needed: f64,
    pub(super) restored: f64,
    /// The same as file counts.
    pub(super) needed_files: f64,
    pub(super) restored_files: f64,
    pub(super) down: f64,
    pub(super) up: f64,
    pub(super) reads: f64,
    pub(super) writes: f64,
    /// Seconds that jobs waited for transfers.
    pub(super) seconds: f64,
    /// Stored bytes times seconds.
    pub(super) kept: f64,
}

impl Account {
    /// Accounts for the restore at the start of a job.
    pub(super) fn restore(
        &mut self,
        policy: RetentionPolicy,
        assumed: &Assumptions,
        (matched, found): (Match, Option<&HistoryState>),
        wanted: &HistoryState,
    ) {
        self.jobs += 1.0;
        match matched {
            Match::Exact => self.exact += 1.0,
            Match::Prefix => self.prefix += 1.0,
            Match::Miss => self.miss += 1.0,
        }
        self.needed += wanted.raw() as f64;
        self.needed_files += wanted.file_count() as f64;
        // One request looks up the key.
        self.reads += 1.0;
        self.seconds += assumed.seconds(1.0, 0.0);
        let Some(found) = found else { return };
        let useful = || wanted.pieces_in(found, true);
        self.restored += sum_pieces(useful(), |piece| piece.raw * piece.times);
        self.restored_files += wanted.files_in(found) as f64;
        let bytes = match policy {
            RetentionPolicy::Archive => found.archived() as f64,
            RetentionPolicy::Layers => {
                let index = (found.file_count() * assumed.index_bytes) as f64;
                self.fetch(assumed, index);
                // A job reads only data that it needs, so the rest is never fetched.
                sum_pieces(useful(), |piece| piece.stored) * assumed.read_share
            }
        };
        self.fetch(assumed, bytes);
    }

    /// Accounts for the save at the end of a job.
    pub(super) fn save(
        &mut self,
        policy: RetentionPolicy,
        assumed: &Assumptions,
        found: Option<&HistoryState>,
        state: &HistoryState,
    ) {
        let bytes = match policy {
            RetentionPolicy::Archive => state.archived() as f64,
            RetentionPolicy::Layers => {
                let new_files = found.map_or(0, |found| state.files_in(found));
                let index = (state.file_count() - new_files) * assumed.index_bytes;
                // A save also writes three small objects: the layer, its record and the head.
                self.writes += 3.0;
                self.seconds += assumed.seconds(3.0, index as f64);
                self.up += index as f64;
                match found {
                    Some(found) => sum_pieces(state.pieces_in(found, false), |piece| piece.stored),
                    None => sum_pieces(state.pieces.iter(), |piece| piece.stored),
                }
            }
        };
        let requests = assumed.requests(bytes);
        self.writes += requests;
        self.up += bytes;
        self.seconds += assumed.seconds(requests, bytes);
    }

    /// Adds the storage of caches over their lifetimes.
    pub(super) fn keep(&mut self, policy: RetentionPolicy, lives: &[Life]) {
        match policy {
            RetentionPolicy::Archive => {
                for life in lives {
                    self.kept += life.content.state.archived() as f64 * (life.until - life.from);
                }
            }
            // A copy of a piece is stored while at least one cache refers to it.
            RetentionPolicy::Layers => {
                let mut spans: HashMap<u64, (u64, Vec<(f64, f64)>)> = HashMap::new();
                for life in lives {
                    let content = &life.content;
                    for (piece, copy) in content.state.pieces.iter().zip(&content.copies) {
                        let (_, spans) = spans.entry(*copy).or_insert((piece.stored, vec![]));
                        spans.push((life.from, life.until));
                    }
                }
                for (stored, spans) in spans.into_values() {
                    self.kept += stored as f64 * covered_length(spans);
                }
            }
        }
    }

    fn fetch(&mut self, assumed: &Assumptions, bytes: f64) {
        let requests = assumed.requests(bytes);
        self.reads += requests;
        self.down += bytes;
        self.seconds += assumed.seconds(requests, bytes);
    }

    /// Dollars per month, for jobs that were spread over `span` seconds.
    pub(super) fn dollars(&self, assumed: &Assumptions, span: f64) -> f64 {
        let total = self.writes / 1e3 * assumed.price_writes
            + self.reads / 1e3 * assumed.price_reads
            + self.down / 1e9 * assumed.price_transfer
            + self.seconds / 60.0 * assumed.price_minute
            + self.kept / 1e9 / MONTH * assumed.price_storage;
        total * MONTH / span
    }
}

fn sum_pieces<'a>(
    pieces: impl Iterator<Item = &'a HistoryPiece>,
    of: impl Fn(&HistoryPiece) -> u64,
) -> f64 {
    pieces.map(of).sum::<u64>() as f64
}

/// Length of the union of some spans, in seconds.
fn covered_length(mut spans: Vec<(f64, f64)>) -> f64 {
    spans.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut total = 0.0;
    let mut reached = f64::MIN;
    for (from, until) in spans {
        total += (until - from.max(reached)).max(0.0);
        reached = reached.max(until);
    }
    total
}

#[cfg(test)]
pub(super) mod testing {
    use super::Assumptions;

    /// Round numbers, for arithmetic by hand.
    pub(crate) fn assumed() -> Assumptions {
        Assumptions {
            line_bandwidth: 1e-4,
            line_latency: 1000.0,
            read_share: 0.5,
            request_size: 1.0,
            parallel: 4,
            index_bytes: 10,
            price_writes: 1.0,
            price_reads: 0.0,
            price_storage: 0.0,
            price_transfer: 0.0,
            price_minute: 0.0,
            keep_days: 1.0,
            jobs_per_day: 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::super::caches::ReplayedContent;
    use super::super::history::testing::state;
    use super::testing::assumed;
    use super::*;

    #[test]
    fn a_prefix_hit_moves_an_archive_or_what_is_read_of_a_layer() {
        let (old, new) = (state(&[1, 2, 3, 4]), state(&[3, 4, 5]));
        let found = (Match::Prefix, Some(&*old));
        let mut archive = Account::default();
        archive.restore(RetentionPolicy::Archive, &assumed(), found, &new);
        assert_eq!((archive.needed, archive.restored), (300.0, 200.0));
        assert_eq!((archive.needed_files, archive.restored_files), (3.0, 2.0));
        // The key lookup, then an archive of 4 * 50 bytes: two round trips, and 200 bytes at 100
        // per second.
        assert_eq!(
            (archive.down, archive.reads, archive.seconds),
            (200.0, 2.0, 4.0)
        );
        archive.save(RetentionPolicy::Archive, &assumed(), Some(&old), &new);
        assert_eq!((archive.up, archive.writes), (150.0, 1.0));

        let mut layers = Account::default();
        layers.restore(RetentionPolicy::Layers, &assumed(), found, &new);
        // The index of 4 files, and half of the two needed pieces.
        assert_eq!((layers.down, layers.reads), (40.0 + 50.0, 3.0));
        layers.save(RetentionPolicy::Layers, &assumed(), Some(&old), &new);
        // One new piece, and one new file in the index; three small objects and a pack.
        assert_eq!((layers.up, layers.writes), (50.0 + 10.0, 4.0));
        assert_eq!((layers.prefix, layers.exact, layers.jobs), (1.0, 0.0, 1.0));
    }

    #[test]
    fn what_caches_share_is_kept_once_by_layers() {
        let life = |ids: &[u64], copies: [u64; 2], from, until| Life {
            content: Rc::new(ReplayedContent {
                state: state(ids),
                copies: copies.into(),
            }),
            from,
            until,
        };
        let kept = |policy, copies| {
            let lives = [
                life(&[1, 2], [1, 2], 0.0, 10.0),
                life(&[2, 3], copies, 5.0, 20.0),
            ];
            let mut account = Account::default();
            account.keep(policy, &lives);
            account.kept
        };
        let archives = 100.0 * 10.0 + 100.0 * 15.0;
        assert_eq!(kept(RetentionPolicy::Archive, [2, 3]), archives);
        assert_eq!(
            kept(RetentionPolicy::Layers, [2, 3]),
            50.0 * (10.0 + 20.0 + 15.0)
        );
        // A cache that was saved after a miss shares nothing with the other.
        assert_eq!(kept(RetentionPolicy::Layers, [3, 4]), archives);
        assert_eq!(
            covered_length(vec![(5.0, 6.0), (0.0, 1.0), (0.5, 2.0)]),
            3.0
        );
    }

    #[test]
    fn a_month_costs_as_much_as_its_part_of_the_history() {
        let account = Account {
            writes: 1000.0,
            ..Account::default()
        };
        assert_eq!(account.dollars(&assumed(), MONTH / 2.0), 2.0);
    }
}
