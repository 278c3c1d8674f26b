//! AWS roles, and the S3 settings for objects that we write.

use bytes::Bytes;
use cachefs_store::remote::{
    Environment, ObjectKey, PutMode, RemoteError, RemoteErrorKind, RemoteSpec, RetryPolicy,
    open_remote,
};
use cachefs_tests::clouds::Stub;
use cachefs_tests::nobody::Nobody;
use cachefs_tests::s3::{ACCESS_KEY, Moto, S3Server, SECRET_KEY};

const ARN: &str = "arn:aws:iam::123456789012:role/ci";

async fn write(spec: &RemoteSpec) -> Result<(), RemoteError> {
    let remote = open_remote(spec, RetryPolicy::default()).unwrap().remote;
    let body = Bytes::from_static(b"body");
    let key = ObjectKey::new("packs/one");
    remote.put(&key, body, PutMode::Overwrite).await
}

fn env(variables: &[(&str, &str)]) -> Environment {
    variables
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

/// A token service that returns the keys of the server.
fn token_service() -> Stub {
    let stub = Stub::start().unwrap();
    let answer = |action: &str| {
        format!(
            "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>\
             <Credentials><AccessKeyId>{ACCESS_KEY}</AccessKeyId>\
             <SecretAccessKey>{SECRET_KEY}</SecretAccessKey><SessionToken>session</SessionToken>\
             <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
             </{action}Result></{action}Response>"
        )
    };
    // One body works for both, because the client looks only for its own result.
    let both = ["AssumeRole", "AssumeRoleWithWebIdentity"].map(answer);
    stub.answer("POST /web", 200, both[1].clone());
    stub.answer("POST /", 200, both[0].clone());
    stub
}

#[tokio::test]
async fn a_role_is_assumed_with_other_keys() {
    let (server, sts) = (S3Server::start().unwrap(), token_service());
    let spec = RemoteSpec {
        role_arn: Some(ARN.into()),
        external_id: Some("acme".into()),
        role_session_name: Some("build-7".into()),
        env: env(&[
            ("AWS_ACCESS_KEY_ID", "other"),
            ("AWS_SECRET_ACCESS_KEY", "other"),
            ("AWS_ENDPOINT_URL_STS", &sts.endpoint()),
        ]),
        ..server.spec("cache")
    };
    write(&spec).await.unwrap();
    write(&spec).await.unwrap();
    let asked = &sts.asked()[0];
    for part in [
        "Action=AssumeRole&",
        "role%2Fci",
        "ExternalId=acme",
        "RoleSessionName=build-7",
    ] {
        assert!(asked.body.contains(part), "{asked:?}");
    }
    assert!(asked.headers["authorization"].contains("Credential=other/"));
    let sent = server.faults().last_put();
    assert_eq!(sent["x-amz-security-token"], "session");

    let without = RemoteSpec {
        role_arn: None,
        external_id: None,
        role_session_name: None,
        ..spec
    };
    let error = write(&without).await.unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::Denied);
}

#[tokio::test]
async fn a_token_of_another_provider_is_exchanged_for_a_role() {
    let (server, sts) = (S3Server::start().unwrap(), token_service());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "header.payload.signature\n").unwrap();
    let endpoint = format!("{}/web", sts.endpoint());
    let from_file = [
        ("AWS_ENDPOINT_URL_STS", endpoint.as_str()),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", file.path().to_str().unwrap()),
        ("AWS_ROLE_ARN", ARN),
    ];
    let spec = RemoteSpec {
        env: env(&from_file),
        ..server.spec("cache")
    };
    write(&spec).await.unwrap();
    // The role may be an option while the token comes from a variable.
    let spec = RemoteSpec {
        role_arn: Some(ARN.into()),
        env: env(&[
            from_file[0],
            ("AWS_WEB_IDENTITY_TOKEN", "header.payload.signature"),
        ]),
        ..server.spec("cache")
    };
    write(&spec).await.unwrap();
    assert_eq!(sts.asked().len(), 2);
    for asked in sts.asked() {
        for part in [
            "Action=AssumeRoleWithWebIdentity&",
            "WebIdentityToken=header.payload.signature",
            "role%2Fci",
            "RoleSessionName=cachefs",
        ] {
            assert!(asked.body.contains(part), "{asked:?}");
        }
        assert!(!asked.headers.contains_key("authorization"), "{asked:?}");
    }
}

