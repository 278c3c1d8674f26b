//! Runs the conformance suite on every kind of remote.

use cachefs_store::remote::conformance::{Expectations, run_conformance};
use cachefs_store::remote::{RemoteSpec, RetryPolicy, open_remote};
use cachefs_tests::clouds::Azurite;
use cachefs_tests::s3::{Moto, S3Options, S3Server};

async fn check(spec: RemoteSpec, expectations: Expectations) {
    let opened = open_remote(&spec, RetryPolicy::default()).unwrap();
    if let Err(failure) = run_conformance(&opened.remote, expectations).await {
        panic!("{}: {failure:?}", spec.url);
    }
    let traffic = opened.traffic();
    assert_eq!(
        (traffic.retries, traffic.errors),
        expected_trouble(),
        "{traffic:?}"
    );
}

/// Three reads past the end of an object, each retried like a damaged read.
fn expected_trouble() -> (u64, u64) {
    let tries = u64::from(RetryPolicy::default().damaged_attempts);
    // Two reads are too large; retrying them would not help.
    (3 * (tries - 1), 3 * tries + 2)
}

#[tokio::test]
async fn a_directory() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("not/yet/there");
    let spec = RemoteSpec {
        url: format!("file://{}", root.display()),
        ..RemoteSpec::default()
    };
    check(spec, Expectations::default()).await;
    // Neither objects nor temporary files are left.
    let left = std::fs::read_dir(root.join(".tmp")).unwrap().count();
    assert_eq!(left, 0);
}

/// `s3s-fs` stores metadata in a file whose name contains the base64 of the whole key.
const LONGEST_KEY_OF_S3S_FS: usize = 140;

#[tokio::test]
async fn s3() {
    let server = S3Server::start().unwrap();
    let expectations = Expectations {
        longest_key: LONGEST_KEY_OF_S3S_FS,
        ..Expectations::default()
    };
    check(server.spec(""), expectations).await;
    check(
        server.spec("team/cache"),
        Expectations {
            listed_objects: 10,
            ..expectations
        },
    )
    .await;
}

#[tokio::test]
async fn s3_that_ignores_conditions() {
    let server = S3Server::start_with(S3Options {
        ignore_conditions: true,
        ..S3Options::default()
    })
    .unwrap();
    let expectations = Expectations {
        honours_if_absent: false,
        listed_objects: 10,
        longest_key: LONGEST_KEY_OF_S3S_FS,
        ..Expectations::default()
    };
    check(server.spec("cache"), expectations).await;
}

#[tokio::test]
async fn moto() {
    let Some(server) = Moto::start().unwrap() else {
        cachefs_skip::skip(
            "s3",
            "moto_server is not installed (or name it in CACHEFS_TEST_MOTO)",
        );
        return;
    };
    check(server.spec("cache"), Expectations::default()).await;
}

#[tokio::test]
async fn google() {
    let server = S3Server::start_with(S3Options {
        google: true,
        ..S3Options::default()
    });
    let server = server.unwrap();
    let expectations = Expectations {
        longest_key: LONGEST_KEY_OF_S3S_FS,
        ..Expectations::default()
    };
    check(server.google_spec(""), expectations).await;
    let expectations = Expectations {
        listed_objects: 10,
        ..expectations
    };
    check(server.google_spec("team/cache"), expectations).await;
}

#[tokio::test]
async fn azure() {
    let Some(server) = Azurite::start().unwrap() else {
        cachefs_skip::skip(
            "azure",
            "azurite-blob is not installed (or name it in CACHEFS_TEST_AZURITE)",
        );
        return;
    };
    // Longer listings are slow, so they have a separate test.
    let expectations = Expectations {
        listed_objects: 100,
        ..Expectations::default()
    };
    check(server.spec("", Azurite::key()), expectations).await;
    check(server.spec("team/cache", Azurite::token()), expectations).await;
}

#[tokio::test]
async fn opening_an_s3_remote_makes_no_request() {
    let server = S3Server::start().unwrap();
    open_remote(&server.spec(""), RetryPolicy::default()).unwrap();
    assert_eq!(server.faults().counts().total(), 0);
}
