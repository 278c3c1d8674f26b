//! Identity of a remote and of the client's credentials.
//!
//! Local copies of a remote are stored under its [`RemoteId`]. A remote at another address, or with
//! other credentials, has separate copies. Otherwise a bucket with a record and no data would be
//! served data that another tenant has fetched.

use std::fmt;
use std::io::Read as _;
use std::path::Path;

use super::spec::Environment;
use crate::id::{ClientId, PlaceId};

/// Names a remote as one client reaches it. Equal ids see the same objects with the same rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RemoteId {
    /// Which remote: server, bucket and prefix, or directory.
    pub place: PlaceId,
    /// The client's credentials.
    pub client: ClientId,
}

impl fmt::Display for RemoteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.place, self.client)
    }
}

impl RemoteId {
    /// Names a remote that anyone reaches in the same way: a directory, or one in a test.
    pub fn of_url(url: &str) -> Self {
        Self {
            place: IdentityFields::place().text("url", url).into_place(),
            client: IdentityFields::client().into_client(),
        }
    }
}

/// Collects the properties that distinguish remotes or clients. Secrets only enter the hash.
pub(super) struct IdentityFields(blake3::Hasher);

impl IdentityFields {
    pub(super) fn place() -> Self {
        Self(blake3::Hasher::new_derive_key("cachefs remote: place"))
    }

    pub(super) fn client() -> Self {
        Self(blake3::Hasher::new_derive_key("cachefs remote: client"))
    }

    fn bytes(mut self, name: &str, value: &[u8]) -> Self {
        for part in [name.as_bytes(), value] {
            self.0.update(&(part.len() as u64).to_le_bytes());
            self.0.update(part);
        }
        self
    }

    pub(super) fn text(self, name: &str, value: &str) -> Self {
        self.bytes(name, value.as_bytes())
    }

    /// A value that may be missing, which is another than an empty one.
    pub(super) fn option(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    /// Variables that are set.
    pub(super) fn variables(self, env: &Environment, names: &[&str]) -> Self {
        names
            .iter()
            .fold(self, |fields, name| fields.option(name, env.get(name)))
    }

    /// Adds the content of a credential file, because files of the same name may hold different
    /// keys in two containers.
    ///
    /// Only regular files are read. A pipe, such as `<(…)` of a shell, can be read only once, and
    /// the client needs its content; a pipe without a writer would block.
    pub(super) fn file(self, name: &str, path: &Path) -> Self {
        match read_regular(path) {
            Ok(bytes) => self.bytes(name, &bytes),
            Err(_) => self,
        }
    }

    fn finish(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.0.finalize_xof().fill(&mut bytes);
        bytes
    }

    pub(super) fn into_place(self) -> PlaceId {
        PlaceId(self.finish())
    }

    pub(super) fn into_client(self) -> ClientId {
        ClientId(self.finish())
    }
}

/// No credential file is larger.
const MAX_FILE: u64 = 1 << 20;

fn read_regular(path: &Path) -> std::io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::{RemoteSpec, RetryPolicy, open_remote};
    use super::*;

    fn id_of(url: &str, endpoint: Option<&str>, env: &[(&str, &str)]) -> RemoteId {
        let spec = RemoteSpec {
            url: url.to_owned(),
            endpoint: endpoint.map(str::to_owned),
            env: env
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            ..RemoteSpec::default()
        };
        open_remote(&spec, RetryPolicy::default())
            .unwrap()
            .remote
            .id()
    }

    const KEYS: [(&str, &str); 2] = [
        ("AWS_ACCESS_KEY_ID", "A"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
    ];

    #[test]
    fn server_bucket_and_prefix_tell_places_apart() {
        let place = |url, endpoint| id_of(url, endpoint, &KEYS).place;
        let here = place("s3://cache/team", Some("http://one:9000"));
        assert_eq!(here, place("s3://cache/team/", Some("http://one:9000")));
        for (url, endpoint) in [
            ("s3://cache/team", Some("http://two:9000")),
            ("s3://cache/team", None),
            ("s3://cache/other", Some("http://one:9000")),
            ("s3://cache", Some("http://one:9000")),
            ("s3://cach/e/team", Some("http://one:9000")),
            ("gs://cache/team", Some("http://one:9000")),
        ] {
            assert_ne!(here, place(url, endpoint), "{url} {endpoint:?}");
        }
        // The variable means the same as the option.
        let named = ("AWS_ENDPOINT_URL_S3", "http://one:9000");
        let with_variable = id_of("s3://cache/team", None, &[KEYS[0], KEYS[1], named]);
        assert_eq!(with_variable.place, here);
        assert_ne!(
            id_of("file:///srv/a", None, &[]),
            id_of("file:///srv/b", None, &[])
        );
    }

    #[test]
    fn credentials_tell_clients_apart() {
        let client = |env: &[(&str, &str)]| {
            let id = id_of("s3://cache", Some("http://one:9000"), env);
            (id.place, id.client)
        };
        let first = client(&KEYS);
        assert_eq!(first, client(&KEYS));
        let home = ("HOME", "/home/a");
        assert_eq!(first, client(&[KEYS[0], KEYS[1], home]));
        let mut clients = vec![first.1];
        for env in [
            vec![("AWS_ACCESS_KEY_ID", "B"), KEYS[1]],
            vec![KEYS[0], ("AWS_SECRET_ACCESS_KEY", "other")],
            vec![KEYS[0], KEYS[1], ("AWS_SESSION_TOKEN", "t")],
            vec![("AWS_ROLE_ARN", "r"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t")],
            vec![("AWS_ROLE_ARN", "s"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t")],
            vec![],
        ] {
            let (place, client) = client(&env);
            assert_eq!(place, first.0);
            assert!(!clients.contains(&client), "{env:?}");
            clients.push(client);
        }
    }

    #[test]
    fn a_renewed_token_is_the_same_client() {
        let env = |token| {
            [
                ("AWS_ROLE_ARN", "arn:aws:iam::1:role/ci"),
                ("AWS_WEB_IDENTITY_TOKEN", token),
            ]
        };
        let id = |token| id_of("s3://cache", None, &env(token));
        assert_eq!(id("monday"), id("tuesday"));
    }

    #[test]
    fn files_of_one_name_that_hold_different_keys_are_different_clients() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials");
        let id = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let file = ("AWS_SHARED_CREDENTIALS_FILE", path.to_str().unwrap());
            id_of("s3://cache", None, &[file])
        };
        let (first, second) = (id("[default]\nkey = a"), id("[default]\nkey = b"));
        assert_eq!(first.place, second.place);
        assert_ne!(first.client, second.client);
        assert_eq!(first, id("[default]\nkey = a"));
    }
}
