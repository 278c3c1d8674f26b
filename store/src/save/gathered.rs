//! Files whose saved content is gathered from ranges of the file on disk.
//!
//! A server spools a tar archive as one file, and saves only the contents of its members under that
//! file's name (see [`TarLayout`](crate::archive::TarLayout)). Each range is cut separately, like a
//! file with the same content, so the two share chunks.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;

use super::tree::{FileTree, NodeKind};
use crate::chunk::SEGMENT;

/// For files of a directory, by their paths below it: the ranges to save, in order.
pub type GatheredRanges = HashMap<PathBuf, Vec<Range<u64>>>;

/// The ranges of one file, by where they are in the saved content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct GatheredContent {
    /// The ranges in the file on disk.
    ranges: Vec<Range<u64>>,
    /// For each range, its offset in the saved content.
    offsets: Vec<u64>,
    size: u64,
}

impl GatheredContent {
    fn new(ranges: &[Range<u64>]) -> Self {
        let mut content = Self::default();
        for range in ranges.iter().filter(|range| !range.is_empty()) {
            content.offsets.push(content.size);
            content.ranges.push(range.clone());
            content.size += range.end - range.start;
        }
        content
    }

    /// Cuts the content into parts of about `bytes` bytes that workers read. A part ends where a
    /// range ends, or within a range at a multiple of [`SEGMENT`], where a file of its own is cut.
    pub(super) fn plan_parts(&self, bytes: u64) -> Vec<Range<u64>> {
        let mut parts = Vec::new();
        let mut start = 0;
        for (range, &offset) in self.ranges.iter().zip(&self.offsets) {
            let end = offset + (range.end - range.start);
            let is_large = end - offset > SEGMENT;
            if offset > start && (is_large || end - start > bytes) {
                parts.push(start..offset);
                start = offset;
            }
            while end - start > SEGMENT {
                parts.push(start..start + SEGMENT);
                start += SEGMENT;
            }
            if is_large && start < end {
                parts.push(start..end);
                start = end;
            }
        }
        if start < self.size {
            parts.push(start..self.size);
        }
        parts
    }

    /// The ranges in the file on disk that make up a part.
    pub(super) fn ranges_of(&self, part: &Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let part = part.clone();
        let first = self.offsets.partition_point(|offset| *offset <= part.start);
        let first = first.saturating_sub(1);
        let ranges = self.ranges[first..].iter().zip(&self.offsets[first..]);
        let until = part.end;
        ranges
            .take_while(move |(_, offset)| **offset < until)
            .map(move |(range, &offset)| {
                let skipped = part.start.saturating_sub(offset);
                let length = (part.end - offset).min(range.end - range.start);
                range.start + skipped..range.start + length
            })
    }
}

/// The gathered files of a tree, by node.
pub(super) type GatheredNodes = HashMap<usize, GatheredContent>;

/// Finds the gathered files in a scanned tree, and gives them the sizes of their saved content.
pub(super) fn find_gathered(tree: &mut FileTree, files: &GatheredRanges) -> GatheredNodes {
    let mut found = GatheredNodes::new();
    if files.is_empty() {
        return found;
    }
    for node in 0..tree.nodes.len() {
        if !matches!(tree.nodes[node].kind, NodeKind::File { .. }) {
            continue;
        }
        let Some(ranges) = files.get(&tree.os_path(node)) else {
            continue;
        };
        let content = GatheredContent::new(ranges);
        if let NodeKind::File { size, .. } = &mut tree.nodes[node].kind {
            *size = content.size;
        }
        tree.nodes[node].sparse = false;
        found.insert(node, content);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_end_where_ranges_end_and_cover_the_content() {
        let ranges = [10..20, 30..30, 100..103, 200..200 + 2 * SEGMENT + 5, 7..9];
        let content = GatheredContent::new(&ranges);
        let large = 13 + 2 * SEGMENT + 5;
        assert_eq!(
            content.plan_parts(1000),
            [
                0..13,
                13..13 + SEGMENT,
                13 + SEGMENT..13 + 2 * SEGMENT,
                13 + 2 * SEGMENT..large,
                large..large + 2
            ]
        );
        assert_eq!(content.plan_parts(10)[..2], [0..10, 10..13]);
        assert!(GatheredContent::new(&[]).plan_parts(10).is_empty());
        let sources = |part: Range<u64>| content.ranges_of(&part).collect::<Vec<_>>();
        assert_eq!(sources(0..13), [10..20, 100..103]);
        assert_eq!(sources(4..11), [14..20, 100..101]);
        let within = sources(13 + SEGMENT..14 + SEGMENT);
        assert_eq!(within, vec![200 + SEGMENT..201 + SEGMENT, 0..0][..1]);
        assert_eq!(sources(large..large + 2), vec![7..9, 0..0][..1]);
        for part in content.plan_parts(1000) {
            let length: u64 = sources(part.clone())
                .iter()
                .map(|it| it.end - it.start)
                .sum();
            assert_eq!(length, part.end - part.start);
        }
    }
}
