//! The saved caches during a replay, and their lookup by key scheme.

use std::collections::HashMap;
use std::rc::Rc;

use super::history::{HistoryJob, HistoryState, MAIN};

/// How a job's key is matched, with fallbacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// Only the exact key.
    Exact,
    /// The exact key, then the newest cache of any branch.
    Prefix,
    /// Caches belong to branches. Lookup order: the exact key on this branch, the exact key on
    /// main, the newest cache of this branch, the newest cache of main.
    Branch,
}

impl Scheme {
    pub(super) const ALL: [Self; 3] = [Self::Exact, Self::Prefix, Self::Branch];

    /// The label in the report table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact key",
            Self::Prefix => "key and prefix",
            Self::Branch => "by branch, main as fallback",
        }
    }
}

/// Result of a cache lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    /// A cache with the exact key.
    Exact,
    /// A fallback cache.
    Prefix,
    /// No cache.
    Miss,
}

/// The content of a cache.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ReplayedContent {
    /// State of the directory.
    pub(super) state: Rc<HistoryState>,
    /// A copy number for each piece of `state`. Equal numbers share stored bytes: a cache that was
    /// saved over a restored cache reuses the numbers of the pieces that they share.
    pub(super) copies: Vec<u64>,
}

/// A saved cache; times are in seconds.
#[derive(Debug, Clone)]
struct ReplayedCache {
    content: Rc<ReplayedContent>,
    saved: f64,
    used: f64,
}

/// All caches, by branch and key.
#[derive(Debug)]
pub(super) struct Caches {
    scheme: Scheme,
    /// Retention after the last use, in seconds.
    keep: f64,
    known: HashMap<(Rc<str>, u64), ReplayedCache>,
    /// The number of stored piece copies, which is also the last copy number.
    copies: u64,
}

/// The lifetime of a cache, once it is removed or the history ends.
#[derive(Debug)]
pub(super) struct Life {
    /// Content of the cache.
    pub(super) content: Rc<ReplayedContent>,
    /// When it was saved, in seconds.
    pub(super) from: f64,
    /// When it was removed, in seconds.
    pub(super) until: f64,
}

impl Caches {
    pub(super) fn new(scheme: Scheme, keep: f64) -> Self {
        Self {
            scheme,
            keep,
            known: HashMap::new(),
            copies: 0,
        }
    }

    /// Removes the caches whose retention has expired.
    pub(super) fn expire(&mut self, now: f64) -> Vec<Life> {
        let keep = self.keep;
        let gone = self
            .known
            .extract_if(|_, cache| cache.used + keep < now)
            .map(|(_, cache)| cache_life(cache, keep));
        gone.collect()
    }

    /// Ends the history. The remaining caches stay for their full retention.
    pub(super) fn end(self) -> Vec<Life> {
        let keep = self.keep;
        let left = self.known.into_values();
        left.map(|cache| cache_life(cache, keep)).collect()
    }

    /// Looks up the cache for a job and updates its last use.
    pub(super) fn find(&mut self, job: &HistoryJob) -> (Match, Option<Rc<ReplayedContent>>) {
        let main: Rc<str> = MAIN.into();
        let mut scopes = vec![Rc::clone(&job.branch), main];
        if self.scheme != Scheme::Branch {
            scopes = vec![self.scope(job)];
        }
        for scope in &scopes {
            let key = (Rc::clone(scope), job.state.key);
            if let Some(cache) = self.known.get_mut(&key) {
                cache.used = job.time;
                return (Match::Exact, Some(Rc::clone(&cache.content)));
            }
        }
        if self.scheme == Scheme::Exact {
            return (Match::Miss, None);
        }
        for scope in &scopes {
            let caches = self.known.iter_mut();
            let here = caches.filter(|((branch, _), _)| branch == scope);
            // Synthetic histories have equal times; the key breaks the tie.
            let newest =
                here.max_by(|((_, a), x), ((_, b), y)| x.saved.total_cmp(&y.saved).then(a.cmp(b)));
            if let Some((_, cache)) = newest {
                cache.used = job.time;
                return (Match::Prefix, Some(Rc::clone(&cache.content)));
            }
        }
        (Match::Miss, None)
    }

