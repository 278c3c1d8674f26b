//! Google Cloud Storage and Azure: failures, and the identity that sends the requests.

use std::time::Duration;

use bytes::Bytes;
use cachefs_store::Hint;
use cachefs_store::remote::{
    Environment, ObjectKey, PutMode, RemoteError, RemoteErrorKind, RemoteSpec, RetryPolicy,
    open_remote,
};
use cachefs_tests::clouds::{Azurite, Stub};
use cachefs_tests::nobody::Nobody;
use cachefs_tests::s3::{Fault, Rule, S3Options, S3Server, TOKEN};

const BODY: &[u8] = b"sixteen bytes ok";

fn policy() -> RetryPolicy {
    RetryPolicy {
        deadline: Duration::from_secs(5),
        attempt: Duration::from_secs(2),
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(20),
        ..RetryPolicy::default()
    }
}

fn key() -> ObjectKey {
    ObjectKey::new("packs/one")
}

async fn write(spec: &RemoteSpec) -> Result<(), RemoteError> {
    let remote = open_remote(spec, policy()).unwrap().remote;
    let body = Bytes::from_static(BODY);
    remote.put(&key(), body, PutMode::Overwrite).await
}

fn google() -> S3Server {
    S3Server::start_with(S3Options {
        google: true,
        ..S3Options::default()
    })
    .unwrap()
}

fn env(variables: &[(&str, &str)]) -> Environment {
    variables
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

#[tokio::test]
async fn failures_of_google_are_told_apart_and_tried_again_by_us_alone() {
    let server = google();
    let spec = server.google_spec("cache");
    write(&spec).await.unwrap();
    let remote = open_remote(&spec, policy()).unwrap().remote;
    for (status, kind) in [
        (401, RemoteErrorKind::Denied),
        (403, RemoteErrorKind::Denied),
        (404, RemoteErrorKind::NotFound),
        (501, RemoteErrorKind::Invalid),
    ] {
        server.faults().clear();
        server.faults().reset_counts();
        server.faults().inject(Rule::new(Fault::Status(status)));
        let error = remote.get(&key(), 1 << 30).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{status}");
        assert_eq!(server.faults().counts().total(), 1, "{status}");
    }
    for fault in [
        Fault::Status(429),
        Fault::Status(503),
        Fault::Disconnect,
        Fault::Truncate(5),
    ] {
        server.faults().clear();
        server.faults().reset_counts();
        server.faults().inject(Rule::new(fault).times(2));
        let read = remote.get(&key(), 1 << 30).await.unwrap();
        assert_eq!(&read[..], BODY, "{fault:?}");
        assert_eq!(server.faults().counts().total(), 3, "{fault:?}");
    }
    server.faults().clear();
    server.faults().inject(Rule::new(Fault::Hang).times(1));
    let spec = server.google_spec("cache");
    let hasty = RetryPolicy {
        attempt: Duration::from_millis(200),
        ..policy()
    };
    let read = open_remote(&spec, hasty)
        .unwrap()
        .remote
        .get(&key(), 1 << 30)
        .await;
    assert_eq!(&read.unwrap()[..], BODY);
}

#[tokio::test]
async fn a_lost_answer_to_a_conditional_write_is_looked_into() {
    let server = google();
    let remote = open_remote(&server.google_spec(""), policy())
        .unwrap()
        .remote;
    server
        .faults()
        .inject(Rule::new(Fault::LoseAnswer).method("PUT").times(1));
    let body = Bytes::from_static(BODY);
    remote.put(&key(), body, PutMode::IfAbsent).await.unwrap();
}

#[tokio::test]
async fn a_bucket_or_container_that_is_not_there_is_not_an_empty_cache() {
    let server = google();
    let spec = RemoteSpec {
        url: "gs://absent/cache".into(),
        ..server.google_spec("")
    };
    let mut specs = vec![spec];
    let azurite = Azurite::start().unwrap();
    match &azurite {
        Some(azurite) => specs.push(RemoteSpec {
            url: "az://absent/cache".into(),
            ..azurite.spec("", Azurite::key())
        }),
        None => println!("skipped in part: azurite-blob is not installed"),
    }
    for spec in specs {
        let remote = open_remote(&spec, policy()).unwrap().remote;
        let put = write(&spec).await.unwrap_err();
        let list = remote.list("refs/a").await.unwrap_err();
        for error in [put, list] {
            assert_eq!(error.kind(), RemoteErrorKind::NoRemote, "{error:?}");
            assert!(hint_text(&error).starts_with("create the"), "{error:?}");
        }
        let delete = remote.delete(&key()).await;
        assert_ne!(delete.map_err(|error| error.kind()), Ok(()), "{}", spec.url);
    }
}

#[tokio::test]
async fn an_azure_key_that_is_wrong_is_denied_and_not_shown() {
    let Some(server) = Azurite::start().unwrap() else {
        cachefs_skip::skip(
            "azure",
            "azurite-blob is not installed (or name it in CACHEFS_TEST_AZURITE)",
        );
        return;
    };
    let account = Azurite::key()[0];
    for (variable, value) in [
        ("AZURE_STORAGE_KEY", "aHVudGVyMg=="),
        ("AZURE_STORAGE_KEY", "hunter2, not base64"),
        ("AZURE_STORAGE_SAS_TOKEN", "sv=2021-12-02&sig=hunter2"),
    ] {
        let spec = server.spec("", [account, (variable, value)]);
        let remote = open_remote(&spec, policy()).unwrap().remote;
        for error in [
            remote.get(&key(), 1 << 30).await.unwrap_err(),
            remote.delete(&key()).await.unwrap_err(),
            remote.list("x").await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), RemoteErrorKind::Denied, "{error:?}");
            let text = format!("{error:?}");
            assert!(
                !text.contains("hunter2") && !text.contains("aHVud"),
                "{text}"
            );
        }
    }
    // Denied deletions must fail too, even where reads are allowed.
    let spec = RemoteSpec {
        env: env(&[
            account,
            (
                "AZURE_STORAGE_CONNECTION_STRING",
                &server.connection_string().1,
            ),
        ]),
        endpoint: None,
        ..server.spec("", Azurite::key())
    };
    write(&spec).await.unwrap();
}

