//! Files that anyone can have anyway, because they are part of a published package.
//!
//! Packages contain test keys and sample tokens by the dozen. They were published before they came
//! here, so a cache gives nothing away with them, and to refuse them would only teach people to
//! turn the search off. Each rule asks for a mark of the package manager, not for a name alone.

/// What a directory holds.
pub(crate) trait Names {
    /// Whether the directory, relative to what is saved, has an entry with a name that fits.
    fn has(&self, directory: &[&[u8]], fits: &dyn Fn(&[u8]) -> bool) -> bool;
}

/// Whether a file belongs to a published package.
///
/// `root` are the names on the way to what is saved, and `path` those from there to the file.
pub(crate) fn is_published(root: &[&[u8]], path: &[&[u8]], names: &dyn Names) -> bool {
    let full = [root, path].concat();
    let Some((_, directories)) = full.split_last() else {
        return false;
    };
    let view = View {
        depth: root.len(),
        full: &full,
        names,
    };
    (0..directories.len()).any(|at| view.is_package_below(at))
}

struct View<'a> {
    depth: usize,
    full: &'a [&'a [u8]],
    names: &'a dyn Names,
}

impl View<'_> {
    /// Whether the directory made of the first `length` names has an entry that fits. What lies
    /// above the root is not looked at.
    fn has(&self, length: usize, fits: &dyn Fn(&[u8]) -> bool) -> bool {
        length >= self.depth
            && length < self.full.len()
            && self.names.has(&self.full[self.depth..length], fits)
    }

    fn has_name(&self, length: usize, name: &str) -> bool {
        self.has(length, &|entry| entry == name.as_bytes())
    }

    fn name(&self, at: usize) -> &[u8] {
        self.full.get(at).copied().unwrap_or_default()
    }

    /// Whether the file is in a package of the manager that made directory number `at`.
    fn is_package_below(&self, at: usize) -> bool {
        // The number of names up to the package, for managers that unpack into `at`.
        match self.name(at) {
            b"node_modules" => self.is_npm_package(at + 1),
            b"site-packages" | b"dist-packages" | b"archive-v0" => {
                let installed = at + 1 + usize::from(self.name(at) == b"archive-v0");
                self.has(installed, &|entry| {
                    entry.ends_with(b".dist-info") || entry.ends_with(b".egg-info")
                })
            }
            // The standard library, with its tests.
            name if name.starts_with(b"python3.") => self.has_name(at + 1, "os.py"),
            b"registry" => self.name(at + 1) == b"src" && self.has_name(at + 4, "Cargo.toml"),
            b"git" => self.name(at + 1) == b"checkouts" && self.has_name(at + 4, ".cargo-ok"),
            // Modules of Go: `mod/example.com/module@v1.2.3`.
            b"mod" => self.full[at..self.full.len() - 1]
                .iter()
                .any(|name| name.windows(2).any(|mark| mark == b"@v")),
            b"gems" => {
                let specification = [self.name(at + 1), b".gemspec"].concat();
                at + 1 < self.full.len() && at > self.depth && {
                    let parent = &self.full[self.depth..at];
                    let directory = [parent, &[b"specifications".as_slice()]].concat();
                    self.names.has(&directory, &|entry| entry == specification)
                }
            }
            b"vendor" => self.has_name(at + 3, "composer.json"),
            b"pkgs" => self.has_name(at + 2, "info"),
            // What wrappers of Gradle and Maven unpack.
            b"wrapper" => self.name(at + 1) == b"dists",
            // The content of packages by hash, as pnpm keeps it.
            b"store" => self.name(at + 1).starts_with(b"v") && self.name(at + 2) == b"files",
            // A node_modules under another name: npm leaves a list of what it put there.
            _ => self.has_name(at + 1, ".package-lock.json") && self.is_npm_package(at + 1),
        }
    }

    /// Whether directory number `at`, or the one below a scope's, is a package of npm.
    fn is_npm_package(&self, at: usize) -> bool {
        let scope = usize::from(self.name(at).starts_with(b"@"));
        !self.name(at).starts_with(b".") && self.has_name(at + 1 + scope, "package.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree, as the paths of its files.
    struct Files(&'static [&'static str]);

    impl Names for Files {
        fn has(&self, directory: &[&[u8]], fits: &dyn Fn(&[u8]) -> bool) -> bool {
            let prefix: Vec<u8> = directory
                .iter()
                .flat_map(|name| [*name, b"/"].concat())
                .collect();
            self.0.iter().any(|file| {
                let entry = file.as_bytes().strip_prefix(&prefix[..]);
                entry.is_some_and(|entry| fits(entry.split(|byte| *byte == b'/').next().unwrap()))
            })
        }
    }

    fn published(root: &str, path: &str, files: &'static [&'static str]) -> bool {
        let split = |path: &'static str| {
            path.split('/')
                .map(str::as_bytes)
                .filter(|name| !name.is_empty())
                .collect::<Vec<_>>()
        };
        let (root, path) = (root.to_owned().leak(), path.to_owned().leak());
        is_published(&split(root), &split(path), &Files(files))
    }

    #[test]
    fn packages_of_node() {
        let tree: &[&str] = &[
            "a/package.json",
            "a/test/key.pem",
            "@s/b/package.json",
            "@s/b/key.pem",
            ".cache/x/token",
            "loose.pem",
        ];
        assert!(published("/w/node_modules", "a/test/key.pem", tree));
        assert!(published("/w/node_modules", "@s/b/key.pem", tree));
        assert!(!published("/w/node_modules", ".cache/x/token", tree));
        assert!(!published("/w/node_modules", "loose.pem", tree));
        assert!(!published("/w/other", "a/test/key.pem", tree));
        assert!(!published(
            "/w/node_modules",
            "unknown/key.pem",
            &["unknown/key.pem"]
        ));
    }

    #[test]
    fn packages_of_others() {
        assert!(published(
            "/root/.cargo",
            "registry/src/index/c-1.0/tests/k.pem",
            &["registry/src/index/c-1.0/Cargo.toml"]
        ));
        assert!(published(
            "/v/lib/python3.11/site-packages",
            "p/k.pem",
            &["p-1.0.dist-info/RECORD"]
        ));
        assert!(!published(
            "/v/lib/python3.11/site-packages",
            "p/k.pem",
            &["p/k.pem"]
        ));
        assert!(published(
            "/root/go",
            "pkg/mod/golang.org/x/crypto@v0.1.0/k.pem",
            &[]
        ));
        assert!(!published("/root/go", "src/own/k.pem", &[]));
        assert!(published(
            "/b",
            "ruby/gems/g-1.0/k.pem",
            &["ruby/specifications/g-1.0.gemspec"]
        ));
        assert!(published(
            "/root/.m2",
            "wrapper/dists/apache-maven/conf/x",
            &[]
        ));
        assert!(!published("/root/.m2", "settings.xml", &["settings.xml"]));
    }
}
