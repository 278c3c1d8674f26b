//! Fault injection: rules, and the handle that controls a running server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::line::Line;

/// An injected fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Respond with this status without executing the request.
    Status(u16),
    /// Respond with this status and an endless body, without executing the request.
    Endless(u16),
    /// Neither execute the request nor respond.
    Hang,
    /// Close the connection without executing the request.
    Disconnect,
    /// Execute the request, then close the connection without a response.
    LoseAnswer,
    /// Close the connection after this many bytes of the response body.
    Truncate(u64),
    /// Send a well-formed response with only this many bytes of the body.
    Shorten(u64),
    /// Flip one bit of the body byte at this offset.
    Corrupt(u64),
}

/// A fault and the requests that it affects: all requests, unless you narrow the rule.
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
    /// A rule that affects every request.
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

    /// Only requests with this method: `GET` (includes listings), `PUT`, `HEAD` or `DELETE`.
    pub fn method(mut self, method: &str) -> Self {
        self.method = Some(method.to_owned());
        self
    }

    /// Only requests whose percent-decoded path or query contains `part`.
    pub fn key(mut self, part: &str) -> Self {
        self.key = Some(part.to_owned());
        self
    }

    /// Skips the first `count` matching requests.
    pub fn skip(mut self, count: u64) -> Self {
        self.skip = count;
        self
    }

    /// Stops after `count` faults.
    pub fn times(mut self, count: u64) -> Self {
        self.times = Some(count);
        self
    }

    /// Affects each matching request with this probability, from 0.0 to 1.0.
    pub fn probability(mut self, share: f64) -> Self {
        self.probability = share;
        self
    }

    fn matches(&self, method: &str, target: &str) -> bool {
        self.method.as_deref().is_none_or(|wanted| wanted == method)
            && self.key.as_deref().is_none_or(|part| target.contains(part))
    }

    /// Decides whether the rule affects this matching request.
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

/// Request counters of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests by method.
    pub requests: BTreeMap<String, u64>,
    /// Requests that a rule affected.
    pub faults: u64,
    /// Bytes of request bodies.
    pub bytes_in: u64,
    /// Bytes of response bodies.
    pub bytes_out: u64,
}

impl Counts {
    /// Number of requests with a method.
    pub fn of(&self, method: &str) -> u64 {
        self.requests.get(method).copied().unwrap_or(0)
    }

    /// Number of all requests.
    pub fn total(&self) -> u64 {
        self.requests.values().sum()
    }
}

/// Controls a running server. Clones control the same server.
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
    /// Adds a rule. For each request, the first rule that affects it wins.
    pub fn inject(&self, rule: Rule) {
        self.state.lock().rules.push(rule);
    }

    /// Headers of the last `PUT`, with lower-case names.
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

    /// Delays every response by this much.
    pub fn set_latency(&self, latency: Duration) {
        self.line.set_latency(latency);
    }

    /// Limits the total bandwidth in each direction, in bytes per second; `None` is unlimited.
    pub fn set_bandwidth(&self, bytes_per_second: Option<u64>) {
        self.line.set_bandwidth(bytes_per_second);
    }

    /// The counters so far.
    pub fn counts(&self) -> Counts {
        let mut counts = self.state.lock().counts.clone();
        (counts.bytes_in, counts.bytes_out) = self.line.bytes();
        counts
    }

    /// Resets the counters to zero.
    pub fn reset_counts(&self) {
        self.state.lock().counts = Counts::default();
        self.line.reset_bytes();
    }

    /// Counts a request and picks its fault, if any.
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
