//! Progress: bars on a terminal, periodic lines elsewhere. Also handles signals that stop the work.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use cachefs_store::progress::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle as SignalsHandle, Signals};

use crate::{exit, json_output, output};

/// The signals that stop the work.
const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];
/// Maximum time for the work to stop. A request to a server that hangs would never end.
const PATIENCE: Duration = Duration::from_secs(1);

/// Interval of progress lines without a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Displays the progress of a command until dropped.
pub(crate) struct Display {
    handle: ProgressHandle,
    /// Our signal handler; `None` if the caller handles signals.
    signals: Option<SignalsHandle>,
    actions: Vec<SigId>,
}

/// A handle to a [`Display`], for threads that may outlive the command's deadline.
#[derive(Clone)]
pub(crate) struct ProgressHandle(Arc<ProgressShared>);

/// State shared by the display and its handles.
struct ProgressShared {
    verb: &'static str,
    bar: Option<ProgressBar>,
    files: AtomicU64,
    bytes: AtomicU64,
    total_files: AtomicU64,
    total_bytes: AtomicU64,
    transferred: AtomicU64,
    printed: Mutex<Instant>,
    /// Set by a signal.
    stop: Arc<AtomicBool>,
    /// Set when the deadline has passed.
    late: AtomicBool,
    /// Set when some job knows its total amount of work.
    busy: AtomicBool,
}

impl Display {
    /// Starts the display; `verb` describes the work, for example `saving`.
    ///
    /// From now on SIGINT, SIGTERM and SIGHUP request the work to stop. A second signal ends the
    /// process, and so does the first one if the work does not stop soon. Both are safe, because
    /// partial results are never visible.
    pub(crate) fn start(verb: &'static str) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut actions = Vec::new();
        for signal in SIGNALS {
            let code = exit::INTERRUPTED.into();
            let flag = || Arc::clone(&stop);
            actions.push(signal_hook::flag::register_conditional_shutdown(
                signal,
                code,
                flag(),
            )?);
            actions.push(signal_hook::flag::register(signal, flag())?);
        }
        let mut signals = Signals::new(SIGNALS)?;
        let signals_handle = signals.handle();
        let watch = move || {
            if signals.forever().next().is_some() {
                std::thread::sleep(PATIENCE);
                output::log_text(output::INTERRUPTED);
                json_output::print_end(exit::INTERRUPTED);
                std::process::exit(exit::INTERRUPTED.into());
            }
        };
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(watch)?;
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::no_length();
            let style =
                "{prefix} {bar:24} {percent:>3}%  {bytes}/{total_bytes}  {bytes_per_sec}  {msg}";
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.set_prefix(verb);
            bar
        });
        Ok(Self {
            handle: ProgressHandle(Arc::new(ProgressShared::new(verb, bar, stop))),
            signals: Some(signals_handle),
            actions,
        })
    }

    /// Starts the display for one of several operations of a server, which handles signals itself.
    /// Prints only lines, and nothing requests the work to stop.
    pub(crate) fn of_server(verb: &'static str) -> Self {
        Self {
            handle: ProgressHandle(Arc::new(ProgressShared::new(verb, None, Arc::default()))),
            signals: None,
            actions: Vec::new(),
        }
    }

    /// Ends the display and leaves signals to other handlers: they no longer end the process, which
    /// continues.
    pub(crate) fn release(mut self) {
        if let Some(signals) = self.signals.take() {
            signals.close();
        }
        for action in self.actions.drain(..) {
            signal_hook::low_level::unregister(action);
        }
    }

    /// Adds a job, which is displayed as part of the whole.
    pub(crate) fn job(&self) -> ProgressJob {
        self.handle.job()
    }

    /// A handle for worker threads.
    pub(crate) fn handle(&self) -> ProgressHandle {
        self.handle.clone()
    }
}

