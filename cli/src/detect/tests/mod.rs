//! The table against trees of files.

mod rules;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::tools::marker_names;
use super::{Ask, DetectedCache, Detection, Host, WorkspaceTree, detect_caches};

/// A workspace and a home, with an environment and tools that answer.
struct Bench {
    root: TempDir,
    home: TempDir,
    env: BTreeMap<String, String>,
    answers: Answers,
    /// The home that the table of users names, where it is another one.
    account: Option<PathBuf>,
    is_root: bool,
}

#[derive(Default)]
struct Answers(BTreeMap<String, String>);

impl Ask for Answers {
    fn ask(&self, program: &str, args: &[&str]) -> Option<String> {
        self.0
            .get(&format!("{program} {}", args.join(" ")))
            .cloned()
    }
}

impl Bench {
    /// A workspace with files; `path=content`, or a path alone.
    fn new(files: &[&str]) -> Self {
        let bench = Self {
            root: tempfile::tempdir().unwrap(),
            home: tempfile::tempdir().unwrap(),
            env: BTreeMap::new(),
            answers: Answers::default(),
            account: None,
            is_root: false,
        };
        bench.write(bench.root.path(), files);
        bench
    }

    fn write(&self, root: &Path, files: &[&str]) {
        for file in files {
            let (path, content) = file.split_once('=').unwrap_or((file, ""));
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    fn at_home(self, files: &[&str]) -> Self {
        self.write(self.home.path(), files);
        self
    }

    /// Sets variables; `NAME=value`, in which `~` is the home.
    fn env(mut self, variables: &[&str]) -> Self {
        for variable in variables {
            let (name, value) = variable.split_once('=').unwrap();
            let value = value.replace('~', self.home.path().to_str().unwrap());
            self.env.insert(name.to_owned(), value);
        }
        self
    }

    /// Makes a tool answer.
    fn answer(mut self, question: &str, answer: &str) -> Self {
        self.answers
            .0
            .insert(question.to_owned(), answer.to_owned());
        self
    }

    fn detect(&self) -> Detection {
        let root = self.root.path().canonicalize().unwrap();
        let host = Host {
            home: self.home.path().to_owned(),
            account: self
                .account
                .clone()
                .unwrap_or_else(|| self.home.path().to_owned()),
            env: &self.env,
            is_root: self.is_root,
            ask: &self.answers,
        };
        detect_caches(&WorkspaceTree::scan(&root, &marker_names()), &host, "")
    }

    /// One line for each cache: the start of its key with `P` for the platform, its path, how
    /// that was learnt unless it is the default, and the files behind the key. A cache that is
    /// left alone begins with `?`.
    fn lines(&self) -> Vec<String> {
        let detection = self.detect();
        detection
            .caches
            .iter()
            .map(|found| self.line(found))
            .collect()
    }

    fn line(&self, found: &DetectedCache) -> String {
        let path = found.place.path.to_str().unwrap();
        let learnt = match found.place.learnt.describe().as_str() {
            "the default" => String::new(),
            other => format!(" ({other})"),
        };
        let files: Vec<&str> = found
            .inputs
            .iter()
            .map(|file| file.to_str().unwrap())
            .collect();
        format!(
            "{}{} {}{learnt}: {}",
            if found.optional.is_some() { "?" } else { "" },
            found
                .restore_key
                .strip_prefix("auto-")
                .unwrap()
                .replace("{{ os }}-{{ arch }}", "P"),
            path.replace(self.home.path().to_str().unwrap(), "~"),
            files.join(" ")
        )
    }
}