/// Uses a stub, because a page has 5000 objects and an emulator takes a minute to write them.
#[tokio::test]
async fn listings_of_azure_go_on_after_a_page() {
    let stub = Stub::start().unwrap();
    let page = |name: &str, next: &str| {
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults ServiceEndpoint=\"x\" \
             ContainerName=\"cache\"><Prefix>x/refs/</Prefix><Blobs><Blob><Name>x/refs/{name}</Name>\
             <Properties><Last-Modified>Mon, 01 Jan 2024 00:00:00 GMT</Last-Modified>\
             <Etag>1</Etag><Content-Length>7</Content-Length>\
             <Content-Type>application/octet-stream</Content-Type></Properties></Blob></Blobs>\
             <NextMarker>{next}</NextMarker></EnumerationResults>"
        )
    };
    stub.answer("marker=2%21more", 200, page("b", ""));
    stub.answer("comp=list", 200, page("a", "2!more"));
    let spec = RemoteSpec {
        url: "az://cache/x".into(),
        endpoint: Some(format!("{}/acme", stub.endpoint())),
        env: env(&[
            ("AZURE_STORAGE_ACCOUNT", "acme"),
            ("AZURE_STORAGE_KEY", "a2V5"),
        ]),
        ..RemoteSpec::default()
    };
    let remote = open_remote(&spec, policy()).unwrap().remote;
    let listed = remote.list("refs/").await.unwrap();
    let names = listed
        .iter()
        .map(|object| (object.key.as_str(), object.size));
    assert_eq!(names.collect::<Vec<_>>(), [("refs/a", 7), ("refs/b", 7)]);
    assert_eq!(stub.asked().len(), 2);
}

#[tokio::test]
async fn without_credentials_the_user_is_told_which() {
    for (spec, hint) in [
        ("gs://bucket/x", "GOOGLE_APPLICATION_CREDENTIALS"),
        ("az://container/x", "AZURE_STORAGE_KEY"),
    ] {
        let spec = RemoteSpec {
            url: spec.into(),
            account: spec.starts_with("az").then(|| "acme".into()),
            ..RemoteSpec::default()
        };
        let error = write(&spec).await.unwrap_err();
        assert_eq!(error.kind(), RemoteErrorKind::Denied, "{error:?}");
        assert!(hint_text(&error).contains(hint), "{error:?}");
    }
}

