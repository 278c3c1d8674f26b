//! The parts of the store by themselves, on data that is made: what a save and a read are built of.
//!
//! `cargo bench --bench micro`, or a part of it with `cargo bench --bench micro -- lookup`.

mod chunks;
mod layers;
mod reads;
mod text;

use anyhow::Result;
use criterion::Criterion;

fn main() -> Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    chunks::measure(&mut criterion)?;
    layers::measure(&mut criterion)?;
    reads::measure(&mut criterion)?;
    criterion.final_summary();
    Ok(())
}
