//! Hit rates: replays a job history against key schemes and retention policies.
//!
//! Nothing is executed. The history lists the needs of each job, the schemes decide which cache it
//! finds, and the policies decide how much data moves. Every assumption is an option and appears in
//! the report.

mod caches;
mod cost_account;
mod directories;
mod git;
mod history;
mod lock;
mod recorded_runs;
mod synthetic;

use std::fs;
use std::path::PathBuf;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};

use crate::common::Output;
use crate::machine::Machine;
use crate::measure::Unit;
use crate::report::{BenchReport, ReportSection, Table};
use caches::{Caches, Match, Scheme};
use cost_account::{Account, Assumptions, RetentionPolicy};
use history::{History, HistoryJob, MAIN};
use lock::PackageModel;
use synthetic::Drift;

/// The history to replay, and the output files.
#[derive(Debug, clap::Args)]
pub(crate) struct HitRateOptions {
    #[command(flatten)]
    replay: Replay,
    #[command(flatten)]
    output: Output,
}

/// The history to replay. Without any of these options, the history is synthetic.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Replay {
    /// A git repository whose commits are the jobs
    #[arg(long, value_name = "DIR", requires = "lock_path")]
    git: Option<PathBuf>,
    /// With --git: a lock file, relative to the repository (repeatable)
    #[arg(long, value_name = "PATH", requires = "git")]
    lock_path: Vec<String>,
    /// A state of a cached directory; repeat the option for each job, oldest first
    #[arg(long, value_name = "DIR", conflicts_with_all = ["git", "lock"])]
    dir: Vec<PathBuf>,
    /// A state of a lock file; repeat the option for each job, oldest first
    #[arg(long, value_name = "FILE", conflicts_with = "git")]
    lock: Vec<PathBuf>,
    /// Instead of a history: files with the `--format json` output of `cachefs restore` and
    /// `cachefs stats` (repeatable)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["git", "lock", "dir"])]
    recorded: Vec<PathBuf>,
    #[command(flatten)]
    drift: Drift,
    #[command(flatten)]
    model: PackageModel,
    #[command(flatten)]
    assumed: Assumptions,
}

/// Replays the history and prints the report to stdout.
pub(crate) fn run_hit_rate(options: &HitRateOptions) -> Result<()> {
    let section = measure_hit_rate(&options.replay)?;
    let machine = Machine::inspect(Vec::new(), Vec::new())?;
    options
        .output
        .write(&BenchReport::new(machine, vec![section]))
}

/// Replays the history that the options select.
pub(crate) fn measure_hit_rate(options: &Replay) -> Result<ReportSection> {
    let assumed = &options.assumed;
    if !options.recorded.is_empty() {
        return recorded_runs::sum_up(&options.recorded, assumed);
    }
    ensure!(
        assumed.jobs_per_day > 0.0,
        "--jobs-per-day must be more than 0"
    );
    let gap = 86_400.0 / assumed.jobs_per_day;
    let history = if let Some(repository) = &options.git {
        git::read_repository(repository, &options.lock_path, &options.model)?
    } else if !options.dir.is_empty() {
        directories::read_directories(&options.dir, gap)?
    } else if !options.lock.is_empty() {
        lock_files(&options.lock, &options.model, gap)?
    } else {
        synthetic::make_history(&options.drift, &options.model, gap)
    };
    Ok(replay_all(&history, assumed))
}

fn lock_files(files: &[PathBuf], model: &PackageModel, gap: f64) -> Result<History> {
    let mut jobs = Vec::new();
    for (position, path) in files.iter().enumerate() {
        let text = fs::read(path).with_context(|| format!("could not read {}", path.display()))?;
        jobs.push(HistoryJob {
            time: gap * position as f64,
            branch: MAIN.into(),
            state: Rc::new(model.state(&text)),
        });
    }
    let facts = vec![
        (
            "history",
            format!("{} lock files, one job for each", files.len()),
        ),
        ("packages", model.describe()),
    ];
    Ok(History {
        jobs,
        facts,
        real_times: false,
    })
}