#[tokio::test]
async fn googles_metadata_server_gives_a_token_once() {
    let (server, metadata) = (google(), Stub::start().unwrap());
    let answer = format!(r#"{{"access_token":"{TOKEN}","expires_in":3599,"token_type":"Bearer"}}"#);
    metadata.answer("service-accounts/default/token", 200, answer);
    let spec = RemoteSpec {
        env: env(&[("GCE_METADATA_HOST", &metadata.address())]),
        ..server.google_spec("")
    };
    let remote = open_remote(&spec, policy()).unwrap().remote;
    let puts = (0..8).map(|_| {
        let remote = remote.clone();
        let body = Bytes::from_static(BODY);
        tokio::spawn(async move { remote.put(&key(), body, PutMode::Overwrite).await })
    });
    for put in puts.collect::<Vec<_>>() {
        put.await.unwrap().unwrap();
    }
    assert_eq!(metadata.asked().len(), 1);
    assert_eq!(metadata.asked()[0].headers["metadata-flavor"], "Google");
}

/// Configured as by Google's GitHub action, and from a file.
#[tokio::test]
async fn a_workload_identity_is_exchanged_for_a_service_account() {
    let (server, stub) = (google(), Stub::start().unwrap());
    let at = stub.endpoint();
    stub.answer("GET /oidc", 200, r#"{"value":"jwt"}"#);
    stub.answer(
        "POST /sts",
        200,
        r#"{"access_token":"pool","expires_in":3600}"#,
    );
    let last = format!(r#"{{"accessToken":"{TOKEN}","expireTime":"2099-01-01T00:00:00Z"}}"#);
    stub.answer(":generateAccessToken", 200, last);
    let dir = tempfile::tempdir().unwrap();
    let (file, token) = (dir.path().join("adc.json"), dir.path().join("token"));
    std::fs::write(&token, "jwt\n").unwrap();
    let sources = [
        format!(
            r#"{{"url":"{at}/oidc?audience=x","headers":{{"Authorization":"Bearer ci"}},
            "format":{{"type":"json","subject_token_field_name":"value"}}}}"#
        ),
        format!(r#"{{"file":"{}"}}"#, token.display()),
    ];
    for source in &sources {
        let text = format!(
            r#"{{"type":"external_account","audience":"//iam/pool",
            "subject_token_type":"urn:ietf:params:oauth:token-type:jwt","token_url":"{at}/sts",
            "service_account_impersonation_url":"{at}/sa:generateAccessToken",
            "credential_source":{source}}}"#
        );
        std::fs::write(&file, text).unwrap();
        let spec = RemoteSpec {
            env: env(&[("GOOGLE_APPLICATION_CREDENTIALS", file.to_str().unwrap())]),
            ..server.google_spec("")
        };
        write(&spec).await.unwrap();
    }
    let asked = stub.asked();
    assert_eq!(asked.len(), 5);
    assert_eq!(asked[0].headers["authorization"], "Bearer ci");
    assert!(asked[1].body.contains("subject_token=jwt&"), "{asked:?}");
    assert!(asked[1].body.contains("audience=%2F%2Fiam%2Fpool"));
    assert_eq!(asked[2].headers["authorization"], "Bearer pool");
}

#[tokio::test]
async fn azure_identities_ask_for_tokens_as_they_should() {
    let stub = Stub::start().unwrap();
    let answer = r#"{"access_token":"entra","expires_in":3600,"expires_on":"4070908800"}"#;
    stub.answer("oauth2/v2.0/token", 200, answer);
    stub.answer("GET /msi", 200, answer);
    stub.answer(
        "PUT /acme/cache/",
        403,
        "<Error><Code>AuthorizationPermissionMismatch</Code></Error>",
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "federated").unwrap();
    let authority = format!("{}/", stub.endpoint());
    let principal = [
        ("AZURE_CLIENT_ID", "client"),
        ("AZURE_TENANT_ID", "tenant"),
        ("AZURE_AUTHORITY_HOST", authority.as_str()),
    ];
    let msi = format!("{}/msi", stub.endpoint());
    let federated = file.path().to_str().unwrap();
    for (variable, value, expected) in [
        ("AZURE_CLIENT_SECRET", "secret", "client_secret=secret"),
        (
            "AZURE_FEDERATED_TOKEN_FILE",
            federated,
            "client_assertion=federated",
        ),
        (
            "IDENTITY_ENDPOINT",
            msi.as_str(),
            "resource=https%3A%2F%2Fstorage.azure.com",
        ),
    ] {
        let principal = match variable {
            "IDENTITY_ENDPOINT" => &[][..],
            _ => &principal[..],
        };
        let spec = RemoteSpec {
            url: "az://cache/x".into(),
            account: Some("acme".into()),
            endpoint: Some(format!("{}/acme", stub.endpoint())),
            env: env(&[principal, &[(variable, value)]].concat()),
            ..RemoteSpec::default()
        };
        let before = stub.asked().len();
        let error = write(&spec).await.unwrap_err();
        assert_eq!(error.kind(), RemoteErrorKind::Denied, "{error:?}");
        assert!(hint_text(&error).contains("Storage Blob Data Contributor"));
        let asked = &stub.asked()[before..];
        assert_eq!(asked.len(), 2, "{asked:?}");
        let token = format!("{} {}", asked[0].line, asked[0].body);
        assert!(token.contains(expected), "{token}");
        assert_eq!(asked[1].headers["authorization"], "Bearer entra");
    }
}

#[tokio::test]
async fn refused_credentials_are_denied_and_a_silent_giver_is_an_outage() {
    let (server, stub) = (google(), Stub::start().unwrap());
    stub.answer("default/token", 404, "no such account");
    let at = |host: &str| RemoteSpec {
        env: env(&[("GCE_METADATA_HOST", host)]),
        ..server.google_spec("")
    };
    let error = write(&at(&stub.address())).await.unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::Denied, "{error:?}");

    let nobody = Nobody::new().unwrap();
    let hasty = RetryPolicy::with_deadline(Duration::from_millis(300));
    let remote = open_remote(&at(&nobody.address()), hasty).unwrap().remote;
    let error = remote.get(&key(), 1 << 30).await.unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::Deadline, "{error:?}");
}

fn hint_text(error: &RemoteError) -> String {
    match error.hint() {
        Some(Hint::Text(text)) => text.clone(),
        other => format!("{other:?}"),
    }
}
