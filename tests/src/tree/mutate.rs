//! Changes to a tree, made with ordinary system calls as a build would do.
//!
//! A mutation picks its entries by rank in the sorted tree. The same mutation therefore makes the
//! same change in all equal trees, whether mount or plain directory. It also sets its own time on
//! the entries it touched and the directories it changed. Equal trees thus stay equal to the
//! nanosecond.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use proptest::prelude::*;
use proptest::sample::Index;

use super::build::set_mtime;
use super::{Content, Time};

/// One change to a tree.
#[derive(Clone, Debug)]
pub struct TreeMutation {
    /// The operation.
    pub action: Action,
    /// Selects the entry to change.
    pub pick: Index,
    /// Selects the target directory, for operations that need one.
    pub place: Index,
    /// Name of the new entry. If the name exists, the mutation does nothing.
    pub name: OsString,
    /// Seed of new content.
    pub seed: u64,
    /// Modification time of the touched entries.
    pub time: Time,
}

/// The operation of a mutation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Adds a file.
    AddFile,
    /// Adds a directory with one file.
    AddDir,
    /// Overwrites some bytes in the middle of a file.
    Modify,
    /// Truncates a file and writes new content.
    Rewrite,
    /// Renames a new file over an existing one.
    Replace,
    /// Appends bytes to a file.
    Append,
    /// Deletes a file, or a directory recursively.
    Delete,
    /// Moves a file.
    RenameFile,
    /// Moves a directory.
    RenameDir,
    /// Replaces a directory with a file.
    DirToFile,
    /// Replaces a file with a directory.
    FileToDir,
    /// Deletes a directory and creates it again with one file.
    RecreateDir,
    /// Changes the mode of a file or directory.
    Chmod,
    /// Changes only the modification time of a file.
    Touch,
    /// Overwrites a file with the same bytes, and restores its modification time.
    WriteSame,
}

const ACTIONS: &[Action] = &[
    Action::AddFile,
    Action::AddDir,
    Action::Modify,
    Action::Rewrite,
    Action::Replace,
    Action::Append,
    Action::Delete,
    Action::RenameFile,
    Action::RenameDir,
    Action::DirToFile,
    Action::FileToDir,
    Action::RecreateDir,
    Action::Chmod,
    Action::Touch,
    Action::WriteSame,
];

/// Generates mutations.
pub fn mutations() -> impl Strategy<Value = TreeMutation> {
    (
        proptest::sample::select(ACTIONS),
        any::<Index>(),
        any::<Index>(),
        "new-[a-z]{1,4}",
        any::<u64>(),
        (1_700_000_000_i64..1_800_000_000, 0_u32..1_000_000_000),
    )
        .prop_map(
            |(action, pick, place, name, seed, (sec, nsec))| TreeMutation {
                action,
                pick,
                place,
                name: name.into(),
                seed,
                time: Time { sec, nsec },
            },
        )
}

impl TreeMutation {
    /// Applies the mutation to the tree below `root`. Returns whether anything changed.
    ///
    /// # Errors
    ///
    /// If a system call fails; the error names the mutation.
    pub fn apply(&self, root: &Path) -> Result<bool> {
        self.act(root)
            .with_context(|| format!("cannot apply {self:?} below {root:?}"))
    }

