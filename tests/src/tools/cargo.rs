//! cargo: a program with three small dependencies.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::file_server::FileServer;
use super::{Project, Recipe, quoted, runs, step};
use crate::harness::Invocation;

const MANIFEST: &str = r#"[package]
name = "demo"
version = "1.0.0"
edition = "2021"

[dependencies]
fnv = "1"
itoa = "1"
memchr = "2"

[workspace]
"#;

const MAIN: &str = r#"use std::hash::Hasher;

fn main() {
    let mut hasher = fnv::FnvHasher::default();
    hasher.write(b"demo");
    let digits = itoa::Buffer::new().format(hasher.finish()).to_owned();
    println!("{digits} {:?}", memchr::memchr(b'1', digits.as_bytes()));
}
"#;

pub(super) struct Cargo;

impl Recipe for Cargo {
    fn name(&self) -> &'static str {
        "cargo"
    }

    fn lacks(&self) -> Option<String> {
        (!runs("cargo") || toolchain().is_none()).then(|| "cargo and rustc".into())
    }

    fn write(&self, project: &Project) -> Result<()> {
        let source = project.source();
        fs::create_dir(source.join("src"))?;
        fs::write(source.join("Cargo.toml"), MANIFEST)?;
        fs::write(source.join("src/main.rs"), MAIN)?;
        // The machine's configuration may select a registry mirror. Copy it, because `CARGO_HOME`,
        // its usual place, is the cache here.
        if let Some(config) = home()
            .map(|home| home.join("config.toml"))
            .filter(|c| c.is_file())
        {
            fs::create_dir(source.join(".cargo"))?;
            fs::copy(config, source.join(".cargo/config.toml"))?;
        }
        Ok(())
    }

    fn fill(&self, project: &Project, cache: &Path, _: Option<&FileServer>) -> Vec<Invocation> {
        vec![cargo(project, cache, &["fetch"])]
    }

    fn offline(&self, cache: &str) -> String {
        // Use the toolchain's own binaries: a container has no rustup to select them. With
        // `--verbose`, cargo lists fresh crates.
        format!(
            "export CARGO_HOME={cache} CARGO_TARGET_DIR=target PATH={}:$PATH\n\
             cargo build --offline --locked --verbose",
            quoted(&toolchain().unwrap_or_default().join("bin"))
        )
    }

    fn needs(&self) -> Vec<PathBuf> {
        let toolchain = toolchain().into_iter();
        toolchain.filter(|dir| !dir.starts_with("/usr")).collect()
    }

    fn outputs(&self) -> &'static [&'static str] {
        &["target"]
    }

    fn product(&self) -> &'static str {
        "target/debug/demo"
    }

    fn complaint(&self) -> &'static str {
        "--offline"
    }
}

fn cargo(project: &Project, cache: &Path, words: &[&str]) -> Invocation {
    let args: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
    step(project, "cargo", &args)
        .env("CARGO_HOME", cache)
        // The tests may themselves run with a `CARGO_TARGET_DIR`.
        .env("CARGO_TARGET_DIR", project.source().join("target"))
        // rustup derives its home from cargo's unless this is set.
        .env("RUSTUP_HOME", rustup_home())
}

/// The sysroot with rustc and cargo.
fn toolchain() -> Option<PathBuf> {
    let rustc = Command::new("rustc").args(["--print", "sysroot"]).output();
    let path = String::from_utf8(rustc.ok()?.stdout).ok()?;
    Some(PathBuf::from(path.trim())).filter(|path| path.join("bin/cargo").exists())
}

fn home() -> Option<PathBuf> {
    named("CARGO_HOME").or_else(|| Some(named("HOME")?.join(".cargo")))
}

fn rustup_home() -> PathBuf {
    named("RUSTUP_HOME")
        .or_else(|| Some(named("HOME")?.join(".rustup")))
        .unwrap_or_else(|| PathBuf::from("/usr/local/rustup"))
}

fn named(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}
