//! What a hostile job, a hostile layer and a hostile neighbour cannot do, and what trouble around
//! the cache does not break.

mod credentials;
mod failures;
mod mounts;
mod privileges;
mod shares;
mod tenants;
