//! Histories from git: the state of the lock files at each commit.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::rc::Rc;

use anyhow::{Context, Result, bail, ensure};

use super::history::{History, HistoryJob, HistoryState, MAIN};
use super::lock::PackageModel;

/// A commit from `git log`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Commit {
    id: String,
    time: u64,
    parents: Vec<String>,
}

/// Reads the history of HEAD: one job for each commit that has a lock file.
pub(super) fn read_repository(
    repository: &Path,
    files: &[String],
    model: &PackageModel,
) -> Result<History> {
    ensure!(
        !files.is_empty(),
        "name a lock file in the repository with --lock-path"
    );
    let log = run_git(repository, &["log", "--format=%H %ct %P", "HEAD"], "")?;
    let commits = parse_log(&String::from_utf8_lossy(&log));
    let branches = commit_branches(&commits);
    let mut blobs = Blobs::default();
    blobs.find(repository, &commits, files)?;

    let mut jobs = Vec::new();
    let mut states: HashMap<Vec<String>, Rc<HistoryState>> = HashMap::new();
    for commit in &commits {
        let found = blobs.of(&commit.id, files);
        if found.is_empty() {
            continue;
        }
        let state = match states.get(&found) {
            Some(state) => Rc::clone(state),
            None => {
                let text = blobs.text(repository, &found)?;
                let state = Rc::new(model.state(&text));
                states.insert(found, Rc::clone(&state));
                state
            }
        };
        let branch = branches.get(&commit.id).map_or(MAIN, String::as_str);
        jobs.push(HistoryJob {
            time: commit.time as f64,
            branch: branch.into(),
            state,
        });
    }
    ensure!(!jobs.is_empty(), "no commit has {}", files.join(" or "));
    jobs.sort_by(|a, b| a.time.total_cmp(&b.time));
    let facts = vec![
        (
            "history",
            format!(
                "{}: {} commits with {}, {} states; one job for each commit, at its time; commits that \
                 came by a merge are on a branch of their own until then",
                repository.display(),
                jobs.len(),
                files.join(", "),
                states.len()
            ),
        ),
        ("packages", model.describe()),
    ];
    Ok(History {
        jobs,
        facts,
        real_times: true,
    })
}

fn parse_log(log: &str) -> Vec<Commit> {
    let parse = |line: &str| {
        let mut fields = line.split(' ');
        Some(Commit {
            id: fields.next()?.to_owned(),
            time: fields.next()?.parse().ok()?,
            parents: fields
                .filter(|id| !id.is_empty())
                .map(str::to_owned)
                .collect(),
        })
    };
    log.lines().filter_map(parse).collect()
}

/// Assigns a branch to each commit. The first-parent chain of HEAD is the main branch; commits that
/// a merge brought in form a branch named after the merge.
fn commit_branches(commits: &[Commit]) -> HashMap<String, String> {
    let by_id: HashMap<&str, &Commit> =
        commits.iter().map(|commit| (&*commit.id, commit)).collect();
    let mut named: HashMap<String, String> = HashMap::new();
    let mut waiting = Vec::new();
    if let Some(newest) = commits.first() {
        waiting.push((newest.id.as_str(), MAIN.to_owned()));
    }
    while let Some((start, name)) = waiting.pop() {
        let mut next = Some(start);
        let mut merged = Vec::new();
        while let Some(commit) = next.and_then(|id| by_id.get(id)) {
            if named.contains_key(&commit.id) {
                break;
            }
            named.insert(commit.id.clone(), name.clone());
            let others = commit.parents.iter().skip(1);
            merged.extend(others.map(|id| (id.as_str(), format!("merged-{}", commit.id))));
            next = commit.parents.first().map(String::as_str);
        }
        // The oldest merge is last and popped first, so it gets the commits that several merges
        // reach.
        waiting.extend(merged);
    }
    named
}

/// The blob id of each lock file at each commit.
#[derive(Debug, Default)]
struct Blobs(HashMap<String, String>);

