//! Layers as released versions wrote them: every later version reads them.
//!
//! Each object is a save of the same tree: `numbers` (`seq 1 20000`), `link -> sub/a`, and `sub`
//! with `a` ("hello") and a hard link to it, `b`. All are of 1700000000.

use std::sync::Arc;

use bytes::Bytes;

use super::{Layer, ROOT};
use crate::id::LayerId;
use crate::stack::squash_layers;

const VERSION_1: (&str, &[u8]) = (
    "d3d0d25c8dfca430b70e994aef091c881d809db0896dd268179a36915c12d7e7",
    include_bytes!("version-1.layer"),
);

const VERSION_2: (&str, &[u8]) = (
    "02f57c6f1f2ae37560dfe1f4879fd5a556d4991bc80ec1a2457038804a6b26c8",
    include_bytes!("version-2.layer"),
);

fn open_golden((id, object): (&str, &'static [u8])) -> Layer {
    let id: LayerId = id.parse().unwrap();
    let layer = Layer::open(id, Bytes::from_static(object)).unwrap();
    layer.verify().unwrap();
    layer
}

/// The assertions that hold for all golden layers.
fn check_tree(layer: &Layer) {
    let summary = layer.summary();
    assert_eq!((summary.files, summary.entries), (2, 5));
    assert_eq!((summary.whiteouts, summary.bytes), (0, 108_894 + 6));
    let names = |directory| {
        let dirents = layer.children(directory).unwrap().unwrap();
        let entries = dirents.map(|dirent| layer.entry(directory, dirent).unwrap());
        entries
            .map(|(name, inode)| (String::from_utf8(name.to_vec()).unwrap(), inode.unwrap()))
            .collect::<Vec<_>>()
    };
    let top = names(ROOT);
    let listed: Vec<_> = top.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(listed, ["link", "numbers", "sub"]);
    assert_eq!(layer.symlink_target(top[0].1).unwrap(), b"sub/a");
    let numbers = layer.inode(top[1].1).unwrap();
    assert_eq!(
        (numbers.size.get(), numbers.mtime.get()),
        (108_894, 1_700_000_000)
    );
    let pieces: Vec<_> = layer.pieces(top[1].1, 0..108_894).unwrap().collect();
    assert_eq!(pieces.last().unwrap().as_ref().unwrap().end, 108_894);
    let below = names(top[2].1);
    assert_eq!(below[0].1, below[1].1);
    assert_eq!(layer.inode(below[0].1).unwrap().links.get(), 2);
}

#[test]
fn version_1_is_read_and_vouches_for_no_trailer() {
    let layer = open_golden(VERSION_1);
    check_tree(&layer);
    let packs = layer.packs().unwrap();
    assert_eq!(packs.len(), 1);
    assert_eq!(packs[0].id.to_string(), "26065dc850cd020ad4eff33af006e7e0");
    assert_eq!((packs[0].length, packs[0].hash), (27_210, None));
}

#[test]
fn version_2_has_the_hash_of_each_trailer() {
    let layer = open_golden(VERSION_2);
    check_tree(&layer);
    let packs = layer.packs().unwrap();
    assert_eq!(packs.len(), 1);
    assert_eq!(packs[0].id.to_string(), "55634deac99c9ef569b1a3f0062cc640");
    assert_eq!((packs[0].length, packs[0].trailer), (27_210, 27_038));
    let hash = packs[0].hash.unwrap().to_string();
    assert_eq!(
        hash,
        "786060c990ecf0168e825d4bb4aac20a6b6ef9f67b2b2e9b5cec3b91ea1fc4cf"
    );
}

#[test]
fn a_version_that_is_not_known_is_not_damage() {
    let mut object = VERSION_2.1.to_vec();
    object[7] = b'9';
    let error = Layer::open(LayerId::of(&object), object.into()).unwrap_err();
    assert!(matches!(error, crate::Error::Unsupported { .. }), "{error}");
}

#[test]
fn squashing_carries_hashes_along_and_invents_none() {
    let layers: Vec<_> = [VERSION_1, VERSION_2].map(open_golden).map(Arc::new).into();
    for (parts, expected) in [
        (&layers[..1], None),
        (&layers[1..], layers[1].packs().unwrap()[0].hash),
    ] {
        let built = squash_layers(parts, true).unwrap();
        let squashed = Layer::open(built.id, built.bytes).unwrap();
        check_tree(&squashed);
        assert_eq!(squashed.packs().unwrap()[0].hash, expected);
    }
    // Both together: the upper one's files are left, and its pack.
    let built = squash_layers(&layers, true).unwrap();
    let squashed = Layer::open(built.id, built.bytes).unwrap();
    assert_eq!(squashed.packs().unwrap(), layers[1].packs().unwrap());
}
