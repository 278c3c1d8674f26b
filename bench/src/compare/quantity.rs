//! The measured quantities, in report order.

use crate::recorder::Quantity;

pub(super) const SAVE_FIRST: Quantity = Quantity::seconds("save v1");
pub(super) const SAVE_SECOND: Quantity = Quantity::seconds("save v2");
pub(super) const STORED: Quantity = Quantity::bytes("bytes stored by v1");
pub(super) const ADDED: Quantity = Quantity::bytes("bytes added by v2");
pub(super) const READY: Quantity = Quantity::seconds("restore until the directory can be used");
pub(super) const FIRST_FILE: Quantity =
    Quantity::seconds("restore, list the directory and read one file");
pub(super) const SINGLE: Quantity = Quantity::seconds("single steps after restore").apart();
pub(super) const FIND: Quantity =
    Quantity::seconds("find (list every directory, lstat every entry)");
pub(super) const READ_COLD: Quantity = Quantity::seconds("restore and read everything, 2 threads");
pub(super) const READ_COLD_ONE: Quantity =
    Quantity::seconds("restore and read everything, 1 thread");
pub(super) const READ_WARM: Quantity = Quantity::seconds("read everything again, 2 threads");
pub(super) const READ_WARM_ONE: Quantity = Quantity::seconds("read everything again, 1 thread");
pub(super) const COPY: Quantity = Quantity::seconds("restore to a plain directory");
pub(super) const MEMORY: Quantity = Quantity::bytes("peak memory").apart();

/// All quantities, in report order.
pub(super) const ORDER: [Quantity; 14] = [
    SAVE_FIRST,
    SAVE_SECOND,
    STORED,
    ADDED,
    READY,
    FIRST_FILE,
    SINGLE,
    FIND,
    READ_COLD,
    READ_COLD_ONE,
    READ_WARM,
    READ_WARM_ONE,
    COPY,
    MEMORY,
];
