//! fio on a mount: fio verifies its own writes, first on the mount, then on a second machine that
//! restored the saved cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::common::{CommonArgs, Output, Setup, print_step};
use crate::measure::Unit;
use crate::recorder::{Quantity, RowRecorder};
use crate::report::{BenchReport, ReportSection};
use crate::scale::trees::Shape;
use crate::tools::cachefs::RestoreForm;
use crate::tools::child::{self, OnSignal};

const WRITE: Quantity = Quantity::seconds("write, and verify in the same mount");
const SAVE: Quantity = Quantity::seconds("save");
const VERIFY: Quantity = Quantity::seconds("restore elsewhere, and verify there");
const ORDER: [Quantity; 3] = [WRITE, SAVE, VERIFY];

/// A file that is already in the cache. fio overwrites it in place, which causes a copy-up in each
/// run.
const COPIED_UP: &str = "copied-up";

/// Write patterns as name and fio options; each writes a file of its own.
const PATTERNS: [(&str, &[&str]); 3] = [
    ("in-order", &["--rw=write", "--bs=128k"]),
    ("anywhere", &["--rw=randwrite", "--bs=4k"]),
    (
        COPIED_UP,
        &["--rw=randwrite", "--bsrange=1k-64k", "--blockalign=1k"],
    ),
];

/// How much fio writes, and where.
#[derive(Debug, clap::Args)]
pub(crate) struct FioOptions {
    /// Size of each of the three files, in megabytes
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    megabytes: u32,
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    output: Output,
}

/// Runs fio and prints the report to stdout. Any byte that fails verification is an error.
pub(crate) fn run_fio_bench(options: &FioOptions) -> Result<()> {
    let version = child::run_child(Command::new("fio").arg("--version"), OnSignal::End)
        .context("fio does not run; it is a package of most distributions")?;
    let setup = Setup::open(&options.common)?;
    let machine = setup.machine(vec![version.stdout.trim().to_owned()])?;
    let section = measure_fio(&setup, options.megabytes)?;
    options
        .output
        .write(&BenchReport::new(machine, vec![section]))
}

fn measure_fio(setup: &Setup, megabytes: u32) -> Result<ReportSection> {
    let mut recorder = RowRecorder::new(&ORDER);
    for run in 0..setup.runs {
        let place = setup.target.place(&format!("fio-{run}"))?;
        let cachefs = place.cachefs(&setup.program);
        let mut store = setup.store(&cachefs, "here")?;
        print_step("make a cache")?;
        let dir = setup.workspace.fresh("base")?;
        let shape = Shape {
            files: 1,
            bytes: megabytes as usize * 1_000_000,
            seed: 1,
        };
        shape.write_file(&dir.join(COPIED_UP), 0)?;
        store.save("fio", &dir)?;
        let mount = setup.workspace.fresh("mount")?;
        store.restore("fio", &mount, RestoreForm::Mount)?;
        for (name, pattern) in PATTERNS {
            print_step(&format!("write and verify: {name}"))?;
            let wrote = run_fio(&mount, setup, name, pattern, megabytes, Task::Write)?;
            recorder.time(WRITE, name, wrote);
        }
        print_step("save")?;
        let saved = store.save("fio", &mount)?;
        recorder.time(SAVE, "cachefs", saved.finished.wall);
        store.close()?;

        let mut elsewhere = setup.store(&cachefs, "elsewhere")?;
        let mount = setup.workspace.fresh("mount")?;
        elsewhere.restore("fio", &mount, RestoreForm::Mount)?;
        for (name, pattern) in PATTERNS {
            print_step(&format!("verify elsewhere: {name}"))?;
            let verified = run_fio(&mount, setup, name, pattern, megabytes, Task::Verify)?;
            recorder.time(VERIFY, name, verified);
        }
        elsewhere.close()?;
    }
    let mut section = setup.section("fio, verifying");
    let size = Unit::Bytes.show(f64::from(megabytes) * 1e6);
    section.fact("files", format!("{} of {size}", PATTERNS.len()));
    section.fact("errors", "0: the first would have ended this");
    recorder.finish(&mut section);
    Ok(section)
}

/// The fio job for one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    /// Write the file, then read it back and verify it.
    Write,
    /// Verify a file that was written with the same options.
    Verify,
}

fn run_fio(
    mount: &Path,
    setup: &Setup,
    name: &str,
    pattern: &[&str],
    megabytes: u32,
    task: Task,
) -> Result<std::time::Duration> {
    let mut file = std::ffi::OsString::from("--filename=");
    file.push(PathBuf::from(mount).join(name));
    let mut command = Command::new("fio");
    command
        .arg(format!("--name={name}"))
        .arg(file)
        .arg(format!("--size={megabytes}MB"))
        .args(pattern)
        // `--invalidate` drops the file from the page cache, so that the verification reads the
        // mount.
        .args(["--verify=xxhash", "--verify_fatal=1", "--invalidate=1"])
        .args(["--do_verify=1", "--verify_state_save=0", "--end_fsync=1"])
        .args(["--randseed=7", "--kb_base=1000", "--output-format=terse"])
        // fio leaves state files in its working directory.
        .current_dir(setup.workspace.path());
    if task == Task::Verify {
        command.arg("--verify_only");
    }
    let finished = child::run_child(&mut command, OnSignal::End);
    let place = match task {
        Task::Write => "where it was written",
        Task::Verify => "where it was restored",
    };
    Ok(finished
        .with_context(|| format!("{name} is wrong {place}"))?
        .wall)
}
