//! What can be made to go wrong, and the handle that says when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::line::Line;

/// A way in which a request can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request is not carried out and answered with this status.
    Status(u16),
    /// The request is not carried out, and answered with this status and a body that does not end.
    Endless(u16),
    /// The request is neither carried out nor answered.
    Hang,
    /// The request is not carried out and the connection closed.
    Disconnect,
    /// The request is carried out, then the connection closed without an answer.
    LoseAnswer,
    /// The connection is closed after this many bytes of the answer's body.
    Truncate(u64),
    /// The answer is complete in itself but has only this many bytes of the body.
    Shorten(u64),
    /// One bit of the body's byte at this offset is flipped.
    Corrupt(u64),
}

/// A fault and the requests that it befalls: all of them, unless narrowed down.
#[derive(Debug, Clone)]
pub struct Rule {
    fault: Fault,
    method: Option<String>,
    key: Option<String>,
    skip: u64,
    times: Option<u64>,
    probability: f64,
}

impl Rule {
    /// Every request goes wrong in this way.
    pub fn new(fault: Fault) -> Self {
        Self {
            fault,
            method: None,
            key: None,
            skip: 0,
            times: None,
            probability: 1.0,
        }
    }

    /// Only requests with this method: `GET` (listings too), `PUT`, `HEAD`, `DELETE`.
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Only requests whose path or query has this in it, percent-decoded.
    pub fn key(mut self, part: &str) -> Self {
        self.key = Some(part.to_owned());
        self
    }

    /// Leaves the first `count` requests that match alone.
    pub fn skip(mut self, count: u64) -> Self {
        self.skip = count;
        self
    }

    /// Stops after `count` faults.
    pub fn times(mut self, count: u64) -> Self {
        self.times = Some(count);
        self
    }

    /// Only this share of the requests, from 0 to 1.
    pub fn probability(mut self, share: f64) -> Self {
        self.probability = share;
        self
    }

    fn matches(&self, method: &str, target: &str) -> bool {
        self.method.as_deref().is_none_or(|wanted| wanted == method)
            && self.key.as_deref().is_none_or(|part| target.contains(part))
    }

    /// Whether it is this request's turn.
    fn strikes(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if self.times == Some(0) || fastrand::f64() >= self.probability {
            return false;
        }
        if let Some(times) = &mut self.times {
            *times -= 1;
        }
        true
    }
}

/// What a server was asked so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests by method.
    pub requests: BTreeMap<String, u64>,
    /// Requests that a rule made go wrong.
    pub faults: u64,
    /// Bytes of request bodies.
    pub bytes_in: u64,
    /// Bytes of answers' bodies.
    pub bytes_out: u64,
}

impl Counts {
    /// Requests with one method.
    pub fn of(&self, method: &str) -> u64 {
        self.requests.get(method).copied().unwrap_or(0)
    }

    /// All requests.
    pub fn total(&self) -> u64 {
        self.requests.values().sum()
    }
}

/// Controls a running server. Clones control the same one.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    state: Arc<Mutex<State>>,
    pub(super) line: Arc<Line>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    counts: Counts,
    last_put: BTreeMap<String, String>,
}

impl Faults {
    /// Adds a rule. The first rule whose turn it is decides.
    pub fn inject(&self, rule: Rule) {
        self.state.lock().rules.push(rule);
    }

    /// The headers of the last write, their names in lower case.
    pub fn last_put(&self) -> BTreeMap<String, String> {
        self.state.lock().last_put.clone()
    }

    pub(super) fn note_put(&self, headers: BTreeMap<String, String>) {
        self.state.lock().last_put = headers;
    }

    /// Removes all rules.
    pub fn clear(&self) {
        self.state.lock().rules.clear();
    }

    /// Delays every answer by this much.
    pub fn set_latency(&self, latency: Duration) {
        self.line.set_latency(latency);
    }

    /// Limits all bodies together, in each direction, to this many bytes a second.
    pub fn set_bandwidth(&self, bytes_per_second: Option<u64>) {
        self.line.set_bandwidth(bytes_per_second);
    }

    /// What was asked so far.
    pub fn counts(&self) -> Counts {
        let mut counts = self.state.lock().counts.clone();
        (counts.bytes_in, counts.bytes_out) = self.line.bytes();
        counts
    }

    /// Counts from zero again.
    pub fn reset_counts(&self) {
        self.state.lock().counts = Counts::default();
        self.line.reset_bytes();
    }

    /// Counts a request and decides its fate.
    pub(super) fn fate(&self, method: &str, target: &str) -> Option<Fault> {
        let mut state = self.state.lock();
        *state.counts.requests.entry(method.to_owned()).or_default() += 1;
        let mut matching = state
            .rules
            .iter_mut()
            .filter(|rule| rule.matches(method, target));
        let fault = matching.find_map(|rule| rule.strikes().then_some(rule.fault));
        state.counts.faults += u64::from(fault.is_some());
        fault
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_strikes_the_requests_it_names_and_as_often_as_it_says() {
        let faults = Faults::default();
        faults.inject(
            Rule::new(Fault::Hang)
                .method("GET")
                .key("packs/")
                .skip(1)
                .times(2),
        );
        let fates = [
            ("PUT", "/cache/packs/a"),
            ("GET", "/cache/refs/a"),
            ("GET", "/cache/packs/a"),
            ("GET", "/cache/packs/b"),
            ("GET", "/cache/packs/c"),
            ("GET", "/cache/packs/d"),
        ]
        .map(|(method, target)| faults.fate(method, target).is_some());
        assert_eq!(fates, [false, false, false, true, true, false]);
        assert_eq!((faults.counts().of("GET"), faults.counts().faults), (5, 2));
    }
}
