//! Azurite, Microsoft's emulator of Azure Storage.

use anyhow::Result;
use cachefs_store::remote::RemoteSpec;

use super::BUCKET;
use super::process::Emulator;

/// The default account of every Azurite and its well-known key.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// An account SAS with all permissions, signed with that key and valid until 2099.
const SAS: &str = "sv=2021-12-02&ss=b&srt=sco&sp=rwdlac&se=2099-01-01T00%3A00%3A00Z\
    &sig=tznf%2BUguWwNe%2B7oTyobyNUc7TDthIuY2m9EdDOYdBvE%3D";

/// A running Azurite with the container [`BUCKET`], stopped on drop.
#[derive(Debug)]
pub struct Azurite(Emulator);

impl Azurite {
    /// Starts the `azurite-blob` named by `CACHEFS_TEST_AZURITE`, or the one in `PATH`.
    ///
    /// Returns `None` if there is none in `PATH`. If the variable names a program, the program must
    /// exist.
    pub fn start() -> Result<Option<Self>> {
        let arguments = [
            "--blobHost",
            "127.0.0.1",
            "--blobPort",
            "0",
            "--inMemoryPersistence",
            "--silent",
            "--disableTelemetry",
            // Clients may use a newer API version than this Azurite supports.
            "--skipApiVersionCheck",
        ];
        let ready = "listens on http://";
        let started = Emulator::start("CACHEFS_TEST_AZURITE", "azurite-blob", &arguments, ready)?;
        let Some(emulator) = started else {
            return Ok(None);
        };
        let container = format!("/{ACCOUNT}/{BUCKET}?restype=container&{SAS}");
        emulator.request("PUT", &container, "x-ms-version: 2021-12-02\r\n", "")?;
        Ok(Some(Self(emulator)))
    }

    /// The endpoint of the account.
    pub fn endpoint(&self) -> String {
        format!("http://{}/{ACCOUNT}", self.0.address)
    }

    /// Environment variables with the account and its key.
    pub fn key() -> [(&'static str, &'static str); 2] {
        [
            ("AZURE_STORAGE_ACCOUNT", ACCOUNT),
            ("AZURE_STORAGE_KEY", KEY),
        ]
    }

    /// Environment variables with the account and a SAS token with all permissions.
    pub fn token() -> [(&'static str, &'static str); 2] {
        [
            ("AZURE_STORAGE_ACCOUNT", ACCOUNT),
            ("AZURE_STORAGE_SAS_TOKEN", SAS),
        ]
    }

    /// The environment variable with a connection string: account, key and endpoint.
    pub fn connection_string(&self) -> (&'static str, String) {
        let endpoint = self.endpoint();
        let text = format!("AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={endpoint}/");
        ("AZURE_STORAGE_CONNECTION_STRING", text)
    }

    /// A remote at a prefix of the container, with the credentials in `variables`.
    pub fn spec(&self, prefix: &str, variables: [(&str, &str); 2]) -> RemoteSpec {
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        RemoteSpec {
            url: format!("az://{BUCKET}/{prefix}"),
            endpoint: Some(self.endpoint()),
            env: variables.into_iter().collect(),
            ..RemoteSpec::default()
        }
    }
}