impl Blobs {
    fn find(&mut self, repository: &Path, commits: &[Commit], files: &[String]) -> Result<()> {
        let mut asked = Vec::new();
        for commit in commits {
            asked.extend(files.iter().map(|file| format!("{}:{file}", commit.id)));
        }
        let answers = run_git(
            repository,
            &["cat-file", "--batch-check=%(objectname) %(objecttype)"],
            &(asked.join("\n") + "\n"),
        )?;
        let answers = String::from_utf8_lossy(&answers).into_owned();
        for (asked, answer) in asked.into_iter().zip(answers.lines()) {
            // For a missing path git prints the requested name and `missing`.
            if let Some(id) = answer.strip_suffix(" blob") {
                self.0.insert(asked, id.to_owned());
            }
        }
        Ok(())
    }

    fn of(&self, commit: &str, files: &[String]) -> Vec<String> {
        let blobs = files
            .iter()
            .filter_map(|file| self.0.get(&format!("{commit}:{file}")));
        blobs.cloned().collect()
    }

    /// The concatenated lock files of one commit.
    fn text(&self, repository: &Path, ids: &[String]) -> Result<Vec<u8>> {
        let mut seen = HashSet::new();
        let mut text = Vec::new();
        for id in ids.iter().filter(|id| seen.insert(*id)) {
            text.extend(run_git(repository, &["cat-file", "blob", id], "")?);
        }
        Ok(text)
    }
}

fn run_git(repository: &Path, arguments: &[&str], input: &str) -> Result<Vec<u8>> {
    let mut child = Command::new("git")
        .arg("-C")
        .arg(repository)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("could not start git")?;
    let mut stdin = child.stdin.take().context("git has no input")?;
    let input = input.to_owned();
    // Write from a thread: git prints answers before it has read all input.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    // Check the status first: a failed git may close its stdin early, and has printed its error.
    let written = writer.join();
    if !output.status.success() {
        bail!(
            "git {} failed in {}",
            arguments.join(" "),
            repository.display()
        );
    }
    written.map_err(|_| anyhow::anyhow!("could not write to git"))??;
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_a_merge_brought_in_is_a_branch() {
        let log = "m2 6 c1 b2\nb2 5 b1\nc1 4 a1\nb1 3 a1\na1 2 r\nr 1 \n";
        let commits = parse_log(log);
        assert_eq!(commits.len(), 6);
        assert_eq!(commits[5].parents, Vec::<String>::new());
        let branches = commit_branches(&commits);
        let on = |id: &str| branches[id].as_str();
        assert_eq!(["m2", "c1", "a1", "r"].map(on), [MAIN; 4]);
        assert_eq!(["b1", "b2"].map(on), ["merged-m2"; 2]);
    }

    #[test]
    fn a_real_repository_is_read() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path();
        let run = |arguments: &[&str]| {
            run_git(dir, arguments, "").unwrap();
        };
        run(&["init", "-q", "-b", "trunk"]);
        let commit = |lock: &str| {
            fs::write(dir.join("a.lock"), lock).unwrap();
            run(&["add", "."]);
            run(&[
                "-c",
                "user.name=x",
                "-c",
                "user.email=x",
                "commit",
                "-q",
                "--allow-empty",
                "-m",
                "x",
            ]);
        };
        commit("one 1\n");
        commit("one 1\n");
        commit("one 1\ntwo 2\n");
        let model = PackageModel::for_tests();
        let history = read_repository(dir, &["a.lock".into()], &model).unwrap();
        assert_eq!(history.jobs.len(), 3);
        let keys: HashSet<_> = history.jobs.iter().map(|job| job.state.key).collect();
        assert_eq!(keys.len(), 2);
        assert!(history.jobs.iter().all(|job| &*job.branch == MAIN));
        read_repository(dir, &["none.lock".into()], &model).unwrap_err();
        read_repository(&dir.join("none"), &["a.lock".into()], &model).unwrap_err();
    }
}
