//! Dependencies against `deny.toml`: their licences and sources.

use std::collections::BTreeSet;
use std::env::consts::ARCH;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use toml::de::DeTable;

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[test]
fn dependencies_have_permitted_licences_and_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let rules = fs::read_to_string(root.join("deny.toml")).unwrap();
    let rules = DeTable::parse(&rules).unwrap();
    let licences = rules.get_ref()["licenses"].get_ref()["allow"].get_ref();
    let licences = licences.as_array().unwrap().iter();
    let allowed: BTreeSet<&str> = licences
        .map(|licence| licence.get_ref().as_str().unwrap())
        .collect();
    let mut refused = Vec::new();
    for package in packages(&root) {
        let name = package["name"].as_str().unwrap();
        // The crates of this workspace have no source.
        let Some(source) = package["source"].as_str() else {
            continue;
        };
        if source != REGISTRY {
            refused.push(format!("{name} comes from {source}"));
        }
        let licence = package["license"].as_str().unwrap_or_default();
        if !is_permitted(licence, &allowed) {
            refused.push(format!("{name} has the licence `{licence}`"));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

/// The packages of a build for this machine; those of other systems may not be downloaded.
fn packages(root: &Path) -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--offline", "--format-version", "1"])
        .args(["--filter-platform", &format!("{ARCH}-unknown-linux-gnu")])
        .current_dir(root)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Whether an SPDX expression has an alternative of which all licences are allowed. `OR` binds
/// weaker than `AND`; an exception only adds permissions; `/` is the old form of `OR`.
fn is_permitted(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let permitted = any_of(&tokens, &mut at, allowed);
    permitted && at == tokens.len()
}

fn any_of(tokens: &[&str], at: &mut usize, allowed: &BTreeSet<&str>) -> bool {
    let mut permitted = all_of(tokens, at, allowed);
    while tokens.get(*at) == Some(&"OR") {
        *at += 1;
        permitted |= all_of(tokens, at, allowed);
    }
    permitted
}

fn all_of(tokens: &[&str], at: &mut usize, allowed: &BTreeSet<&str>) -> bool {
    let mut permitted = one(tokens, at, allowed);
    while tokens.get(*at) == Some(&"AND") {
        *at += 1;
        permitted &= one(tokens, at, allowed);
    }
    permitted
}

fn one(tokens: &[&str], at: &mut usize, allowed: &BTreeSet<&str>) -> bool {
    let Some(token) = tokens.get(*at) else {
        return false;
    };
    *at += 1;
    if *token == "(" {
        let permitted = any_of(tokens, at, allowed);
        let is_closed = tokens.get(*at) == Some(&")");
        *at += 1;
        return permitted && is_closed;
    }
    if tokens.get(*at) == Some(&"WITH") {
        *at += 2;
    }
    allowed.contains(token)
}

#[test]
fn expressions_are_understood() {
    let allowed = BTreeSet::from(["MIT", "Apache-2.0", "ISC"]);
    for permitted in [
        "MIT",
        "GPL-3.0 OR MIT",
        "MIT/GPL-3.0",
        "(GPL-3.0 OR MIT) AND ISC",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(is_permitted(permitted, &allowed), "{permitted}");
    }
    for refused in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR ISC) AND GPL-3.0",
        "MIT ISC",
        "(MIT ISC",
    ] {
        assert!(!is_permitted(refused, &allowed), "{refused}");
    }
}
