//! Growth of costs with files, bytes, layers, refs, and concurrent jobs on one machine.
//!
//! One dimension grows at a time while the others stay small. The trees are generated, so you can
//! reproduce them on any machine.

pub(crate) mod trees;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::common::{CommonArgs, Output, Setup, print_step};
use crate::interrupt;
use crate::recorder::{Quantity, RowRecorder};
use crate::remote::RemotePrefix;
use crate::report::{BenchReport, ReportSection};
use crate::tools::cachefs::{RestoreForm, Store};
use crate::work::read;
use crate::workspace;
use trees::Shape;

const MOUNTED: Quantity = Quantity::seconds("restore until mounted, daemon running");
const FIRST: Quantity = Quantity::seconds("first byte of a file after that");
const SAVE: Quantity = Quantity::seconds("save of everything");
const SAVE_ONE: Quantity = Quantity::seconds("save of one changed file, through the mount");
const MEMORY: Quantity = Quantity::bytes("memory of the daemon, peak, after restore and save");
const JOBS: Quantity = Quantity::seconds("restores at the same time, until the last is mounted");
const ORDER: [Quantity; 6] = [MOUNTED, FIRST, SAVE, SAVE_ONE, MEMORY, JOBS];

/// Files of the smallest tree, and of all trees while another dimension grows.
const SMALL: u64 = 1_000;
/// Bytes per file, unless the bytes grow.
const BYTES: usize = 4_000;
/// The key that is restored.
const KEY: &str = "scale";

/// The dimensions to grow.
#[derive(Debug, clap::Args)]
pub(crate) struct ScaleOptions {
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    output: Output,
}

/// The sizes to measure for each dimension.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Limits {
    /// File counts of the trees
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [SMALL, 64_000])]
    files: Vec<u64>,
    /// Also measure a tree of a million files, which takes minutes and 4 GB
    #[arg(long)]
    million: bool,
    /// Sizes of the trees of 1000 files, in megabytes
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [4, 400])]
    megabytes: Vec<u64>,
    /// Numbers of consecutive saves, each on top of the previous one
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [1, 30])]
    layers: Vec<u64>,
    /// Numbers of keys with the same prefix in the remote
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [1, 1000])]
    refs: Vec<u64>,
    /// Numbers of concurrent jobs
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [1, 8])]
    concurrent: Vec<usize>,
}

/// Runs the benchmark and prints the report to stdout.
pub(crate) fn run_scale(options: &ScaleOptions) -> Result<()> {
    let setup = Setup::open(&options.common)?;
    let machine = setup.machine(Vec::new())?;
    let section = measure_scale(&setup, &options.limits)?;
    options
        .output
        .write(&BenchReport::new(machine, vec![section]))
}

/// Grows one dimension after the other.
pub(crate) fn measure_scale(setup: &Setup, limits: &Limits) -> Result<ReportSection> {
    let mut recorder = RowRecorder::new(&ORDER);
    let mut scale = Scale {
        setup,
        recorder: &mut recorder,
        tree: setup.workspace.path().join("tree"),
    };
    let mut files = limits.files.clone();
    files.extend(limits.million.then_some(1_000_000));
    for files in files {
        let shape = tree_shape(files, BYTES);
        scale.grown(&format!("files: {files}"), shape, 1, 1)?;
    }
    for &megabytes in &limits.megabytes {
        let bytes = megabytes * 1_000_000 / SMALL;
        let shape = tree_shape(SMALL, usize::try_from(bytes)?);
        scale.grown(&format!("megabytes: {megabytes}"), shape, 1, 1)?;
    }
    for &layers in &limits.layers {
        scale.grown(
            &format!("saves: {layers}"),
            tree_shape(SMALL, BYTES),
            layers,
            1,
        )?;
    }
    for &refs in &limits.refs {
        scale.grown(&format!("keys: {refs}"), tree_shape(SMALL, BYTES), 1, refs)?;
    }
    for &jobs in &limits.concurrent {
        scale.jobs(jobs)?;
    }
    let mut section = setup.section("how costs grow");
    section.fact(
        "trees",
        format!(
            "made of words, {SMALL} files of {BYTES} bytes unless said otherwise, 40 in a directory; \
             with many saves, each changes one file and saves through a mount"
        ),
    );
    recorder.finish(&mut section);
    Ok(section)
}

fn tree_shape(files: u64, bytes: usize) -> Shape {
    Shape {
        files,
        bytes,
        seed: 1,
    }
}

struct Scale<'a> {
    setup: &'a Setup,
    recorder: &'a mut RowRecorder,
    tree: PathBuf,
}

