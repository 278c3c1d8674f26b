//! Limits of a hostile job, layer and neighbour, and the effects of trouble around
//! the cache does not break.

mod credentials;
mod failures;
mod mounts;
mod privileges;
mod shares;
mod tenants;
