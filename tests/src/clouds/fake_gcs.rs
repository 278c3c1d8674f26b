//! `fake-gcs-server`, an emulator of Google Cloud Storage.

use std::net::TcpListener;

use anyhow::Result;
use cachefs_store::remote::RemoteSpec;

use super::BUCKET;
use super::process::Emulator;

/// A running `fake-gcs-server` with the bucket [`BUCKET`], stopped when dropped.
///
/// It accepts every token.
#[derive(Debug)]
pub struct FakeGcs(Emulator);

impl FakeGcs {
    /// Starts the program that `CACHEFS_TEST_FAKE_GCS` names, or the one in `PATH`.
    ///
    /// `None` when there is none in `PATH`; one that is named must be there.
    pub fn start() -> Result<Option<Self>> {
        // It does not tell the port that it was given by the kernel.
        let port = TcpListener::bind("127.0.0.1:0")?
            .local_addr()?
            .port()
            .to_string();
        let host = format!("127.0.0.1:{port}");
        let arguments = [
            "-scheme",
            "http",
            "-host",
            "127.0.0.1",
            "-port",
            &port,
            "-public-host",
            &host,
            "-backend",
            "memory",
        ];
        let ready = "server started at http://";
        let program = "fake-gcs-server";
        let started = Emulator::start("CACHEFS_TEST_FAKE_GCS", program, &arguments, ready)?;
        let Some(emulator) = started else {
            return Ok(None);
        };
        let json = "Content-Type: application/json\r\n";
        let bucket = format!("{{\"name\":\"{BUCKET}\"}}");
        emulator.request("POST", "/storage/v1/b?project=test", json, &bucket)?;
        Ok(Some(Self(emulator)))
    }

    /// The server's address, as `http://host:port`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.0.address)
    }

    /// How to reach a prefix of the bucket.
    pub fn spec(&self, prefix: &str) -> RemoteSpec {
        let token = ("GOOGLE_OAUTH_ACCESS_TOKEN".to_owned(), "token".to_owned());
        RemoteSpec {
            url: format!("gs://{BUCKET}/{prefix}"),
            endpoint: Some(self.endpoint()),
            env: [token].into_iter().collect(),
            ..RemoteSpec::default()
        }
    }
}
