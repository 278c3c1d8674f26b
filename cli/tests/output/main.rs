//! Snapshots of the text and JSON output of the commands.
//!
//! A snapshot records the current wording, so that changes show up as a diff. It does not prove
//! that the wording is right; other tests cover the behaviour. After an intended change, run
//! `INSTA_UPDATE=always cargo test -p cachefs-cli` and review the diff.

#[cfg(test)]
mod errors;
#[cfg(test)]
mod glossary;
#[cfg(test)]
mod help;
#[cfg(test)]
mod json;
#[cfg(test)]
mod licences;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod redact;
#[cfg(test)]
mod session;
