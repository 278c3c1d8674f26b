//! Lock files: their packages, and assumptions about package sizes.

use std::collections::BTreeSet;

use super::history::{HistoryPiece, HistoryState, hash_number};

/// Assumed size of a package, as lock files do not record sizes.
///
/// The defaults come from a `node_modules` with 1,708 packages: 616 MB in 64,000 files, which
/// `zstd -3` compressed to 19 %.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct PackageModel {
    /// For lock files: bytes per package
    #[arg(long, value_name = "BYTES", default_value_t = 360_000)]
    package_bytes: u64,
    /// For lock files: files per package
    #[arg(long, value_name = "N", default_value_t = 37)]
    package_files: u64,
    /// For lock files: compressed size as a fraction of the original
    #[arg(long, value_name = "SHARE", default_value_t = 0.19)]
    compression: f64,
}

impl PackageModel {
    /// The directory that a lock file describes; the hash of the file is the key.
    pub(super) fn state(&self, text: &[u8]) -> HistoryState {
        self.of_packages(
            hash_number(text),
            lock_packages(&String::from_utf8_lossy(text)),
        )
    }

    /// The directory that contains these packages.
    pub(super) fn of_packages<T: std::hash::Hash>(
        &self,
        key: u64,
        packages: impl IntoIterator<Item = T>,
    ) -> HistoryState {
        let ids: Vec<_> = packages
            .into_iter()
            .map(|package| hash_number(&package))
            .collect();
        let pieces = ids.iter().map(|&id| HistoryPiece {
            id,
            raw: self.package_bytes,
            stored: (self.package_bytes as f64 * self.compression) as u64,
            times: 1,
        });
        let files = ids.iter().map(|&id| (id, self.package_files));
        HistoryState::new(key, pieces, files)
    }

    /// Describes the assumptions for the report.
    pub(super) fn describe(&self) -> String {
        format!(
            "each package has {} bytes in {} files, {} of that after compression, and changes as a whole",
            self.package_bytes, self.package_files, self.compression
        )
    }
}

/// The packages of a lock file with their versions.
///
/// `Cargo.lock` and `package-lock.json` are parsed. In other formats, each line that is neither
/// blank nor a comment counts as a package. This suits `go.sum`, `requirements.txt`,
/// `gradle.lockfile` and similar files.
fn lock_packages(text: &str) -> BTreeSet<String> {
    npm_packages(text)
        .or_else(|| cargo_packages(text))
        .unwrap_or_else(|| line_packages(text))
}

fn npm_packages(text: &str) -> Option<BTreeSet<String>> {
    let json: serde_json::Value = serde_json::from_str(text).ok()?;
    // Versions 2 and 3 have `packages` by path; version 1 has `dependencies`, which may be nested.
    let mut found = BTreeSet::new();
    if let Some(packages) = json
        .get("packages")
        .and_then(|packages| packages.as_object())
    {
        for (path, package) in packages {
            // The empty path is the project itself.
            if !path.is_empty() {
                found.insert(format!("{path} {}", package["version"]));
            }
        }
    } else {
        npm_nested(json.get("dependencies")?, "", &mut found);
    }
    Some(found)
}

fn npm_nested(dependencies: &serde_json::Value, above: &str, found: &mut BTreeSet<String>) {
    for (name, package) in dependencies.as_object().into_iter().flatten() {
        let path = format!("{above}/{name}");
        found.insert(format!("{path} {}", package["version"]));
        npm_nested(&package["dependencies"], &path, found);
    }
}

fn cargo_packages(text: &str) -> Option<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for part in text.split("[[package]]").skip(1) {
        let value = |name: &str| {
            let line = part.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.trim_start_matches([' ', '=']).trim_matches('"'))
        };
        // Workspace members have no source and are not cached.
        if value("source ").is_some() {
            found.insert(format!("{} {}", value("name ")?, value("version ")?));
        }
    }
    text.contains("[[package]]").then_some(found)
}

fn line_packages(text: &str) -> BTreeSet<String> {
    let lines = text.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with(['#', '/']));
    lines.map(str::to_owned).collect()
}

#[cfg(test)]
impl PackageModel {
    /// Round numbers, for arithmetic by hand.
    pub(super) fn for_tests() -> Self {
        Self {
            package_bytes: 1000,
            package_files: 3,
            compression: 0.25,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        lock_packages(text).into_iter().collect()
    }

    #[test]
    fn lock_files_of_each_kind_are_read() {
        let cargo = "version = 4\n\n[[package]]\nname = \"mine\"\nversion = \"0.1.0\"\n\n\
                     [[package]]\nname = \"serde\"\nversion = \"1.0.2\"\nsource = \"registry+x\"\n\
                     dependencies = [\n \"name = x\",\n]\n";
        assert_eq!(of(cargo), ["serde 1.0.2"]);
        let npm = r#"{"lockfileVersion":3,"packages":{"":{"version":"9"},
            "node_modules/a":{"version":"1.0.0"},"node_modules/a/node_modules/b":{"version":"2"}}}"#;
        assert_eq!(
            of(npm),
            [
                "node_modules/a \"1.0.0\"",
                "node_modules/a/node_modules/b \"2\""
            ]
        );
        let old = r#"{"dependencies":{"a":{"version":"1","dependencies":{"b":{"version":"2"}}}}}"#;
        assert_eq!(of(old), ["/a \"1\"", "/a/b \"2\""]);
        assert_eq!(of("# made by x\n\na==1\n b==2 \n"), ["a==1", "b==2"]);
    }

    #[test]
    fn a_package_is_as_large_as_is_said() {
        let model = PackageModel::for_tests();
        let state = model.state(b"a 1\nb 2\n");
        assert_eq!(
            (state.raw(), state.archived(), state.file_count()),
            (2000, 500, 6)
        );
        assert_eq!(
            state.pieces_in(&model.state(b"a 1\nb 3\n"), true).count(),
            1
        );
        assert_ne!(state.key, model.state(b"a 1\nb 2\n\n").key);
    }
}
