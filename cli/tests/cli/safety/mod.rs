//! Limits on hostile jobs, layers and neighbours, and on failures around the cache.

mod credentials;
mod failures;
mod mounts;
mod privileges;
mod shares;
mod tenants;
