//! Generated trees; the same parameters give the same tree on every machine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::interrupt;

/// Files per directory, about as many as in a typical package.
const FANOUT: u64 = 40;

/// Parameters of a generated tree.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Number of files.
    pub(crate) files: u64,
    /// Bytes per file.
    pub(crate) bytes: usize,
    /// Seed of the content.
    pub(crate) seed: u64,
}

impl Shape {
    /// Writes the tree to a directory, which is created if missing.
    pub(crate) fn write(self, root: &Path) -> Result<()> {
        for file in 0..self.files {
            let path = self.path(file);
            let path = root.join(path);
            if file % FANOUT == 0 {
                interrupt::check_interrupt()?;
                fs::create_dir_all(path.parent().context("a file is in a directory")?)?;
            }
            self.write_file(&path, file)?;
        }
        Ok(())
    }

    /// Writes the content of one file.
    pub(crate) fn write_file(self, path: &Path, file: u64) -> Result<()> {
        let content = compressible_content(self.seed ^ (file << 20), self.bytes);
        fs::write(path, content).with_context(|| format!("could not write {}", path.display()))
    }

    /// The path of a file, below two levels of directories.
    pub(crate) fn path(self, file: u64) -> PathBuf {
        let directory = file / FANOUT;
        format!("d{:03}/p{directory:06}/file-{file}.js", directory / 100).into()
    }
}

/// Content that compresses to about a third of its size: words in a random order.
fn compressible_content(seed: u64, bytes: usize) -> Vec<u8> {
    const WORDS: [&str; 16] = [
        "function ",
        "return ",
        "const ",
        "export ",
        "=> {\n",
        "}\n",
        "if (",
        ") ",
        "module",
        "this.",
        "value",
        "index",
        " = ",
        "require(",
        "'use strict';\n",
        "length",
    ];
    let mut random = fastrand::Rng::with_seed(seed);
    let mut content = Vec::with_capacity(bytes + 16);
    while content.len() < bytes {
        if random.u8(..) < 100 {
            content.extend_from_slice(random.u32(..).to_string().as_bytes());
        } else {
            content.extend_from_slice(WORDS[random.usize(..WORDS.len())].as_bytes());
        }
    }
    content.truncate(bytes);
    content
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::find;

    #[test]
    fn a_tree_is_what_its_numbers_say() {
        let shape = Shape {
            files: 205,
            bytes: 100,
            seed: 1,
        };
        let [one, two] = [(); 2].map(|()| {
            let temp = tempfile::tempdir().unwrap();
            shape.write(temp.path()).unwrap();
            temp
        });
        let (_, totals) = find::find_tree(one.path()).unwrap();
        assert_eq!((totals.files, totals.bytes), (205, 20_500));
        let changes = crate::work::sync::sync_directory(one.path(), two.path()).unwrap();
        assert!(changes.is_empty());
        assert_ne!(compressible_content(1, 50), compressible_content(2, 50));
    }
}