#[tokio::test]
async fn a_role_that_is_refused_is_denied_and_a_silent_service_an_outage() {
    let server = S3Server::start().unwrap();
    let sts = Stub::start().unwrap();
    let refusal = "<ErrorResponse><Error><Code>AccessDenied</Code>\
        <Message>not yours</Message></Error></ErrorResponse>";
    sts.answer("POST /", 403, refusal);
    let keys = [
        ("AWS_ACCESS_KEY_ID", "other"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
    ];
    let at = |endpoint: &str| RemoteSpec {
        role_arn: Some(ARN.into()),
        env: env(&[keys[0], keys[1], ("AWS_ENDPOINT_URL_STS", endpoint)]),
        ..server.spec("cache")
    };
    let error = write(&at(&sts.endpoint())).await.unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::Denied, "{error:?}");
    assert!(!format!("{error:?}").contains("hunter2"));

    let nobody = Nobody::new().unwrap();
    let hasty = RetryPolicy::with_deadline(std::time::Duration::from_millis(300));
    let remote = open_remote(&at(&nobody.endpoint()), hasty).unwrap().remote;
    let error = remote
        .get(&ObjectKey::new("packs/one"), 1 << 30)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::Deadline, "{error:?}");
}

#[tokio::test]
async fn objects_are_written_as_asked() {
    let server = S3Server::start().unwrap();
    write(&server.spec("cache")).await.unwrap();
    let plain = server.faults().last_put();
    let names = [
        "x-amz-server-side-encryption",
        "x-amz-server-side-encryption-aws-kms-key-id",
        "x-amz-acl",
        "x-amz-storage-class",
    ];
    assert!(!names.iter().any(|name| plain.contains_key(*name)));

    let key = "arn:aws:kms:eu-west-1:123456789012:key/k";
    let spec = RemoteSpec {
        sse: Some(format!("aws:kms:{key}")),
        acl: Some("bucket-owner-full-control".into()),
        storage_class: Some("STANDARD".into()),
        ..server.spec("cache")
    };
    write(&spec).await.unwrap();
    let sent = server.faults().last_put();
    let expected = ["aws:kms", key, "bucket-owner-full-control", "STANDARD"];
    assert_eq!(names.map(|name| sent[name].as_str()), expected);

    let spec = RemoteSpec {
        sse: Some("AES256".into()),
        ..server.spec("cache")
    };
    write(&spec).await.unwrap();
    assert_eq!(server.faults().last_put()[names[0]], "AES256");
}

#[tokio::test]
async fn moto_gives_roles_and_takes_encryption() {
    let Some(server) = Moto::start().unwrap() else {
        cachefs_skip::skip(
            "s3",
            "moto_server is not installed (or name it in CACHEFS_TEST_MOTO)",
        );
        return;
    };
    let base = server.spec("cache");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "header.payload.signature").unwrap();
    let endpoint = server.endpoint();
    let service = ("AWS_ENDPOINT_URL_STS", endpoint.as_str());
    let keys = [
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
    ];
    let token = ("AWS_WEB_IDENTITY_TOKEN_FILE", file.path().to_str().unwrap());
    for variables in [vec![service, keys[0], keys[1]], vec![service, token]] {
        let spec = RemoteSpec {
            role_arn: Some(ARN.into()),
            sse: Some("AES256".into()),
            acl: Some("private".into()),
            env: env(&variables),
            ..base.clone()
        };
        write(&spec).await.unwrap();
    }
}