impl ProgressHandle {
    /// Adds a job, which is displayed as part of the whole.
    pub(crate) fn job(&self) -> ProgressJob {
        ProgressJob {
            display: Arc::clone(&self.0),
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Requests all jobs to stop because the deadline has passed.
    pub(crate) fn too_late(&self) {
        self.0.late.store(true, Relaxed);
    }

    /// Whether the deadline has passed.
    pub(crate) fn is_late(&self) -> bool {
        self.0.late.load(Relaxed)
    }

    /// Whether any job has started on files: a restore that copies, or a save.
    pub(crate) fn is_busy(&self) -> bool {
        self.0.busy.load(Relaxed)
    }

    /// Prints lines for the user, without interleaving them with the progress bar.
    pub(crate) fn say(&self, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        let text = lines.join("\n");
        match &self.0.bar {
            Some(bar) => bar.suspend(|| output::log_text(&text)),
            None => output::log_text(&text),
        }
    }
}

impl ProgressShared {
    fn new(verb: &'static str, bar: Option<ProgressBar>, stop: Arc<AtomicBool>) -> Self {
        Self {
            verb,
            bar,
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            total_files: AtomicU64::new(0),
            total_bytes: AtomicU64::new(0),
            transferred: AtomicU64::new(0),
            printed: Mutex::new(Instant::now()),
            stop,
            late: AtomicBool::new(false),
            busy: AtomicBool::new(false),
        }
    }

    fn message(&self) -> String {
        let mut text = format!(
            "{}/{} files",
            self.files.load(Relaxed),
            self.total_files.load(Relaxed)
        );
        let transferred = self.transferred.load(Relaxed);
        if transferred > 0 {
            text.push_str(&format!(
                ", {} transferred",
                output::format_bytes(transferred)
            ));
        }
        text
    }

    fn show(&self) {
        if let Some(bar) = &self.bar {
            bar.set_position(self.bytes.load(Relaxed));
            bar.set_message(self.message());
            return;
        }
        let Some(mut printed) = self.printed.try_lock() else {
            return;
        };
        if printed.elapsed() >= LINE_EVERY {
            *printed = Instant::now();
            let (done, total) = (self.bytes.load(Relaxed), self.total_bytes.load(Relaxed));
            output::log_text(&format!(
                "{}: {} of {}, {}",
                self.verb,
                output::format_bytes(done),
                output::format_bytes(total),
                self.message()
            ));
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Some(bar) = &self.handle.0.bar {
            bar.finish_and_clear();
        }
    }
}

/// A job of a [`Display`], which displays the sum of all jobs.
pub(crate) struct ProgressJob {
    display: Arc<ProgressShared>,
    files: AtomicU64,
    bytes: AtomicU64,
}

impl Progress for ProgressJob {
    fn total(&self, files: u64, bytes: u64) {
        // A job may reset its counters; the display has the sum of all jobs.
        let display = &self.display;
        display.busy.store(true, Relaxed);
        replace_part(&display.total_files, &self.files, files);
        replace_part(&display.total_bytes, &self.bytes, bytes);
        if let Some(bar) = &display.bar {
            bar.set_length(display.total_bytes.load(Relaxed));
        }
    }

    fn done(&self, files: u64, bytes: u64) {
        self.display.files.fetch_add(files, Relaxed);
        self.display.bytes.fetch_add(bytes, Relaxed);
        self.display.show();
    }

    fn transferred(&self, bytes: u64) {
        self.display.transferred.fetch_add(bytes, Relaxed);
        self.display.show();
    }

    fn cancelled(&self) -> bool {
        self.display.stop.load(Relaxed) || self.display.late.load(Relaxed)
    }
}

/// Replaces one part of a sum, and updates the sum.
fn replace_part(sum: &AtomicU64, part: &AtomicU64, value: u64) {
    let before = part.swap(value, Relaxed);
    sum.fetch_add(value.wrapping_sub(before), Relaxed);
}
