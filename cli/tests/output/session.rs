//! Shell sessions on separate machines, recorded as snapshots.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use cachefs_tests::harness::{Cachefs, Output};

use crate::redact::{self, Redactions};

/// The command under test, as cargo built it for this test.
pub(crate) const CACHEFS: &str = env!("CARGO_BIN_EXE_cachefs");

/// A machine with an empty store, an empty `file://` remote and an empty working directory.
pub(crate) struct Session {
    machine: Cachefs,
    path: String,
    env: Vec<(&'static str, String)>,
}

impl Session {
    pub(crate) fn new() -> Self {
        let bin = Path::new(CACHEFS).parent().unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        Self {
            machine: Cachefs::of_binary(CACHEFS).unwrap(),
            path: format!("{}:{path}", bin.display()),
            env: Vec::new(),
        }
    }

    /// A session that may mount; skips with `None` without root or `/dev/fuse`.
    pub(crate) fn that_mounts() -> Option<Self> {
        let can = rustix::process::geteuid().is_root() && Path::new("/dev/fuse").exists();
        if !can {
            cachefs_skip::skip("mount", "mounting needs root and /dev/fuse");
        }
        can.then(Self::new)
    }

    /// Sets a variable for every line of the session.
    pub(crate) fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    /// The working directory of the session.
    pub(crate) fn work(&self) -> PathBuf {
        self.machine.work()
    }

    /// Runs shell lines without recording their output; each must succeed.
    pub(crate) fn prepare(&self, script: &str) {
        for line in lines(script) {
            self.run(line).success();
        }
    }

    /// Runs shell lines, and compares the lines and their output with a snapshot.
    #[track_caller]
    pub(crate) fn record(&self, name: &str, script: &str) {
        let redactions = Redactions::of(&self.machine);
        let mut transcript = String::new();
        for line in lines(script) {
            transcribe(&mut transcript, line, &self.run(line), &redactions);
        }
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, transcript.trim_end());
        });
    }

    fn run(&self, line: &str) -> Output {
        let shell = self.machine.command(["-c", line]).with_program("/bin/sh");
        let shell = shell.env("PATH", &self.path);
        let env = self.env.iter();
        env.fold(shell, |shell, (name, value)| shell.env(name, value))
            .run()
    }
}

/// The lines of a script, without indentation or empty lines.
fn lines(script: &str) -> impl Iterator<Item = &str> {
    script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
}

/// Appends a shell line and its output: stdout as is, stderr after `2>`.
fn transcribe(transcript: &mut String, line: &str, output: &Output, redactions: &Redactions) {
    writeln!(transcript, "$ {line}").unwrap();
    let stdout = output.stdout();
    match serde_json::from_str(&stdout) {
        Ok(object @ serde_json::Value::Object(_)) => {
            transcript.push_str(&redact::object(object, redactions));
        }
        _ => transcript.push_str(&redactions.text(&stdout)),
    }
    for line in redactions.text(&output.stderr()).lines() {
        writeln!(transcript, "{}", format!("2> {line}").trim_end()).unwrap();
    }
    match output.code() {
        Some(0) => {}
        Some(code) => writeln!(transcript, "[exit code {code}]").unwrap(),
        None => writeln!(transcript, "[killed by a signal]").unwrap(),
    }
    transcript.push('\n');
}
