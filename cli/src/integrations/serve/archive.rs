//! Tar archives in a namespace, which are stored in three parts.
//!
//! The name of the archive with the suffix `~tar` is a directory with all headers, all contents,
//! and the layout that interleaves them. In the spool, the file of contents is the whole archive; a
//! save stores only its contents.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use cachefs::Error;
use cachefs_store::archive::TarLayout;
use cachefs_store::save::GatheredRanges;

use super::content::{Content, TakenApart};
use super::snapshot::Snapshot;
use super::spool::{Spool, SpooledUpload};

/// Number of bytes to copy at once.
const BLOCK: usize = 256 << 10;
/// Suffix of the directory with the parts of a tar archive.
const ARCHIVE_SUFFIX: &str = "~tar";
/// The parts: all headers, all contents, and the layout that interleaves them.
const HEADERS: &str = "headers";
const CONTENTS: &str = "contents";
const LAYOUT: &str = "layout";
/// Maximum size of an encoded layout: 4 million members with a few bytes for each of two lengths.
const MAX_LAYOUT: u64 = 64 << 20;

/// The files to store for received content: the file itself, or the parts of a tar archive.
pub(super) fn take_apart(
    spool: &Spool,
    mut upload: SpooledUpload,
    name: &str,
) -> Result<Vec<(String, SpooledUpload)>, Error> {
    let layout = TarLayout::of_file(upload.file()).map_err(Error::io("read", upload.path()))?;
    let Some(layout) = layout.filter(|layout| layout.content_bytes() > 0) else {
        return Ok(vec![(name.to_owned(), upload)]);
    };
    let mut headers = spool.begin_upload()?;
    copy_ranges(upload.file(), layout.header_ranges(), headers.file())
        .map_err(Error::io("write", headers.path()))?;
    let layout = spool.write_upload(&layout.encode())?;
    let parts = archive_name(name);
    Ok(vec![
        (format!("{parts}/{HEADERS}"), headers),
        (format!("{parts}/{LAYOUT}"), layout),
        // Last, because the archive exists once its contents do.
        (contents_name(name), upload),
    ])
}

/// The file with the contents of an archive; in the spool, it is the whole archive.
pub(super) fn contents_name(name: &str) -> String {
    format!("{}/{CONTENTS}", archive_name(name))
}

/// The directory of the parts of an archive. No name that clients choose contains `~`.
pub(super) fn archive_name(name: &str) -> String {
    format!("{name}{ARCHIVE_SUFFIX}")
}

/// Copies ranges of a file, one after another.
fn copy_ranges(
    from: &File,
    ranges: impl Iterator<Item = Range<u64>>,
    to: &mut File,
) -> std::io::Result<()> {
    let mut to = BufWriter::with_capacity(BLOCK, to);
    let mut bytes = Vec::new();
    for range in ranges {
        let mut at = range.start;
        while at < range.end {
            bytes.resize(BLOCK.min((range.end - at) as usize), 0);
            from.read_exact_at(&mut bytes, at)?;
            to.write_all(&bytes)?;
            at += bytes.len() as u64;
        }
    }
    to.flush()
}

/// The archives in a sealed spool: for each file of contents, the ranges to save.
pub(super) fn find_archives(sealed: &Path) -> Result<GatheredRanges, Error> {
    let mut found = GatheredRanges::new();
    let mut pending = vec![sealed.to_owned()];
    while let Some(directory) = pending.pop() {
        let entries = fs::read_dir(&directory).map_err(Error::io("read", &directory))?;
        for entry in entries {
            let entry = entry.map_err(Error::io("read", &directory))?;
            let kind = entry.file_type().map_err(Error::io("read", entry.path()))?;
            if kind.is_dir() {
                pending.push(entry.path());
            }
        }
        let is_archive = directory
            .file_name()
            .is_some_and(|name| name.as_bytes().ends_with(ARCHIVE_SUFFIX.as_bytes()));
        let contents = directory.join(CONTENTS);
        if is_archive && contents.exists() {
            let layout = directory.join(LAYOUT);
            let bytes = fs::read(&layout).map_err(Error::io("read", &layout))?;
            let ranges = TarLayout::decode(&bytes)?.content_ranges().collect();
            let name = contents.strip_prefix(sealed).unwrap_or(&contents);
            found.insert(name.to_owned(), ranges);
        }
    }
    Ok(found)
}

impl Snapshot {
    /// Finds an archive whose parts are in this directory.
    pub(super) async fn find_archive(
        self: &Arc<Self>,
        directory: &str,
    ) -> Result<Option<Content>, Error> {
        let find = |file: &str| self.stack.find(format!("{directory}/{file}").as_bytes());
        let (Some(headers), Some(contents)) = (find(HEADERS)?, find(CONTENTS)?) else {
            return Ok(None);
        };
        let Some(layout) = self.find_file(&format!("{directory}/{LAYOUT}"))? else {
            return Ok(None);
        };
        if layout.size() > MAX_LAYOUT {
            let damaged = cachefs_store::Error::damaged(directory, "its layout is too large");
            return Err(damaged.into());
        }
        let bytes = layout.read().await?;
        let layout = TarLayout::decode(&bytes)?;
        let size = |ino| Ok::<_, Error>(self.stack.attr(ino)?.size);
        if (size(headers)?, size(contents)?) != (layout.header_bytes(), layout.content_bytes()) {
            let detail = "its parts do not have the sizes in the layout";
            return Err(cachefs_store::Error::damaged(directory, detail).into());
        }
        Ok(Some(Content::TakenApart(TakenApart {
            snapshot: Arc::clone(self),
            headers,
            contents,
            layout,
        })))
    }
}
