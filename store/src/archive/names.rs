//! From names in an archive to names below the cached directory.
//!
//! Tools that pack caches use different names for the same file. For `/root/.m2`, packed by a job
//! that works in `/builds/app`:
//!
//! | by | name |
//! | --- | --- |
//! | `tar -C /root/.m2 .` | `./settings.xml` |
//! | `tar -P`, the Harness plugin | `/root/.m2/settings.xml` |
//! | `tar`, the drone plugin | `root/.m2/settings.xml` |
//! | actions/cache | `../../root/.m2/settings.xml` |

use std::path::{Component, Path};

use super::error::ArchiveError;
use super::failure;
use crate::error::Result;

/// The system takes no longer path.
const LONGEST: usize = 4096;
/// File systems take no longer name.
const LONGEST_NAME: usize = 255;

/// Selects the names of an archive, and maps them to names in the cache.
#[derive(Debug, Clone, Default)]
pub struct Names {
    strip: usize,
    below: MemberPath,
}

#[derive(Debug, Clone, Default)]
enum MemberPath {
    /// The archive is the directory.
    #[default]
    All,
    /// The directory has this name in the archive.
    Name(Parts),
    /// The first member is the directory.
    First(Option<Parts>),
    /// The directory has this path, in the workspace or elsewhere; the first name that fits shows
    /// how the archive calls it.
    Path {
        path: Vec<Vec<u8>>,
        workspace: Vec<Vec<u8>>,
        found: Option<Parts>,
    },
}

/// Treatment of a name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mapped {
    /// These names, from the directory down; none is the directory itself.
    Inside(Vec<Vec<u8>>),
    /// It is not below the directory.
    Outside,
}

/// A name taken apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Parts {
    absolute: bool,
    /// How many directories it goes up first.
    up: usize,
    down: Vec<Vec<u8>>,
}

impl Parts {
    /// Fails where a name goes up again after it went down, or is longer than names can be.
    fn new(name: &[u8]) -> Result<Self> {
        let refused = |what: &str| failure::refused(name, what);
        if name.len() > LONGEST {
            return Err(refused("exceeds the maximum path length"));
        }
        if name.contains(&0) {
            return Err(refused("has a NUL byte in its name"));
        }
        let mut parts = Self {
            absolute: name.starts_with(b"/"),
            ..Self::default()
        };
        for part in name.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." if parts.absolute || !parts.down.is_empty() => {
                    return Err(refused("has `..` after a directory name"));
                }
                b".." => parts.up += 1,
                part if part.len() > LONGEST_NAME => {
                    return Err(refused("exceeds the maximum length of a file name"));
                }
                part => parts.down.push(part.to_vec()),
            }
        }
        Ok(parts)
    }

    fn stripped(mut self, count: usize) -> Option<Self> {
        if count == 0 {
            return Some(self);
        }
        if self.up + self.down.len() < count {
            return None;
        }
        let up = self.up.min(count);
        self.up -= up;
        self.down.drain(..count - up);
        self.absolute = false;
        Some(self)
    }

    /// The rest of the name after `start`, if it begins with it.
    fn after(&self, start: &Self) -> Option<Vec<Vec<u8>>> {
        // A slash in front, or its absence, makes no other name: tools drop it or keep it.
        let rest = self.down.strip_prefix(&start.down[..])?;
        (self.up == start.up).then(|| rest.to_vec())
    }

    fn show(&self) -> String {
        let mut text = String::new();
        if self.absolute {
            text.push('/');
        }
        text.push_str(&"../".repeat(self.up));
        text.push_str(&String::from_utf8_lossy(&self.down.join(&b'/')));
        text
    }
}

impl Names {
    /// All names, unchanged; names that lead elsewhere are refused.
    pub fn all() -> Self {
        Self::default()
    }

    /// Names below the directory that the archive calls `name`.
    pub fn below_name(name: &[u8]) -> Result<Self> {
        Ok(Self {
            below: MemberPath::Name(Parts::new(name)?),
            ..Self::default()
        })
    }

    /// Names below the first member, for archives of one directory each.
    pub fn below_first() -> Self {
        Self {
            below: MemberPath::First(None),
            ..Self::default()
        }
    }

    /// Names below the directory that was at `path`, for a job that ran in `workspace`; both are
    /// absolute, and links are not resolved.
    pub fn below_path(path: &Path, workspace: &Path) -> Self {
        Self {
            below: MemberPath::Path {
                path: normal_components(path),
                workspace: normal_components(workspace),
                found: None,
            },
            ..Self::default()
        }
    }

    /// Strips `count` leading components from each name first; names without further components are
    /// left out.
    pub fn stripping(mut self, count: usize) -> Self {
        self.strip = count;
        self
    }

    /// How the archive calls the directory, once a name fitted.
    pub fn found(&self) -> Option<String> {
        match &self.below {
            MemberPath::Path {
                found: Some(found), ..
            }
            | MemberPath::First(Some(found)) => Some(found.show()),
            _ => None,
        }
    }

    /// Where names are looked for, to be shown.
    pub(super) fn wanted(&self) -> String {
        match &self.below {
            MemberPath::All => "its root".to_owned(),
            MemberPath::Name(name) => name.show(),
            MemberPath::First(_) => "its first member".to_owned(),
            MemberPath::Path { path, .. } => {
                format!("/{}", String::from_utf8_lossy(&path.join(&b'/')))
            }
        }
    }

