//! Shares: additional sockets of the daemon, whose clients may use one remote and a few scopes of
//! it, and nothing else.
//!
//! A share is for a container whose processes must not access the store: its socket is bind-mounted
//! there. The [`Grant`] decides in one place, before a request is handled, what its clients may
//! request. Credentials stay with the daemon. A share consists of a [`ShareDescription`] and a
//! listening descriptor, from which another process can reopen it.

mod description;
mod grant;
mod open;
mod table;

pub use description::{ClientGrant, Grant, ShareDescription, ShareInfo};
pub use open::open_share;
pub use table::Shares;
pub(crate) use table::{Gate, Owners, Share};
