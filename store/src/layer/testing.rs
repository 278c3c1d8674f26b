//! Invalid layers that no builder creates, to test that readers reject them.

use bytes::Bytes;

use super::BuiltLayer;
use super::builder::assemble_layer;
use super::reader::Layer;
use super::record::{ALL, SECTIONS};
use crate::id::LayerId;

/// Rebuilds a layer with changed tables; every hash in it is right.
pub(crate) fn rewrite_layer(
    layer: &Layer,
    change: impl FnOnce(&mut [Vec<u8>; SECTIONS]),
) -> BuiltLayer {
    let mut tables: [Vec<u8>; SECTIONS] = ALL.map(|section| layer.table(section));
    change(&mut tables);
    assemble_layer(tables.each_ref().map(Vec::as_slice), layer.summary()).unwrap()
}

/// The layer with a page that lies where another one does; its head has the hash it should.
pub(crate) fn overlap_pages(layer: &Layer) -> (LayerId, Bytes) {
    const FIXED: usize = 88;
    const PAGE: usize = 44;
    let mut object = layer.object().to_vec();
    let first = object[FIXED..FIXED + PAGE].to_vec();
    object[FIXED + PAGE..FIXED + 2 * PAGE].copy_from_slice(&first);
    let length = u32::from_le_bytes(object[8..12].try_into().unwrap()) as usize;
    (LayerId::of(&object[..length]), object.into())
}