    pub(super) fn map(&mut self, name: &[u8]) -> Result<Mapped> {
        let Some(parts) = Parts::new(name)?.stripped(self.strip) else {
            return Ok(Mapped::Outside);
        };
        let inside = match &mut self.below {
            MemberPath::All if parts.absolute || parts.up > 0 => {
                return Err(ArchiveError::Outside {
                    name: super::failure::display_name(name),
                }
                .into());
            }
            MemberPath::All => Some(parts.down),
            MemberPath::Name(start) => parts.after(start),
            MemberPath::First(found) => parts.after(found.get_or_insert_with(|| parts.clone())),
            MemberPath::Path {
                path,
                workspace,
                found,
            } => {
                if found.is_none() {
                    *found = name_in_archive(&parts, path, workspace);
                }
                found.as_ref().and_then(|start| parts.after(start))
            }
        };
        Ok(inside.map_or(Mapped::Outside, Mapped::Inside))
    }
}

/// The archive's name for the directory at `path`, derived from a name that may lie in it.
fn name_in_archive(name: &Parts, path: &[Vec<u8>], workspace: &[Vec<u8>]) -> Option<Parts> {
    let fits = |up: usize, down: &[Vec<u8>]| {
        name.down.starts_with(down).then(|| Parts {
            absolute: name.absolute,
            up,
            down: down.to_vec(),
        })
    };
    if name.up == 0 {
        let in_workspace = path.strip_prefix(workspace).filter(|_| !name.absolute);
        return in_workspace
            .and_then(|down| fits(0, down))
            .or_else(|| fits(0, path));
    }
    // Relative to the job's working directory, which may have been elsewhere: the longest end of
    // the path that the name continues with.
    (0..path.len()).find_map(|from| fits(name.up, &path[from..]))
}

fn normal_components(path: &Path) -> Vec<Vec<u8>> {
    use std::os::unix::ffi::OsStrExt;
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.as_bytes().to_vec()),
            Component::ParentDir => {
                parts.pop();
            }
            _ => {}
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(names: &[&str]) -> Mapped {
        Mapped::Inside(names.iter().map(|name| name.as_bytes().to_vec()).collect())
    }

    fn of_path(path: &str, name: &str) -> Mapped {
        Names::below_path(Path::new(path), Path::new("/builds/app"))
            .map(name.as_bytes())
            .unwrap()
    }

    #[test]
    fn every_tools_way_to_name_a_path_is_understood() {
        for name in [
            "/root/.m2/repository/a.jar",
            "root/.m2/repository/a.jar",
            "./root/.m2/repository/a.jar",
            "../../root/.m2/repository/a.jar",
            "../../../root/.m2/repository/a.jar",
            "../../.m2/repository/a.jar",
        ] {
            assert_eq!(
                of_path("/root/.m2", name),
                inside(&["repository", "a.jar"]),
                "{name}"
            );
        }
        for (path, name) in [
            ("/builds/app/node_modules", "node_modules/x"),
            ("/builds/app/node_modules", "./node_modules/x"),
            ("/builds/app/node_modules", "/builds/app/node_modules/x"),
            ("/builds/app/web/../node_modules", "node_modules/x"),
            ("/builds/app", "x"),
        ] {
            assert_eq!(of_path(path, name), inside(&["x"]), "{name}");
        }
        assert_eq!(of_path("/root/.m2", "../../root/.m2/"), inside(&[]));
        for name in [
            "root/.npm/x",
            "../.npm/x",
            "root",
            ".m2x/y",
            "/x/root/.m2/y",
        ] {
            assert_eq!(of_path("/root/.m2", name), Mapped::Outside, "{name}");
        }
    }

    #[test]
    fn the_first_name_that_fits_decides() {
        let mut names = Names::below_path(Path::new("/root/.m2"), Path::new("/w"));
        assert_eq!(names.map(b"../root/.m2/a").unwrap(), inside(&["a"]));
        assert_eq!(names.found().unwrap(), "../root/.m2");
        assert_eq!(names.map(b"../.m2/a").unwrap(), Mapped::Outside);
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["/etc/passwd", "../x", "./../x"] {
            let error = Names::all().map(name.as_bytes()).unwrap_err();
            assert!(error.to_string().contains("below one directory"), "{name}");
        }
        for name in [&b"a/../../x"[..], b"/../x", b"a/..", b"a\0b", &[b'x'; 256]] {
            assert!(Names::all().map(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn leading_parts_can_be_dropped() {
        let mut names = Names::all().stripping(2);
        assert_eq!(names.map(b"/root/.m2/a/b").unwrap(), inside(&["a", "b"]));
        assert_eq!(names.map(b"../x/a").unwrap(), inside(&["a"]));
        assert_eq!(names.map(b"root/.m2/").unwrap(), inside(&[]));
        assert_eq!(names.map(b"root").unwrap(), Mapped::Outside);
        let mut names = Names::below_name(b"./cache/").unwrap().stripping(1);
        assert_eq!(names.map(b"v1/cache/a").unwrap(), inside(&["a"]));
        assert_eq!(names.map(b"v1/other/a").unwrap(), Mapped::Outside);
    }
}
