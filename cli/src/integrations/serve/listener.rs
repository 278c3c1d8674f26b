//! Listens on loopback or on a Unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context as _;
use cachefs::sys::socket::SocketFile;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::integrations::listen::listen_on;

/// An address to listen at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListenAddress {
    /// A loopback address and port; port 0 picks a free one.
    Tcp(SocketAddr),
    /// A Unix socket; only this user and root can connect.
    Unix(PathBuf),
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix://") {
            return Ok(Self::Unix(path.into()));
        }
        let text = text.replace("localhost:", "127.0.0.1:");
        let address: SocketAddr = text.parse().map_err(|_| {
            "expected HOST:PORT, such as 127.0.0.1:5000, or unix:///PATH".to_owned()
        })?;
        if !address.ip().is_loopback() {
            return Err(format!(
                "{} is reachable from other machines, and clients are not authenticated; use \
                 127.0.0.1:{} or unix:///PATH",
                address.ip(),
                address.port()
            ));
        }
        Ok(Self::Tcp(address))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// A listening socket.
pub(super) enum RegistryListener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

/// A connection of a client.
pub(super) enum ClientStream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl RegistryListener {
    /// Starts listening. Must be called on the runtime that will accept.
    pub(super) async fn bind(address: &ListenAddress) -> anyhow::Result<Self> {
        match address {
            ListenAddress::Tcp(address) => {
                let listener = TcpListener::bind(address).await;
                let listener = listener.with_context(|| format!("cannot listen at {address}"))?;
                Ok(Self::Tcp(listener))
            }
            ListenAddress::Unix(path) => {
                let (listener, file) = listen_on(path, "--listen")?;
                listener.set_nonblocking(true)?;
                Ok(Self::Unix(UnixListener::from_std(listener)?, file))
            }
        }
    }

    /// The address, with the actual port.
    pub(super) fn address(&self, asked: &ListenAddress) -> ListenAddress {
        match self {
            Self::Tcp(listener) => listener
                .local_addr()
                .map_or_else(|_| asked.clone(), ListenAddress::Tcp),
            Self::Unix(..) => asked.clone(),
        }
    }

    /// Waits for a connection.
    pub(super) async fn accept(&self) -> std::io::Result<ClientStream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // Responses are written as a whole, so Nagle's algorithm would only delay the
                // client.
                stream.set_nodelay(true)?;
                Ok(ClientStream::Tcp(stream))
            }
            Self::Unix(listener, _) => Ok(ClientStream::Unix(listener.accept().await?.0)),
        }
    }

    /// Removes the file of a Unix socket.
    pub(super) fn close(self) {
        if let Self::Unix(listener, file) = self {
            drop(listener);
            file.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_are_accepted() {
        for text in [
            "127.0.0.1:5000",
            "localhost:0",
            "[::1]:5000",
            "unix:///run/x.sock",
        ] {
            assert!(text.parse::<ListenAddress>().is_ok(), "{text}");
        }
        for text in [
            "0.0.0.0:5000",
            "[::]:1",
            "10.0.0.1:5000",
            "5000",
            "registry:5000",
        ] {
            assert!(text.parse::<ListenAddress>().is_err(), "{text}");
        }
    }
}
