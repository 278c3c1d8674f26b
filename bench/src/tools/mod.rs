//! The programs that are compared.

pub(crate) mod answer;
pub(crate) mod cachefs;
pub(crate) mod child;
pub(crate) mod tar;
