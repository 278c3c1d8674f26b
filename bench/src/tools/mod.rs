//! The programs under comparison.

pub(crate) mod cachefs;
pub(crate) mod child;
pub(crate) mod json_answer;
pub(crate) mod tar;
