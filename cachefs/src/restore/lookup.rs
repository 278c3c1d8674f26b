//! Finds the result of a restore without restoring it.

use std::time::Instant;

use cachefs_store::restore::find_loss;

use super::options::RestoreOptions;
use super::report::{RestoreOutcome, RestoreReport, found_report, lost_report, miss_report};
use crate::error::{Error, Result};
use crate::store_dir::StoreDir;

/// Finds the stack that a restore with these options would show. Of this machine only the store
/// directory is touched, which keeps the layers that were looked at.
pub fn look_up(store: &StoreDir, options: &RestoreOptions) -> Result<RestoreReport> {
    let started = Instant::now();
    let session = options.session(store)?;
    let found = session.resolve(&options.wanted)?;
    let loss = session.block_on(find_loss(session.layers(), session.remote(), &found.layers))?;
    let path = std::path::absolute(&options.path).map_err(Error::io("find", &options.path))?;
    let traffic = session.traffic();
    let report = match loss {
        Some(why) => lost_report(path, found, why, traffic),
        None if found.is_miss() => miss_report(path, found, traffic),
        None => found_report(RestoreOutcome::Found, path, found, traffic),
    };
    Ok(RestoreReport {
        elapsed: started.elapsed(),
        ..report
    })
}
