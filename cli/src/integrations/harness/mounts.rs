//! The plugin's mounts: converts mounts of a pipeline to names in keys, and back to paths.

use std::path::{Component, Path, PathBuf};

use cachefs::paths::{glob_of, has_special, literal_names, real_path};
use cachefs_store::path_globs::compile_globs;
use globset::GlobSet;

/// A path that is cached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PluginMount {
    /// Name of the mount in the key: relative if it is in the workspace, otherwise absolute.
    pub(super) name: String,
    /// Where it is; absolute.
    pub(super) path: PathBuf,
}

/// Where paths start.
#[derive(Debug, Clone)]
pub(super) struct MountBase {
    /// Absolute.
    pub(super) workspace: PathBuf,
    pub(super) home: Option<PathBuf>,
}

impl MountBase {
    /// A mount as a pipeline names it.
    pub(super) fn mount(&self, text: &str) -> PluginMount {
        let path = match (text.strip_prefix('~'), &self.home) {
            (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
                home.join(rest.trim_start_matches('/'))
            }
            _ => self.workspace.join(text),
        };
        let path = normal_path(&path);
        let inside = path.strip_prefix(&self.workspace).map(Path::to_owned);
        // The workspace may have another name, through a link.
        let name = inside.or_else(|_| {
            let real = real_path(&path);
            let inside = real.strip_prefix(real_path(&self.workspace));
            inside.map(Path::to_owned)
        });
        let name = name.as_deref().unwrap_or(&path);
        PluginMount {
            name: match name.to_string_lossy() {
                name if name.is_empty() => ".".to_owned(),
                name => name.into_owned(),
            },
            path,
        }
    }
}

/// Removes `.` and `..`, without a look at links.
fn normal_path(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

/// Whether a mount stands for all that match it, rather than for a directory of that very name.
pub(super) fn is_pattern(text: &str, place: &MountBase) -> bool {
    has_special(text) && !place.mount(text).path.is_dir()
}

/// The names that a pattern matches; `*` does not match a slash.
pub(super) fn mount_matcher(pattern: &PluginMount) -> Result<GlobSet, cachefs::Error> {
    compile_mount_glob(&pattern.name)
}

fn compile_mount_glob(glob: &str) -> Result<GlobSet, cachefs::Error> {
    compile_globs([glob]).map_err(|error| {
        cachefs::Error::usage(
            format!("PLUGIN_MOUNT has an invalid pattern: {}", error.kind()),
            "use a pattern such as `modules/*/target`",
        )
    })
}

/// The directories on the disk that a pattern matches, in the order of paths.
pub(super) fn find_mounts(
    pattern: &PluginMount,
    place: &MountBase,
) -> Result<Vec<PluginMount>, cachefs::Error> {
    let base = match pattern.name.starts_with('/') {
        true => Path::new("/"),
        false => &place.workspace,
    };
    let names: Vec<_> = pattern.name.trim_start_matches('/').split('/').collect();
    let literal = literal_names(base, &names, Path::is_dir);
    let root = match pattern.name.starts_with('/') {
        true => "/",
        false => "",
    };
    let matcher = compile_mount_glob(&format!("{root}{}", glob_of(&names, literal)))?;
    // Everything before the first part with a special character is there or not.
    let plain = names[literal..]
        .iter()
        .take_while(|name| !has_special(name));
    let plain = literal + plain.count();
    let fixed: PathBuf = base.join(names[..plain].join("/"));
    let mut found = Vec::new();
    let mut pending = vec![fixed];
    while let Some(directory) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries.flatten() {
            // Links are not followed: their targets may be cached under their own names.
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let mount = place.mount(&entry.path().to_string_lossy());
            if matcher.is_match(&mount.name) {
                found.push(mount);
            } else {
                pending.push(entry.path());
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(workspace: &Path) -> MountBase {
        MountBase {
            workspace: workspace.to_owned(),
            home: Some(PathBuf::from("/root")),
        }
    }

    #[test]
    fn one_path_has_one_name_however_it_is_written() {
        let place = place(Path::new("/drone/src"));
        for (text, name, path) in [
            ("vendor", "vendor", "/drone/src/vendor"),
            ("./vendor/", "vendor", "/drone/src/vendor"),
            ("/drone/src/vendor", "vendor", "/drone/src/vendor"),
            ("web/../vendor", "vendor", "/drone/src/vendor"),
            ("/root/.m2", "/root/.m2", "/root/.m2"),
            ("~/.m2", "/root/.m2", "/root/.m2"),
            ("~", "/root", "/root"),
            ("../x", "/drone/x", "/drone/x"),
            (".", ".", "/drone/src"),
        ] {
            let mount = place.mount(text);
            assert_eq!(
                (&*mount.name, &*mount.path),
                (name, Path::new(path)),
                "{text}"
            );
            // A name in a key leads back to the path.
            assert_eq!(place.mount(&mount.name), mount);
        }
    }

    #[test]
    fn patterns_find_directories() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        for name in ["a/target/x", "b/target", "b/src", "deep/c/target"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        std::fs::write(root.join("target"), "a file").unwrap();
        let place = place(&root);
        let names = |pattern: &str| -> Vec<String> {
            let found = find_mounts(&place.mount(pattern), &place).unwrap();
            found.into_iter().map(|mount| mount.name).collect()
        };
        assert_eq!(names("*/target"), ["a/target", "b/target"]);
        assert_eq!(
            names("**/target"),
            ["a/target", "b/target", "deep/c/target"]
        );
        assert_eq!(names("none/*"), Vec::<String>::new());
        assert!(is_pattern("*/x", &place) && !is_pattern("a/x", &place));
    }

    #[test]
    fn a_name_with_brackets_is_that_directory() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("job[3]");
        for name in ["app/[slug]/a/gen", "app/s/b/gen"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        let place = place(&root);
        assert!(!is_pattern("app/[slug]", &place) && is_pattern("app/[s]", &place));
        let found = find_mounts(&place.mount("app/[slug]/*/gen"), &place).unwrap();
        let names: Vec<_> = found.into_iter().map(|mount| mount.name).collect();
        assert_eq!(names, ["app/[slug]/a/gen"]);
        std::os::unix::fs::symlink(&root, dir.path().join("link")).unwrap();
        let linked = dir.path().join("link/vendor");
        assert_eq!(place.mount(linked.to_str().unwrap()).name, "vendor");
    }
}