    /// Saves the state of a job over the cache that it found. An existing key is not saved again.
    pub(super) fn save(&mut self, job: &HistoryJob, found: Option<&ReplayedContent>) {
        let key = (self.scope(job), job.state.key);
        if self.known.contains_key(&key) {
            return;
        }
        let copies = job.state.pieces.iter().map(|piece| {
            found
                .and_then(|found| found.copy(piece.id))
                .unwrap_or_else(|| {
                    self.copies += 1;
                    self.copies
                })
        });
        let content = ReplayedContent {
            copies: copies.collect(),
            state: Rc::clone(&job.state),
        };
        let cache = ReplayedCache {
            content: Rc::new(content),
            saved: job.time,
            used: job.time,
        };
        self.known.insert(key, cache);
    }

    fn scope(&self, job: &HistoryJob) -> Rc<str> {
        match self.scheme {
            Scheme::Branch => Rc::clone(&job.branch),
            Scheme::Exact | Scheme::Prefix => MAIN.into(),
        }
    }
}

impl ReplayedContent {
    /// The copy number of a piece, if the cache contains the piece.
    fn copy(&self, piece: u64) -> Option<u64> {
        let pieces = &self.state.pieces;
        let at = pieces.binary_search_by_key(&piece, |piece| piece.id);
        at.ok().map(|at| self.copies[at])
    }
}

fn cache_life(cache: ReplayedCache, keep: f64) -> Life {
    Life {
        content: cache.content,
        from: cache.saved,
        until: cache.used + keep,
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::testing::job;
    use super::*;

    const DAY: f64 = 86_400.0;

    fn run(scheme: Scheme, jobs: &[HistoryJob]) -> Vec<Match> {
        let mut caches = Caches::new(scheme, 7.0 * DAY);
        let step = |job: &HistoryJob| {
            caches.expire(job.time);
            let (matched, found) = caches.find(job);
            if matched != Match::Exact {
                caches.save(job, found.as_deref());
            }
            matched
        };
        jobs.iter().map(step).collect()
    }

    #[test]
    fn each_scheme_finds_what_it_should() {
        use Match::{Exact, Miss, Prefix};
        let jobs = [
            job(0.0, "main", &[1]),
            job(1.0, "a", &[1]),
            job(2.0, "a", &[1, 2]),
            job(3.0, "b", &[1, 2]),
            job(4.0, "b", &[1, 2]),
            job(5.0, "main", &[1, 3]),
        ];
        assert_eq!(
            run(Scheme::Exact, &jobs),
            [Miss, Exact, Miss, Exact, Exact, Miss]
        );
        assert_eq!(
            run(Scheme::Prefix, &jobs),
            [Miss, Exact, Prefix, Exact, Exact, Prefix]
        );
        // Branch b does not see the caches of a, and falls back to main.
        assert_eq!(
            run(Scheme::Branch, &jobs),
            [Miss, Exact, Prefix, Prefix, Exact, Prefix]
        );
    }

    #[test]
    fn the_newest_will_do_and_what_is_not_used_goes() {
        let mut caches = Caches::new(Scheme::Prefix, 2.0 * DAY);
        caches.save(&job(0.0, "main", &[1]), None);
        let (_, first) = caches.find(&job(0.5, "main", &[7]));
        caches.save(&job(1.0, "main", &[1, 2]), first.as_deref());
        let (matched, found) = caches.find(&job(1.5, "x", &[9]));
        assert_eq!(matched, Match::Prefix);
        // Pieces of the first cache are shared.
        assert_eq!(found.unwrap().copies, [1, 2]);
        let gone = caches.expire(2.6 * DAY);
        assert_eq!(gone.len(), 1);
        assert_eq!((gone[0].from, gone[0].until), (0.0, 2.5 * DAY));
        let left = caches.end();
        assert_eq!((left.len(), left[0].until), (1, 3.5 * DAY));
    }
}
