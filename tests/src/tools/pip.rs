//! pip: two wheels, installed and then used.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Result;

use super::file_server::FileServer;
use super::{Project, Recipe, step};
use crate::harness::Invocation;

/// Debian's Python: another one may be in a directory that containers lack.
const PYTHON: &str = "/usr/bin/python3";

const FILES: &[(&str, &str)] = &[
    (
        "requirements.txt",
        include_str!("../../data/pip/requirements.txt"),
    ),
    ("build.py", include_str!("../../data/pip/build.py")),
];

pub(super) struct Pip;

impl Recipe for Pip {
    fn name(&self) -> &'static str {
        "pip"
    }

    fn lacks(&self) -> Option<String> {
        let version = Command::new(PYTHON)
            .args(["-m", "pip", "--version"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        let runs = version.is_ok_and(|status| status.success());
        (!runs).then(|| format!("{PYTHON} with pip (apt: python3-pip)"))
    }

    fn write(&self, project: &Project) -> Result<()> {
        for (name, content) in FILES {
            fs::write(project.source().join(name), content)?;
        }
        Ok(())
    }

    fn fill(&self, project: &Project, cache: &Path, _: Option<&FileServer>) -> Vec<Invocation> {
        let words = [
            "-m",
            "pip",
            "download",
            "-q",
            "-r",
            "requirements.txt",
            "-d",
        ];
        let args: Vec<&OsStr> = words
            .into_iter()
            .map(OsStr::new)
            .chain([cache.as_os_str()])
            .collect();
        vec![step(project, PYTHON, &args)]
    }

    fn offline(&self, cache: &str) -> String {
        format!(
            "{PYTHON} -m pip install --no-cache-dir --no-index --find-links {cache} \
             --target site -r requirements.txt && PYTHONPATH=site {PYTHON} build.py"
        )
    }

    fn outputs(&self) -> &'static [&'static str] {
        &["site", "dist"]
    }

    fn product(&self) -> &'static str {
        "dist/version"
    }

    fn complaint(&self) -> &'static str {
        "No matching distribution"
    }
}
