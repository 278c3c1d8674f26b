//! An address at which every connection is refused.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

/// A port of loopback on which nobody listens, nor any other test can while this one has it.
#[derive(Debug)]
pub struct Nobody {
    _bound: OwnedFd,
    address: SocketAddr,
}

impl Nobody {
    /// Takes a free port.
    ///
    /// # Errors
    ///
    /// When there is none.
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

    /// As `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// As `http://host:port`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}
