//! An address that refuses every connection.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// A reserved port on loopback. The socket is bound but does not listen, so connections are refused
/// and no other test can take the port.
#[derive(Debug)]
pub struct Nobody {
    _bound: OwnedFd,
    address: SocketAddr,
}

impl Nobody {
    /// Reserves a free port.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn new() -> io::Result<Self> {
        let socket = rustix::net::socket_with(
            AddressFamily::INET,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        rustix::net::bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = rustix::net::getsockname(&socket)?.try_into()?;
        Ok(Self {
            _bound: socket,
            address,
        })
    }

    /// The address as `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The address as `http://host:port`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}