    fn act(&self, root: &Path) -> Result<bool> {
        let tree = Listing::of(root)?;
        // The directory for new names.
        let place = self.place.get(&tree.dirs).clone();
        let fresh = place.join(&self.name);
        let is_free = fs::symlink_metadata(&fresh).is_err();
        let file = pick(self.pick, &tree.files).map(PathBuf::as_path);
        let dir = pick(self.pick, &tree.dirs[1..]).map(PathBuf::as_path);
        match (self.action, file, dir) {
            (Action::AddFile, ..) if is_free => {
                self.write_new(&fresh)?;
                self.stamp(&[&place])?;
            }
            (Action::AddDir, ..) if is_free => {
                self.fill_new_dir(&fresh)?;
                self.stamp(&[&place])?;
            }
            (Action::Modify, Some(file), _) => {
                let bytes = super::content::bytes(self.seed, 0, 10);
                let mut open = OpenOptions::new().write(true).open(file)?;
                open.seek(SeekFrom::Start(open.metadata()?.len() / 2))?;
                open.write_all(&bytes)?;
                drop(open);
                self.stamp(&[file])?;
            }
            (Action::Rewrite, Some(file), _) => {
                let mut open = OpenOptions::new().write(true).truncate(true).open(file)?;
                self.content().write_to(&mut open)?;
                drop(open);
                self.stamp(&[file])?;
            }
            (Action::Replace, Some(file), _) if is_free => {
                self.write_new(&fresh)?;
                fs::rename(&fresh, file)?;
                self.stamp(&[&place, parent(file)])?;
            }
            (Action::Append, Some(file), _) => {
                let bytes = super::content::bytes(self.seed, 0, (self.seed % 5000) as usize + 1);
                OpenOptions::new()
                    .append(true)
                    .open(file)?
                    .write_all(&bytes)?;
                self.stamp(&[file])?;
            }
            (Action::Delete, ..) => {
                let Some(victim) = pick(self.pick, &tree.all) else {
                    return Ok(false);
                };
                remove(victim)?;
                self.stamp(&[parent(victim)])?;
            }
            (Action::RenameFile, Some(file), _) if is_free => {
                fs::rename(file, &fresh)?;
                self.stamp(&[&place, parent(file)])?;
            }
            (Action::RenameDir, _, Some(dir)) if is_free && !place.starts_with(dir) => {
                move_dir(dir, &fresh)?;
                self.stamp(&[&fresh, &place, parent(dir)])?;
            }
            (Action::DirToFile, _, Some(dir)) => {
                remove(dir)?;
                self.write_new(dir)?;
                self.stamp(&[parent(dir)])?;
            }
            (Action::FileToDir, Some(file), _) => {
                remove(file)?;
                self.fill_new_dir(file)?;
                self.stamp(&[parent(file)])?;
            }
            (Action::RecreateDir, _, Some(dir)) => {
                remove(dir)?;
                self.fill_new_dir(dir)?;
                self.stamp(&[parent(dir)])?;
            }
            (Action::Chmod, ..) => {
                let targets: Vec<&PathBuf> = tree.files.iter().chain(&tree.dirs[1..]).collect();
                let Some(target) = pick(self.pick, &targets) else {
                    return Ok(false);
                };
                // Keep all owner permissions, so that later mutations succeed.
                let mode = 0o700 | (self.seed & 0o7077) as u32;
                fs::set_permissions(target, Permissions::from_mode(mode))?;
            }
            (Action::Touch, Some(file), _) => self.stamp(&[file])?,
            (Action::WriteSame, Some(file), _) => {
                let meta = fs::metadata(file)?;
                let mut bytes = Vec::new();
                File::open(file)?.read_to_end(&mut bytes)?;
                OpenOptions::new()
                    .write(true)
                    .open(file)?
                    .write_all(&bytes)?;
                // Writing clears setuid and setgid.
                fs::set_permissions(file, meta.permissions())?;
                set_mtime(
                    file,
                    Time {
                        sec: meta.mtime(),
                        nsec: meta.mtime_nsec() as u32,
                    },
                )?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn content(&self) -> Content {
        Content::new(self.seed % 200_000, self.seed)
    }

    fn write_new(&self, path: &Path) -> Result<()> {
        let mut file = File::create_new(path)?;
        self.content().write_to(&mut file)?;
        self.stamp(&[path])
    }

    fn fill_new_dir(&self, path: &Path) -> Result<()> {
        fs::create_dir(path)?;
        self.write_new(&path.join("inside"))?;
        self.stamp(&[path])
    }

    /// Sets the mutation's time on entries.
    fn stamp(&self, paths: &[&Path]) -> Result<()> {
        for path in paths {
            set_mtime(path, self.time).with_context(|| format!("utimensat {path:?}"))?;
        }
        Ok(())
    }
}

/// The entries of a tree; each list is sorted by path bytes.
struct Listing {
    /// All entries except the root.
    all: Vec<PathBuf>,
    /// The root and all directories below it.
    dirs: Vec<PathBuf>,
    /// All regular files.
    files: Vec<PathBuf>,
}

impl Listing {
    fn of(root: &Path) -> Result<Self> {
        let mut listing = Self {
            all: Vec::new(),
            dirs: vec![root.to_owned()],
            files: Vec::new(),
        };
        let mut next = 0;
        while let Some(dir) = listing.dirs.get(next).cloned() {
            next += 1;
            for entry in fs::read_dir(&dir).with_context(|| format!("list {dir:?}"))? {
                let entry = entry?;
                let kind = entry.file_type()?;
                if kind.is_dir() {
                    listing.dirs.push(entry.path());
                } else if kind.is_file() {
                    listing.files.push(entry.path());
                }
                listing.all.push(entry.path());
            }
        }
        for list in [&mut listing.all, &mut listing.dirs, &mut listing.files] {
            list.sort_unstable_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
        }
        Ok(listing)
    }
}

fn pick<T>(index: Index, from: &[T]) -> Option<&T> {
    (!from.is_empty()).then(|| index.get(from))
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Renames a directory, or falls back to `mv` if the kernel refuses: overlayfs records the original
/// path in at most 256 bytes.
fn move_dir(from: &Path, to: &Path) -> Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == std::io::ErrorKind::CrossesDevices => {
            // New directories inherit the setgid bit of their parent, and `mv` keeps it; a rename
            // does not set it. Clear the bit so that both ways give the same result.
            let place = parent(to);
            let permissions = fs::metadata(place)?.permissions();
            let without = permissions.mode() & !0o2000;
            fs::set_permissions(place, Permissions::from_mode(without))?;
            let status = Command::new("mv").arg("-T").args([from, to]).status()?;
            fs::set_permissions(place, permissions)?;
            ensure!(status.success(), "mv: {status}");
            Ok(())
        }
        other => Ok(other?),
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}
