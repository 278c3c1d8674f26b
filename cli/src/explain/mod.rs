//! Explains a miss by similar keys and their differences.
//!
//! Records contain the inputs of their keys. [`compare`] compares those with the inputs of the
//! missing key and finds the file or variable that differs. [`nearest_keys`] picks the keys of a
//! remote that are worth comparing, with few requests. [`miss`] creates the report of `explain`,
//! and [`miss_line`] the line that `restore` adds to a miss.

mod compare;
mod key_similarity;
mod miss;
mod miss_line;
mod nearest_keys;
mod print;

pub(crate) use miss::{Explanation, Question, explain_restore};
pub(crate) use miss_line::{of_match, of_miss};
pub(crate) use print::print_explanation;
