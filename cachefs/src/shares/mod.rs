//! Shares: sockets of the daemon beside its own, each for clients that may have one remote and a
//! few scopes of it, and nothing else.
//!
//! A share is for a container whose processes are not to be trusted with the store: its socket is
//! bind-mounted there. What a client may ask for is decided by the [`Grant`], in one place, before
//! any request is looked at; credentials stay with the daemon. A share is described by a
//! [`ShareDescription`] and a listening descriptor, from which another process can open it again.

mod grant;
mod open;
mod table;

pub use grant::{ClientGrant, Grant};
pub use open::open_share;
pub(crate) use table::{Gate, Owners, Share};
pub use table::{ShareDescription, ShareInfo, Shares};