impl Scale<'_> {
    /// Measures a tree that was saved `saves` times, in a remote with `keys` keys.
    fn grown(&mut self, label: &str, shape: Shape, saves: u64, keys: u64) -> Result<()> {
        self.make(shape)?;
        let place = self.setup.target.place("scale")?;
        // More saves or keys do not change the first save, so measure it only once.
        let saved_once = saves == 1 && keys == 1;
        for number in (0..self.setup.runs).filter(|_| saved_once) {
            print_step(&format!("{label}: save"))?;
            // A second save would find its data in the remote, so each run saves to its own prefix.
            let other = self.setup.target.place(&format!("scale-save-{number}"))?;
            let store = self.store(&other, "saver")?;
            let saved = store.save(KEY, &self.tree)?;
            self.recorder.time(SAVE, label, saved.finished.wall);
            store.close()?;
        }
        print_step(&format!("{label}: prepare"))?;
        let layers = self.prepare(&place, shape, saves, keys)?;
        for _ in 0..self.setup.runs {
            print_step(&format!("{label}: restore, read one file, save one"))?;
            self.restore(label, shape, &place)?;
        }
        if saves > 1 {
            self.recorder.note(format!(
                "{label}: a stack of {layers} layers, as deep ones are squashed"
            ));
        }
        Ok(())
    }

    /// Saves the cache to restore; returns its number of layers.
    fn prepare(
        &self,
        place: &RemotePrefix<'_>,
        shape: Shape,
        saves: u64,
        keys: u64,
    ) -> Result<u64> {
        let mut store = self.store(place, "prepare")?;
        for key in 1..keys {
            interrupt::check_interrupt()?;
            store.save(&format!("{KEY}-{key}"), &self.tree)?;
        }
        let mut layers = store.save(&scale_key(1), &self.tree)?.answer.layers;
        for number in 2..=saves {
            interrupt::check_interrupt()?;
            let path = self.setup.workspace.fresh("layered")?;
            store.restore(&scale_key(number - 1), &path, RestoreForm::Mount)?;
            change_file(shape, &path, number)?;
            layers = store.save(&scale_key(number), &path)?.answer.layers;
            store.unmount(&path)?;
        }
        // The last save uses the key that the restores look for.
        if saves > 1 {
            let path = self.setup.workspace.fresh("layered")?;
            store.restore(&scale_key(saves), &path, RestoreForm::Mount)?;
            change_file(shape, &path, saves + 1)?;
            layers = store.save(KEY, &path)?.answer.layers;
            store.unmount(&path)?;
        } else {
            store.save(KEY, &self.tree)?;
        }
        store.close()?;
        Ok(layers)
    }

    /// Restores with a new store and a daemon that has mounted another cache, then saves a change.
    fn restore(&mut self, label: &str, shape: Shape, place: &RemotePrefix<'_>) -> Result<()> {
        let mut store = self.warm(place)?;
        let path = self.setup.workspace.fresh("mounted")?;
        let restored = store.restore(KEY, &path, RestoreForm::Mount)?;
        let file = read::read_file(&path.join(shape.path(shape.files / 2)))?;
        change_file(shape, &path, 0)?;
        let saved = store.save("scale-changed", &path)?;
        self.recorder.time(MOUNTED, label, restored.finished.wall);
        self.recorder.time(FIRST, label, file);
        self.recorder.time(SAVE_ONE, label, saved.finished.wall);
        if let Some(memory) = store.daemon_memory()? {
            self.recorder.bytes(MEMORY, label, memory);
        }
        store.close()
    }

    /// Restores the same cache to `jobs` paths concurrently.
    fn jobs(&mut self, jobs: usize) -> Result<()> {
        ensure!(jobs > 0, "no job at all takes no time");
        self.make(tree_shape(SMALL, BYTES))?;
        let place = self.setup.target.place("scale-jobs")?;
        let saver = self.store(&place, "saver")?;
        saver.save(KEY, &self.tree)?;
        saver.close()?;
        let label = format!("jobs: {jobs}");
        for _ in 0..self.setup.runs {
            print_step(&format!("{label}: restore"))?;
            let mut store = self.warm(&place)?;
            let mut paths = Vec::new();
            for number in 0..jobs {
                paths.push(self.setup.workspace.fresh(&format!("job-{number}"))?);
            }
            let wall = at_once(&mut store, &paths)?;
            self.recorder.time(JOBS, &label, wall);
            store.close()?;
        }
        Ok(())
    }

    /// A store with a daemon that has connected to the remote but has no data of the cache.
    fn warm(&self, place: &RemotePrefix<'_>) -> Result<Store> {
        let tiny = self.setup.workspace.fresh("tiny")?;
        std::fs::write(tiny.join("file"), "tiny")?;
        let saver = self.store(place, "tiny")?;
        saver.save("tiny", &tiny)?;
        saver.close()?;
        let mut store = self.store(place, "warm")?;
        store.restore(
            "tiny",
            &self.setup.workspace.fresh("mounted-tiny")?,
            RestoreForm::Mount,
        )?;
        Ok(store)
    }

    fn store(&self, place: &RemotePrefix<'_>, name: &str) -> Result<Store> {
        self.setup.store(&place.cachefs(&self.setup.program), name)
    }

    fn make(&self, shape: Shape) -> Result<()> {
        workspace::remove_directory(&self.tree)?;
        std::fs::create_dir(&self.tree)?;
        shape.write(&self.tree)
    }
}

fn scale_key(number: u64) -> String {
    format!("saves-{number}")
}

/// Gives one file of a tree content that it never had before.
fn change_file(shape: Shape, root: &Path, number: u64) -> Result<()> {
    let file = (number * 7_919) % shape.files;
    let changed = Shape {
        seed: number + 2,
        ..shape
    };
    changed.write_file(&root.join(shape.path(file)), file)
}

/// Restores to all paths at once, with one thread per path.
fn at_once(store: &mut Store, paths: &[PathBuf]) -> Result<Duration> {
    store.expect_mounts(paths);
    let store = &*store;
    let start = Instant::now();
    let results: Vec<Result<()>> = thread::scope(|scope| {
        let paths = paths.iter();
        let running: Vec<_> = paths
            .map(|path| scope.spawn(move || store.restore_expected(KEY, path).map(drop)))
            .collect();
        let ended = running.into_iter().map(|job| job.join());
        let ended = ended.map(|job| job.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        ended.collect()
    });
    let wall = start.elapsed();
    let all: Result<()> = results.into_iter().collect();
    all.context("a job failed")?;
    Ok(wall)
}