fn replay_all(history: &History, assumed: &Assumptions) -> ReportSection {
    let mut section = ReportSection::new("hit rate of a history");
    for (name, value) in &history.facts {
        section.fact(name, value);
    }
    if !history.real_times {
        section.fact("times", format!("{} jobs a day", assumed.jobs_per_day));
    }
    for (name, value) in assumed.describe() {
        section.fact(name, value);
    }
    let columns = [
        ("jobs", Unit::Count),
        ("exact", Unit::Share),
        ("prefix", Unit::Share),
        ("miss", Unit::Share),
        ("bytes hit", Unit::Share),
        ("files hit", Unit::Share),
        ("down", Unit::Bytes),
        ("up", Unit::Bytes),
        ("requests", Unit::Count),
        ("wait per job", Unit::Seconds),
        ("kept", Unit::Bytes),
        ("cost a month", Unit::Dollars),
    ];
    let mut table = Table::new("by scheme of keys and way to keep caches", &columns);
    let span = history_span(history, assumed);
    for scheme in Scheme::ALL {
        for policy in RetentionPolicy::ALL {
            let account = replay_history(history, scheme, policy, assumed);
            let share = |part: f64, whole: f64| (whole > 0.0).then(|| part / whole);
            table.line(
                format!("{}, {}", scheme.name(), policy.name()),
                [
                    Some(account.jobs),
                    share(account.exact, account.jobs),
                    share(account.prefix, account.jobs),
                    share(account.miss, account.jobs),
                    share(account.restored, account.needed),
                    share(account.restored_files, account.needed_files),
                    Some(account.down),
                    Some(account.up),
                    Some(account.reads + account.writes),
                    share(account.seconds, account.jobs),
                    Some(account.kept / span),
                    Some(account.dollars(assumed, span)),
                ],
            );
        }
    }
    section.tables.push(table);
    section.notes.push(
        "\"Kept\" is what the remote has on average. A job that finds its exact key saves nothing. \
         A cache is taken to hold what its job needed and nothing older; real archives that grow from \
         prefix to prefix are larger."
            .to_owned(),
    );
    section
}

/// The time span of the history in seconds; at least the time for one job.
fn history_span(history: &History, assumed: &Assumptions) -> f64 {
    let gap = 86_400.0 / assumed.jobs_per_day;
    match (history.jobs.first(), history.jobs.last()) {
        (Some(first), Some(last)) => (last.time - first.time + gap).max(gap),
        _ => gap,
    }
}

/// Runs each job against the caches that earlier jobs left.
fn replay_history(
    history: &History,
    scheme: Scheme,
    policy: RetentionPolicy,
    assumed: &Assumptions,
) -> Account {
    let mut account = Account::default();
    let mut caches = Caches::new(scheme, assumed.keep_days * 86_400.0);
    let mut lives = Vec::new();
    for job in &history.jobs {
        lives.extend(caches.expire(job.time));
        let (matched, found) = caches.find(job);
        let state = found.as_ref().map(|found| &*found.state);
        account.restore(policy, assumed, (matched, state), &job.state);
        if matched != Match::Exact {
            account.save(policy, assumed, state, &job.state);
            caches.save(job, found.as_deref());
        }
    }
    lives.extend(caches.end());
    account.keep(policy, &lives);
    account
}

#[cfg(test)]
mod tests {
    use super::cost_account::testing::assumed;
    use super::history::testing::job;
    use super::*;

    #[test]
    fn a_small_history_gives_what_a_hand_gives() {
        let jobs = vec![
            job(0.0, MAIN, &[1, 2]),
            job(0.1, MAIN, &[1, 2]),
            job(0.2, MAIN, &[2, 3]),
            // The first cache is removed a day after its last use, before this job. With prefixes,
            // the previous job used it and so extended its life.
            job(1.15, MAIN, &[1, 2]),
        ];
        let history = History {
            jobs,
            ..History::default()
        };
        let exact = replay_history(
            &history,
            Scheme::Exact,
            RetentionPolicy::Archive,
            &assumed(),
        );
        assert_eq!((exact.exact, exact.prefix, exact.miss), (1.0, 0.0, 3.0));
        assert_eq!((exact.restored, exact.needed), (200.0, 800.0));
        // One archive is downloaded and three are uploaded: 2 pieces of 50 bytes each.
        assert_eq!((exact.down, exact.up), (100.0, 300.0));

        let prefix = replay_history(
            &history,
            Scheme::Prefix,
            RetentionPolicy::Archive,
            &assumed(),
        );
        assert_eq!((prefix.exact, prefix.prefix, prefix.miss), (2.0, 1.0, 1.0));
        // The exact hits restore 200 bytes each, the prefix hit one piece of 100.
        assert_eq!(prefix.restored, 500.0);
        assert_eq!((prefix.down, prefix.up), (300.0, 200.0));

        let layers = replay_history(
            &history,
            Scheme::Prefix,
            RetentionPolicy::Layers,
            &assumed(),
        );
        assert_eq!(layers.restored, prefix.restored);
        // Three indexes of 2 files with 10 bytes each; half of 2, 1 and 2 pieces.
        assert_eq!(layers.down, 3.0 * 20.0 + 50.0 + 25.0 + 50.0);
        // Everything at first, then one piece; the indexes have 2 files and 1 file.
        assert_eq!(layers.up, 100.0 + 20.0 + 50.0 + 10.0);
    }

    #[test]
    fn the_report_says_what_is_assumed() {
        let model = PackageModel::for_tests();
        let history = lock_files(&[], &model, 1.0).unwrap();
        let section = replay_all(&history, &assumed());
        assert_eq!(section.tables[0].lines.len(), 6);
        let facts: String = section.facts.iter().map(|fact| &*fact.value).collect();
        for stated in [
            "1000 bytes in 3 files",
            "1000 ms",
            "reads 0.5",
            "$1 for 1000 writes",
        ] {
            assert!(facts.contains(stated), "{stated} is not in {facts}");
        }
    }
}
