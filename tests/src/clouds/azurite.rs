//! Azurite, Microsoft's emulator of Azure Storage.

use anyhow::Result;
use cachefs_store::remote::RemoteSpec;

use super::BUCKET;
use super::process::Emulator;

/// The account that every Azurite has, and its key, which is public.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// Everything, signed with that key until 2099.
const SAS: &str = "sv=2021-12-02&ss=b&srt=sco&sp=rwdlac&se=2099-01-01T00%3A00%3A00Z\
    &sig=tznf%2BUguWwNe%2B7oTyobyNUc7TDthIuY2m9EdDOYdBvE%3D";

/// A running Azurite with the container [`BUCKET`], stopped when dropped.
#[derive(Debug)]
pub struct Azurite(Emulator);

impl Azurite {
    /// Starts the `azurite-blob` that `CACHEFS_TEST_AZURITE` names, or the one in `PATH`.
    ///
    /// `None` when there is none in `PATH`; one that is named must be there.
    pub fn start() -> Result<Option<Self>> {
        let arguments = [
            "--blobHost",
            "127.0.0.1",
            "--blobPort",
            "0",
            "--inMemoryPersistence",
            "--silent",
            "--disableTelemetry",
            // Clients may be newer than it.
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

    /// The account's address.
    pub fn endpoint(&self) -> String {
        format!("http://{}/{ACCOUNT}", self.0.address)
    }

    /// Variables with the account and its key.
    pub fn key() -> [(&'static str, &'static str); 2] {
        [
            ("AZURE_STORAGE_ACCOUNT", ACCOUNT),
            ("AZURE_STORAGE_KEY", KEY),
        ]
    }

    /// Variables with the account and a token that is good for everything in it.
    pub fn token() -> [(&'static str, &'static str); 2] {
        [
            ("AZURE_STORAGE_ACCOUNT", ACCOUNT),
            ("AZURE_STORAGE_SAS_TOKEN", SAS),
        ]
    }

    /// The variable that has the account, its key and the endpoint.
    pub fn connection_string(&self) -> (&'static str, String) {
        let endpoint = self.endpoint();
        let text = format!("AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={endpoint}/");
        ("AZURE_STORAGE_CONNECTION_STRING", text)
    }

    /// How to reach a prefix of the container, with the credentials in `variables`.
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
