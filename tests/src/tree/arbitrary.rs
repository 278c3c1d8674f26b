//! Generated trees with all features that a cache must preserve, weighted towards likely bugs.

use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::ops::Range;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::{Content, Entry, Kind, Meta, Owner, Time, TreeSpec, acl};

/// The longest generated path in bytes, relative to the root. The kernel accepts 4095 per call.
const MAX_PATH: usize = 3000;
/// Granularity of holes in sparse files: a page, and the block size of common filesystems.
const PAGE: u64 = 4096;

/// Limits and features of generated trees.
#[derive(Clone, Copy, Debug)]
pub struct TreeOptions {
    /// Maximum number of entries.
    pub entries: usize,
    /// Maximum file size in bytes, including holes.
    pub file_bytes: u64,
    /// Generate fifos, device nodes and sockets; device nodes need root.
    pub special: bool,
    /// Generate owners other than the current user; needs root.
    pub owners: bool,
    /// Generate extended attributes and ACLs; needs a filesystem that supports them.
    pub xattrs: bool,
}

impl Default for TreeOptions {
    fn default() -> Self {
        let root = rustix::process::geteuid().is_root();
        Self {
            entries: 40,
            file_bytes: 600 * 1024,
            special: root,
            owners: root,
            xattrs: true,
        }
    }
}

/// Generates trees.
pub fn trees(options: TreeOptions) -> impl Strategy<Value = TreeSpec> {
    vec(seedling(options), 0..=options.entries).prop_map(assemble)
}

/// An entry without a parent directory.
#[derive(Clone, Debug)]
struct Seedling {
    parent: Index,
    name: OsString,
    kind: Kind,
    /// For a hard link: index among the earlier files.
    target: Index,
    meta: Meta,
}

fn seedling(options: TreeOptions) -> impl Strategy<Value = Seedling> {
    (
        any::<Index>(),
        name(),
        kind(options),
        any::<Index>(),
        meta(options),
    )
        .prop_map(|(parent, name, kind, target, meta)| Seedling {
            parent,
            name,
            kind,
            target,
            meta,
        })
}

/// Assigns a directory to every entry. Drops entries whose path is too long or that have no target.
fn assemble(seedlings: Vec<Seedling>) -> TreeSpec {
    let mut spec = TreeSpec::default();
    let mut dirs = vec![PathBuf::new()];
    let mut files: Vec<PathBuf> = Vec::new();
    let mut taken: HashSet<PathBuf> = HashSet::new();
    for Seedling {
        parent,
        name,
        mut kind,
        target,
        mut meta,
    } in seedlings
    {
        // Choose among the last four directories, so that trees grow deep as well as wide.
        let recent = dirs.len().saturating_sub(4);
        let parent = &dirs[recent + parent.index(dirs.len() - recent)];
        let path = parent.join(name);
        if path.as_os_str().len() > MAX_PATH || !taken.insert(path.clone()) {
            continue;
        }
        match &mut kind {
            Kind::Dir => {
                dirs.push(path.clone());
                // A user other than root needs these bits to fill the directory.
                meta.mode |= 0o700;
            }
            Kind::File(_) => files.push(path.clone()),
            Kind::Hardlink(existing) => {
                if files.is_empty() {
                    continue;
                }
                target.get(&files).clone_into(existing);
            }
            _ => {}
        }
        if !matches!(kind, Kind::File(_) | Kind::Dir) {
            // The kernel allows `user.` attributes and ACLs only on files and directories.
            meta.xattrs.clear();
        }
        if !matches!(kind, Kind::Dir) {
            meta.xattrs.remove(OsStr::new(acl::DEFAULT));
        }
        spec.entries.push(Entry { path, kind, meta });
    }
    spec
}

/// Names: ordinary ones, and names that often break programs.
fn name() -> impl Strategy<Value = OsString> {
    prop_oneof![
        6 => "[a-z]{1,3}(\\.(jar|js|rs|pom))?".prop_map(OsString::from),
        1 => select(vec!["with space", "line\nbreak", "tab\t", "-rf", "*", "\\", "'\"", "..x", ".h",
            "\u{1F980}", "e\u{301}", "\u{7f}", ".wh.x", "trusted.overlay.opaque"])
            .prop_map(OsString::from),
        1 => vec(not_slash_or_nul(), 1..12).prop_map(OsString::from_vec),
        1 => vec(not_slash_or_nul(), 255).prop_map(OsString::from_vec),
        1 => Just(OsString::from("n".repeat(255))),
    ]
    .prop_filter("reserved names", |name| name != "." && name != "..")
}

fn not_slash_or_nul() -> impl Strategy<Value = u8> {
    any::<u8>().prop_map(|byte| {
        if byte == 0 || byte == b'/' {
            0xff
        } else {
            byte
        }
    })
}

