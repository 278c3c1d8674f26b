//! Layers that no builder would make, for tests of what readers do with them.

use super::BuiltLayer;
use super::builder::assemble;
use super::reader::Layer;
use super::record::{ALL, SECTIONS};

/// Rebuilds a layer with changed tables; every hash in it is right.
pub(crate) fn rewritten(
    layer: &Layer,
    change: impl FnOnce(&mut [Vec<u8>; SECTIONS]),
) -> BuiltLayer {
    let mut tables: [Vec<u8>; SECTIONS] = ALL.map(|section| layer.table(section));
    change(&mut tables);
    assemble(tables.each_ref().map(Vec::as_slice), layer.summary()).unwrap()
}
