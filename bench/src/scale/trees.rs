//! Trees that are made: the same for the same numbers, on every machine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::interrupt;

/// Files in a directory, about as many as a package has.
const FANOUT: u64 = 40;

/// A tree that is made of numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Files in it.
    pub(crate) files: u64,
    /// Bytes of each.
    pub(crate) bytes: usize,
    /// Another number makes other content.
    pub(crate) seed: u64,
}

impl Shape {
    /// Writes it into a directory, which is made if it is not there.
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

    /// Where a file of it is: two levels of directories.
    pub(crate) fn path(self, file: u64) -> PathBuf {
        let directory = file / FANOUT;
        format!("d{:03}/p{directory:06}/file-{file}.js", directory / 100).into()
    }
}

/// Content of which compression leaves about a third: words in a random order.
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