fn kind(options: TreeOptions) -> BoxedStrategy<Kind> {
    let usual = prop_oneof![
        6 => content(options.file_bytes).prop_map(Kind::File),
        4 => Just(Kind::Dir),
        2 => link_target().prop_map(Kind::Symlink),
        2 => Just(Kind::Hardlink(PathBuf::new())),
    ];
    if !options.special {
        return usual.boxed();
    }
    prop_oneof![
        14 => usual,
        1 => Just(Kind::Fifo),
        1 => Just(Kind::Socket),
        // Character device 0:0 is a whiteout in overlayfs, so the major number starts at 1.
        1 => (1_u32..4096, 0_u32..1_048_576).prop_map(|(a, b)| Kind::CharDevice(a, b)),
        1 => (1_u32..4096, 0_u32..1_048_576).prop_map(|(a, b)| Kind::BlockDevice(a, b)),
    ]
    .boxed()
}

/// Link targets: valid, dangling, absolute, self-referencing, and of maximum length.
fn link_target() -> impl Strategy<Value = PathBuf> {
    prop_oneof![
        "[a-c]{1,2}(/[a-c]{1,2})?".prop_map(PathBuf::from),
        select(vec![
            ".",
            "..",
            "/",
            "/nonexistent/target",
            "../../..",
            "a\nb"
        ])
        .prop_map(PathBuf::from),
        vec(not_slash_or_nul(), 1..64)
            .prop_map(|bytes| Path::new(OsStr::from_bytes(&bytes)).into()),
        Just(PathBuf::from("x/".repeat(2000))),
    ]
}

/// File contents: lengths around the store's size thresholds, occasional duplicates, and holes.
fn content(max: u64) -> impl Strategy<Value = Content> {
    let len = prop_oneof![
        2 => Just(0),
        6 => 1_u64..300,
        4 => 300_u64..20_000,
        2 => 20_000_u64..max.max(20_001),
        1 => select(vec![4095_u64, 4096, 4097, 65_536, 131_071, 131_072, 131_073, 262_144, 524_289]),
    ];
    let seed = prop_oneof![Just(1_u64), any::<u64>()];
    (
        len,
        seed,
        vec((any::<Index>(), 1_u64..40), 0..3),
        prop::bool::weighted(0.2),
    )
        .prop_map(move |(len, seed, holes, sparse)| {
            let len = len.min(max);
            let holes = if sparse {
                place_holes(len, &holes)
            } else {
                Vec::new()
            };
            Content { len, seed, holes }
        })
}

fn place_holes(len: u64, wanted: &[(Index, u64)]) -> Vec<Range<u64>> {
    let pages = len / PAGE;
    let mut holes: Vec<Range<u64>> = Vec::new();
    if pages == 0 {
        return holes;
    }
    let mut starts: Vec<(u64, u64)> = wanted
        .iter()
        .map(|(index, pages_long)| (index.index(pages as usize) as u64 * PAGE, pages_long * PAGE))
        .collect();
    starts.sort_unstable();
    for (start, length) in starts {
        let start = start.max(holes.last().map_or(0, |hole| hole.end));
        let end = (start + length).min(len);
        if start < end {
            holes.push(start..end);
        }
    }
    holes
}

fn meta(options: TreeOptions) -> impl Strategy<Value = Meta> {
    let mode = prop_oneof![
        4 => select(vec![0o644_u32, 0o755, 0o600, 0o444]),
        1 => select(vec![0o4755_u32, 0o2755, 0o1777, 0o6711, 0o7777]),
        1 => 0_u32..0o10000,
    ];
    let owner = option::weighted(
        if options.owners { 0.3 } else { 0.0 },
        (0_u32..70_000, 0_u32..70_000).prop_map(|(uid, gid)| Owner { uid, gid }),
    );
    // Within the range of filesystems with 34-bit timestamps, such as ext4.
    let time = prop_oneof![
        4 => (1_500_000_000_i64..1_800_000_000, 0_u32..1_000_000_000),
        1 => (-2_000_000_000_i64..4_000_000_000, 0_u32..1_000_000_000),
        1 => (Just(0_i64), select(vec![0_u32, 1, 999_999_999])),
    ]
    .prop_map(|(sec, nsec)| Time { sec, nsec });
    let attributes = prop::collection::btree_map(
        "user\\.[a-z]{1,8}".prop_map(OsString::from),
        vec(any::<u8>(), 0..80),
        0..3,
    );
    let acls = (
        option::weighted(0.2, 0_u32..70_000),
        option::weighted(0.2, 0_u32..70_000),
    );
    let xattrs = (
        attributes,
        acls,
        prop::bool::weighted(if options.xattrs { 0.15 } else { 0.0 }),
    )
        .prop_map(|(mut attributes, (access, default), wanted)| {
            if !wanted {
                return BTreeMap::new();
            }
            let acls = [(acl::ACCESS, access), (acl::DEFAULT, default)];
            for (name, uid) in acls {
                attributes.extend(uid.map(|uid| (name.into(), acl::readable_by(uid))));
            }
            attributes
        });
    (mode, owner, time, xattrs).prop_map(|(mode, owner, mtime, xattrs)| Meta {
        mode,
        owner,
        mtime,
        xattrs,
    })
}
