//! Secrets in files that are about to be saved: whoever can restore a cache can read them.
//!
//! Three things are looked for, while the bytes are in memory for the save anyway:
//!
//! - what tells by its form that it is a secret: tokens, private keys, signed URLs ([`tokens`],
//!   [`pem`], [`signed`], [`jwt`]). One pass finds every prefix, and each hit is then checked
//!   precisely;
//! - what tells by its place: passwords and tokens in the files where tools keep them ([`places`]);
//! - the values of variables that the user names ([`named`]).
//!
//! Everything here is pure: names and bytes in, [`Hit`]s out. Whether a file is part of a published
//! package ([`packages`]) and what becomes of it is decided where the tree is known, in
//! [`crate::save`].
//!
//! No part of a secret ever leaves this module: a hit is a place and a kind.

mod allow;
mod finding;
mod jwt;
mod kind;
mod named;
mod packages;
mod pem;
mod places;
mod scanner;
mod signed;
mod text;
mod tokens;

pub use finding::{Fate, Finding, Hit};
pub use kind::Kind;
pub use named::Variable;
pub(crate) use packages::{Names, is_published};
pub use places::is_place;
pub use scanner::{Part, Policy, Scanner, SetupError};
