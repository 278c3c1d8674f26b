//! Microbenchmarks of the store's building blocks for saves and reads, on generated data.
//!
//! Run all with `cargo bench --bench micro`, or some with `cargo bench --bench micro -- lookup`.

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
