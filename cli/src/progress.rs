//! Progress: bars on a terminal, a line now and then elsewhere; and the signals that end the work.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use cachefs_store::save::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::{exit, output};

/// The signals that ask the work to stop.
const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];
/// How long the work may take to stop. A request to a server that hangs never would.
const PATIENCE: Duration = Duration::from_secs(1);

/// Without a terminal, a line is printed this often.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows how far a command is.
pub(crate) struct Display {
    verb: &'static str,
    bar: Option<ProgressBar>,
    files: AtomicU64,
    bytes: AtomicU64,
    total_files: AtomicU64,
    total_bytes: AtomicU64,
    transferred: AtomicU64,
    printed: Mutex<Instant>,
    stop: Arc<AtomicBool>,
}

impl Display {
    /// Starts; `verb` says what is being done, as in `saving`.
    ///
    /// From now on SIGINT, SIGTERM and SIGHUP ask the work to stop. A second one ends the process,
    /// as does the first when the work does not stop soon: what is half done at any moment is
    /// never visible.
    pub(crate) fn start(verb: &'static str) -> anyhow::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in SIGNALS {
            let code = exit::INTERRUPTED.into();
            signal_hook::flag::register_conditional_shutdown(signal, code, Arc::clone(&stop))?;
            signal_hook::flag::register(signal, Arc::clone(&stop))?;
        }
        let mut signals = Signals::new(SIGNALS)?;
        let watch = move || {
            if signals.forever().next().is_some() {
                std::thread::sleep(PATIENCE);
                output::say(output::INTERRUPTED);
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
            verb,
            bar,
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            total_files: AtomicU64::new(0),
            total_bytes: AtomicU64::new(0),
            transferred: AtomicU64::new(0),
            printed: Mutex::new(Instant::now()),
            stop,
        })
    }

    /// One piece of the work, to be shown as part of the whole.
    pub(crate) fn job(&self) -> Job<'_> {
        Job {
            display: self,
            files: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    /// Prints lines for people, together and without harm to the bar.
    pub(crate) fn say(&self, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        let text = lines.join("\n");
        match &self.bar {
            Some(bar) => bar.suspend(|| output::say(&text)),
            None => output::say(&text),
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
            text.push_str(&format!(", {} transferred", output::bytes(transferred)));
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
            output::say(&format!(
                "{}: {} of {}, {}",
                self.verb,
                output::bytes(done),
                output::bytes(total),
                self.message()
            ));
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// One of the pieces of work that a [`Display`] shows as one.
pub(crate) struct Job<'a> {
    display: &'a Display,
    files: AtomicU64,
    bytes: AtomicU64,
}

impl Progress for Job<'_> {
    fn total(&self, files: u64, bytes: u64) {
        // A piece may count itself anew; the display shows the sum of all.
        let display = self.display;
        replace(&display.total_files, &self.files, files);
        replace(&display.total_bytes, &self.bytes, bytes);
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
        self.display.stop.load(Relaxed)
    }
}

/// Sets a part of a sum, and the sum with it.
fn replace(sum: &AtomicU64, part: &AtomicU64, value: u64) {
    let before = part.swap(value, Relaxed);
    sum.fetch_add(value.wrapping_sub(before), Relaxed);
}
