//! The whole product as its users meet it: the binary, real mounts, and remotes of both kinds.

mod bad_input;
mod fidelity;
mod mounts;
mod output;
mod real_tools;
mod save;
mod support;
