//! Containers of this machine, by the names that their engines have for them.

mod find;

pub use find::{Container, FindError, find_container};
