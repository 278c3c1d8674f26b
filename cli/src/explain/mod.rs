//! Why a key was not found: what is near to it, and what keeps it from being the same.
//!
//! Records hold what their keys were made of. [`compare`] holds those against the inputs of the key
//! that is missing and finds the very file or variable that differs; [`nearest`] chooses which of
//! the keys of a remote are worth that, with few requests; [`miss`] puts together what `explain`
//! tells, and [`brief`] the line that `restore` adds to a miss.

mod brief;
mod compare;
mod miss;
mod nearest;
mod print;
mod similar;

pub(crate) use brief::{of_match, of_miss};
pub(crate) use miss::{Explanation, Question, explain_restore};
pub(crate) use print::print_explanation;
