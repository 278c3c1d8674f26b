//! An end to waiting: no restore and no save ever hangs a job.
//!
//! The work is done on threads of its own. When its time is over it is asked to stop, and if some
//! of it does not (a kernel, a file server or the daemon may not answer at all), it is left behind:
//! nothing that is half done is visible at any moment, and such a thread does nothing more once it
//! finds that it is late.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use cachefs_store::ErrorKind;

use crate::progress::{Display, ProgressHandle};

/// How long the work may take to stop when its time is over.
const GRACE: Duration = Duration::from_secs(5);

/// How much time the work has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit {
    /// From the start.
    pub(super) whole: Duration,
    /// From the start, once files are being read or written.
    pub(super) with_files: Duration,
}

impl Limit {
    /// The longest of all, so that no cache cuts another short.
    pub(super) fn longest(limits: impl IntoIterator<Item = Self>) -> Self {
        let zero = Self {
            whole: Duration::ZERO,
            with_files: Duration::ZERO,
        };
        limits.into_iter().fold(zero, |a, b| Self {
            whole: a.whole.max(b.whole),
            with_files: a.with_files.max(b.with_files),
        })
    }

    /// How much it is by now.
    pub(super) fn now(&self, display: &ProgressHandle) -> Duration {
        if display.is_busy() {
            self.with_files
        } else {
            self.whole
        }
    }
}

/// Whether an error says no more than that the work was asked to stop.
pub(super) fn is_cancellation(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<cachefs::Error>()
        .is_some_and(|error| error.kind() == ErrorKind::Cancelled)
}

/// Message from a working thread.
pub(super) enum WorkMessage<A, T> {
    /// This is all there is to do.
    Planned(Vec<A>),
    /// One piece of work is done.
    Done(usize, T),
    /// All is done, or nothing could be tried.
    Over(anyhow::Result<()>),
}

/// The working thread's end of the channel.
pub(super) type Sender<A, T> = mpsc::Sender<WorkMessage<A, T>>;

/// Runs work within its deadline; returns the result of every piece in the order of the plan.
///
/// `late` creates the result of each piece that was not done in time, and of `unplanned` if there
/// was no plan yet.
///
/// # Errors
///
/// Failures of the work before it has a plan.
pub(super) fn run_within<A: Send + 'static, T: Send + 'static>(
    display: &Display,
    limit: Limit,
    work: impl FnOnce(&ProgressHandle, &Sender<A, T>) -> anyhow::Result<()> + Send + 'static,
    unplanned: impl FnOnce() -> Vec<A>,
    late: impl Fn(A, Duration) -> T,
) -> anyhow::Result<Vec<T>> {
    let handle = display.handle();
    let (sender, messages) = channel();
    let thread = std::thread::Builder::new().name("work".to_owned()).spawn({
        let handle = handle.clone();
        move || {
            let outcome = work(&handle, &sender);
            // The receiver is gone only if this came too late.
            let _ = sender.send(WorkMessage::Over(outcome));
        }
    })?;
    let mut state = DeadlineState {
        plan: None,
        done: Vec::new(),
    };
    let allowed = match state.collect(&messages, limit, &handle)? {
        Some(DeadlineOutcome::InTime) => return Ok(state.finish(|_| None)),
        Some(DeadlineOutcome::Panicked) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => return Ok(state.finish(|_| None)),
        },
        None => limit.now(&handle),
    };
    state.plan.get_or_insert_with(unplanned);
    Ok(state.finish(|about| Some(late(about, allowed))))
}

struct DeadlineState<A, T> {
    plan: Option<Vec<A>>,
    done: Vec<(usize, T)>,
}

enum DeadlineOutcome {
    InTime,
    /// The thread is gone without a word.
    Panicked,
}

impl<A, T> DeadlineState<A, T> {
    /// Receives messages until all work is done; `None` if the time is over before that.
    fn collect(
        &mut self,
        messages: &Receiver<WorkMessage<A, T>>,
        limit: Limit,
        handle: &ProgressHandle,
    ) -> anyhow::Result<Option<DeadlineOutcome>> {
        let started = Instant::now();
        let mut asked_to_stop = None;
        loop {
            let end = match asked_to_stop {
                None => started + limit.now(handle),
                Some(asked) => asked + GRACE,
            };
            match messages.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(WorkMessage::Planned(plan)) => self.plan = Some(plan),
                Ok(WorkMessage::Done(number, result)) => self.done.push((number, result)),
                Ok(WorkMessage::Over(outcome)) => {
                    outcome?;
                    return Ok(Some(DeadlineOutcome::InTime));
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(Some(DeadlineOutcome::Panicked)),
                Err(RecvTimeoutError::Timeout) => {
                    // It may have got to the files meanwhile, which gives it more time.
                    if asked_to_stop.is_none() && started + limit.now(handle) > Instant::now() {
                        continue;
                    }
                    if asked_to_stop.is_some() {
                        return Ok(None);
                    }
                    handle.too_late();
                    asked_to_stop = Some(Instant::now());
                }
            }
        }
    }

    /// The results, in the order of the plan, with `absent` for those that are missing.
    fn finish(mut self, absent: impl Fn(A) -> Option<T>) -> Vec<T> {
        let mut results = Vec::new();
        for (number, about) in self.plan.unwrap_or_default().into_iter().enumerate() {
            let done = self.done.iter().position(|(done, _)| *done == number);
            match done {
                Some(at) => results.push(self.done.swap_remove(at).1),
                None => results.extend(absent(about)),
            }
        }
        results
    }
}
