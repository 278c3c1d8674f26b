//! The packs that memory knows.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::pending::KnownPack;
use crate::id::{DomainId, PackId};

/// Packs that are also in the database are kept while all packs together have at most this many
/// chunks. Beyond that, packs are written without waiting for an idle moment. A chunk takes about
/// 120 bytes, so this is 12 MB.
const ROOMY: usize = 100_000;
/// Adding a pack blocks while the unwritten packs have more than this many chunks (60 MB).
const FULL: usize = 500_000;

/// Packs in memory, the oldest first: those that were written, then those that wait.
pub(super) struct Memory {
    written: VecDeque<Arc<KnownPack>>,
    waiting: VecDeque<Arc<KnownPack>>,
    /// The domains with packs that are in the database alone.
    elsewhere: HashSet<DomainId>,
    /// The pack that is being written; also one of those that wait.
    pub(super) writing: Option<Arc<KnownPack>>,
    pub(super) last_use: Instant,
    pub(super) ending: bool,
}

fn count_chunks(packs: &VecDeque<Arc<KnownPack>>) -> usize {
    packs.iter().map(|pack| pack.trailer.chunks.len()).sum()
}

impl Memory {
    /// `elsewhere` names the domains that the database has packs of.
    pub(super) fn new(elsewhere: HashSet<DomainId>, waiting: Vec<Arc<KnownPack>>) -> Self {
        Self {
            written: VecDeque::new(),
            waiting: waiting.into(),
            elsewhere,
            writing: None,
            last_use: Instant::now(),
            ending: false,
        }
    }

    /// Returns the packs of a domain in memory, and whether the database knows no others.
    pub(super) fn packs_of(&mut self, domain: &DomainId) -> (Vec<Arc<KnownPack>>, bool) {
        self.last_use = Instant::now();
        let packs = self.written.iter().chain(&self.waiting);
        let packs = packs.filter(|pack| pack.domain == *domain).cloned();
        (packs.collect(), !self.elsewhere.contains(domain))
    }

    pub(super) fn add(&mut self, pack: Arc<KnownPack>) {
        self.last_use = Instant::now();
        self.waiting.push_back(pack);
    }

    pub(super) fn next_to_write(&self) -> Option<Arc<KnownPack>> {
        self.waiting.front().cloned()
    }

    /// Whether packs are to be written even while the index is in use.
    pub(super) fn is_crowded(&self) -> bool {
        count_chunks(&self.waiting) > ROOMY
    }

    /// Whether no pack may be added.
    pub(super) fn is_full(&self) -> bool {
        count_chunks(&self.waiting) > FULL
    }

    /// Notes that the database has a pack.
    pub(super) fn written(&mut self, pack: &Arc<KnownPack>) {
        self.waiting.retain(|waiting| !Arc::ptr_eq(waiting, pack));
        self.written.push_back(Arc::clone(pack));
        while count_chunks(&self.written) > ROOMY
            && let Some(pack) = self.written.pop_front()
        {
            self.elsewhere.insert(pack.domain);
        }
    }

    /// Forgets a pack; returns those that were waiting.
    pub(super) fn remove(&mut self, domain: &DomainId, pack: &PackId) -> Vec<Arc<KnownPack>> {
        self.written.retain(|known| !known.is(domain, pack));
        let (removed, kept): (Vec<_>, Vec<_>) = self
            .waiting
            .drain(..)
            .partition(|waiting| waiting.is(domain, pack));
        self.waiting = kept.into();
        removed
    }
}
