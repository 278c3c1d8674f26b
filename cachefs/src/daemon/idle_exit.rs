//! When a daemon may end.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Time for open requests to finish after a request to stop, whose own response is one of them.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Longest time that a client waits for a publication.
const SETTLE: Duration = Duration::from_secs(10);

/// Why a worker ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The daemon does.
    Daemon,
    /// Another program takes over.
    Upgrade,
}

/// Counts the activities that keep the daemon alive.
#[derive(Debug, Default)]
pub(super) struct Activity {
    state: Mutex<ActivityCounts>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct ActivityCounts {
    connections: usize,
    views: usize,
    publishing: usize,
    end: Option<End>,
    /// The process is about to exit: work that starts now would be cut off.
    is_over: bool,
    /// Time at which the last activity ended.
    idle_since: Option<Instant>,
}

impl Activity {
    fn change(&self, change: impl FnOnce(&mut ActivityCounts)) {
        let mut counts = self.state.lock();
        change(&mut counts);
        let busy = counts.connections + counts.views + counts.publishing > 0;
        counts.idle_since = if busy { None } else { Some(Instant::now()) };
        self.changed.notify_all();
    }

    /// Counts a client that has just come; false when it is too late for it.
    pub(super) fn came(&self) -> bool {
        let mut is_welcome = false;
        self.change(|counts| {
            is_welcome = !counts.is_over;
            counts.connections += usize::from(is_welcome);
        });
        is_welcome
    }

    pub(super) fn connected(&self) {
        self.change(|counts| counts.connections += 1);
    }

    pub(super) fn disconnected(&self) {
        self.change(|counts| counts.connections -= 1);
    }

    pub(super) fn view_opened(&self) {
        self.change(|counts| counts.views += 1);
    }

    pub(super) fn view_closed(&self) {
        self.change(|counts| counts.views -= 1);
    }

    /// The reads of a view are about to be published.
    pub(super) fn publishing(&self) {
        self.change(|counts| counts.publishing += 1);
    }

    pub(super) fn published(&self) {
        self.change(|counts| counts.publishing -= 1);
    }

    /// Returns when no view is ending, as `is_one_ending` says, and nothing is being published; or
    /// soon: nobody should wait long for advice.
    pub(super) fn wait_until_settled(&self, is_one_ending: impl Fn() -> bool) {
        let deadline = Instant::now() + SETTLE;
        let mut counts = self.state.lock();
        while (counts.publishing > 0 || is_one_ending())
            && !self.changed.wait_until(&mut counts, deadline).timed_out()
        {}
    }

    pub(super) fn end(&self, end: End) {
        self.change(|counts| counts.end = Some(end));
    }

    /// Returns when the worker is asked to stop, or has been idle for `limit`.
    pub(super) fn wait_until_done(&self, limit: Duration) -> End {
        let mut counts = self.state.lock();
        // A client may have come before anybody waits here.
        if counts.connections + counts.views + counts.publishing == 0 {
            counts.idle_since.get_or_insert_with(Instant::now);
        }
        let end = loop {
            if let Some(end) = counts.end {
                break end;
            }
            match counts
                .idle_since
                .map(|since| limit.saturating_sub(since.elapsed()))
            {
                Some(Duration::ZERO) => break End::Daemon,
                Some(left) => {
                    self.changed.wait_for(&mut counts, left);
                }
                None => self.changed.wait(&mut counts),
            }
        };
        let deadline = Instant::now() + LAST_WORDS;
        while counts.connections > 0 && !self.changed.wait_until(&mut counts, deadline).timed_out()
        {
        }
        counts.is_over = true;
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_may_end_before_the_daemon_does() {
        let activity = Activity::default();
        activity.connected();
        std::thread::scope(|scope| {
            activity.end(End::Daemon);
            let waiting = scope.spawn(|| activity.wait_until_done(Duration::from_secs(60)));
            std::thread::sleep(Duration::from_millis(50));
            assert!(!waiting.is_finished());
            activity.disconnected();
            assert!(waiting.join().is_ok());
        });
    }

    #[test]
    fn who_comes_too_late_is_not_let_in() {
        let activity = Activity::default();
        assert!(activity.came());
        activity.disconnected();
        assert_eq!(activity.wait_until_done(Duration::ZERO), End::Daemon);
        assert!(!activity.came());
    }

    #[test]
    fn a_view_keeps_the_daemon() {
        let activity = Activity::default();
        activity.view_opened();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| activity.wait_until_done(Duration::from_millis(10)));
            std::thread::sleep(Duration::from_millis(60));
            assert!(!waiting.is_finished());
            activity.view_closed();
            assert!(waiting.join().is_ok());
        });
    }
}
