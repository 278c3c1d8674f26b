//! The programs that are compared.

pub(crate) mod answer;
pub(crate) mod cachefs;
mod child;
pub(crate) mod tar;
