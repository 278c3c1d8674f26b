//! Effects of a misbehaving S3 server on callers.

use std::error::Error;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cachefs_store::Hint;
use cachefs_store::check::{CheckOptions, Repaired, check_repository, repair_keys};
use cachefs_store::gc::{self, Condemned, Needs};
use cachefs_store::id::SaveId;
use cachefs_store::progress::Silent;
use cachefs_store::refs::{Creator, Key, Platform, RefName, RefRecord, Scope};
use cachefs_store::remote::{
    ObjectKey, OpenRemote, PutMode, RemoteError, RemoteErrorKind, RemoteSpec, RetryPolicy,
    open_remote,
};
use cachefs_tests::nobody::Nobody;
use cachefs_tests::s3::{Fault, Rule, S3Options, S3Server};

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

/// A server with one object, with the request counters at zero.
async fn server() -> (S3Server, OpenRemote) {
    let server = S3Server::start().unwrap();
    let opened = open_remote(&server.spec("cache"), policy()).unwrap();
    opened
        .remote
        .put(&key(), Bytes::from_static(BODY), PutMode::Overwrite)
        .await
        .unwrap();
    server.faults().reset_counts();
    (server, opened)
}

fn open_hasty(spec: &RemoteSpec, deadline: Duration) -> OpenRemote {
    open_remote(
        spec,
        RetryPolicy {
            deadline,
            ..policy()
        },
    )
    .unwrap()
}

/// An error with its chain of causes, as in a log.
fn chain(error: &RemoteError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[tokio::test]
async fn an_overloaded_server_is_asked_again() {
    let (server, opened) = server().await;
    for status in [429, 500, 503] {
        server
            .faults()
            .inject(Rule::new(Fault::Status(status)).times(1));
    }
    assert_eq!(opened.remote.get(&key(), 1 << 30).await.unwrap(), BODY);
    assert_eq!(
        (opened.traffic().retries, server.faults().counts().of("GET")),
        (3, 4)
    );
}

#[tokio::test]
async fn connections_that_close_are_made_again() {
    let (server, opened) = server().await;
    server
        .faults()
        .inject(Rule::new(Fault::Disconnect).times(2));
    assert_eq!(opened.remote.get(&key(), 1 << 30).await.unwrap(), BODY);
    assert_eq!(server.faults().counts().of("GET"), 3);
}

#[tokio::test]
async fn cut_answers_are_asked_for_again() {
    let (server, opened) = server().await;
    for fault in [Fault::Truncate(5), Fault::Shorten(5)] {
        server.faults().clear();
        server.faults().inject(Rule::new(fault).times(1));
        let range = opened.remote.get_range(&key(), 2..12).await.unwrap();
        assert_eq!(range, BODY[2..12], "{fault:?}");
    }
    server
        .faults()
        .inject(Rule::new(Fault::Truncate(3)).times(1));
    assert_eq!(opened.remote.get(&key(), 1 << 30).await.unwrap(), BODY);
    assert_eq!(opened.traffic().retries, 3);
}

#[tokio::test]
async fn damage_that_stays_is_reported_as_such_and_soon() {
    let (server, opened) = server().await;
    server.faults().inject(Rule::new(Fault::Shorten(5)));
    let error = opened.remote.get_range(&key(), 2..12).await.unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::Damaged);
    let tries = u64::from(RetryPolicy::default().damaged_attempts);
    assert_eq!(server.faults().counts().of("GET"), tries);
}

#[tokio::test]
async fn a_connection_that_always_breaks_off_is_an_outage() {
    let (server, _) = server().await;
    server.faults().inject(Rule::new(Fault::Truncate(5)));
    let opened = open_hasty(&server.spec("cache"), Duration::from_millis(300));
    let error = opened.remote.get(&key(), 1 << 30).await.unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::Deadline);
}

#[tokio::test]
async fn a_repair_during_an_outage_removes_no_key() {
    let (server, opened) = server().await;
    let name = RefName::new(Scope::new("main").unwrap(), Key::new("k").unwrap());
    let record = RefRecord::new(name, Vec::new(), Creator::default(), Platform::default());
    let (none, needs, now) = (Condemned::default(), Needs::default(), SaveId::now().micros);
    gc::publish_confirmed(&opened.remote, &record, &none, &needs, now)
        .await
        .unwrap();
    let listed = || async { opened.remote.list("refs/").await.unwrap().len() };
    let before = listed().await;
    // S3 returns a 400 if the key that encrypts the bucket is disabled. The others are a redirect,
    // an unsupported operation, and a proxy that truncates every response.
    for fault in [
        Fault::Status(400),
        Fault::Status(301),
        Fault::Status(501),
        Fault::Truncate(5),
    ] {
        server.faults().clear();
        let is_ref = Rule::new(fault).method("GET").key("refs/");
        server.faults().inject(is_ref);
        let hasty = open_hasty(&server.spec("cache"), Duration::from_millis(300));
        if let Ok(report) = check_repository(&hasty.remote, &CheckOptions::default(), &Silent).await
        {
            assert!(!report.findings.is_empty(), "{fault:?}");
            let repaired = repair_keys(&hasty.remote, &report).await.unwrap();
            assert_eq!(repaired, Repaired::default(), "{fault:?}");
        }
        server.faults().clear();
        assert_eq!(listed().await, before, "{fault:?}");
    }
}

#[tokio::test]
async fn a_flipped_bit_passes_because_only_the_caller_knows_the_hash() {
    let (server, opened) = server().await;
    server
        .faults()
        .inject(Rule::new(Fault::Corrupt(3)).times(1));
    let read = opened.remote.get(&key(), 1 << 30).await.unwrap();
    assert_eq!((read.len(), read[3] ^ 1), (BODY.len(), BODY[3]));
}

#[tokio::test]
async fn a_server_that_hangs_ends_with_the_deadline_and_the_cause() {
    let (server, _) = server().await;
    server.faults().inject(Rule::new(Fault::Hang));
    let policy = RetryPolicy {
        deadline: Duration::from_millis(700),
        attempt: Duration::from_millis(200),
        ..policy()
    };
    let opened = open_remote(&server.spec("cache"), policy).unwrap();
    let error = opened.remote.get(&key(), 1 << 30).await.unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::Deadline);
    assert!(
        chain(&error).contains("timed out after"),
        "{}",
        chain(&error)
    );
    // 200 ms, then 400 ms, then the rest of the 700 ms; fewer attempts on a loaded machine.
    assert!(
        (1..=3).contains(&opened.traffic().gets),
        "{:?}",
        opened.traffic()
    );
    assert_eq!(opened.traffic().errors, opened.traffic().gets);
}

#[tokio::test]
async fn one_attempt_that_hangs_is_given_up_for_another() {
    let (server, _) = server().await;
    server.faults().inject(Rule::new(Fault::Hang).times(1));
    let policy = RetryPolicy {
        attempt: Duration::from_millis(200),
        ..policy()
    };
    let opened = open_remote(&server.spec("cache"), policy).unwrap();
    assert_eq!(opened.remote.get(&key(), 1 << 30).await.unwrap(), BODY);
}

#[tokio::test]
async fn the_deadline_error_keeps_the_last_cause() {
    let (server, _) = server().await;
    server.faults().inject(Rule::new(Fault::Status(503)));
    let opened = open_hasty(&server.spec("cache"), Duration::from_millis(300));
    let error = opened.remote.get(&key(), 1 << 30).await.unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::Deadline);
    assert!(
        chain(&error).contains("503 SlowDown on purpose"),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn our_own_write_in_the_way_is_no_conflict() {
    let (server, opened) = server().await;
    server
        .faults()
        .inject(Rule::new(Fault::LoseAnswer).method("PUT").times(1));
    let new = ObjectKey::new("refs/new");
    opened
        .remote
        .put(&new, Bytes::from_static(b"mine"), PutMode::IfAbsent)
        .await
        .unwrap();
    assert_eq!(opened.remote.get(&new, 1 << 30).await.unwrap(), "mine");
    assert_eq!(server.faults().counts().of("PUT"), 2);
}

#[tokio::test]
async fn another_writer_in_the_way_is_a_conflict_also_after_a_failure() {
    let (server, opened) = server().await;
    server
        .faults()
        .inject(Rule::new(Fault::Status(503)).method("PUT").times(1));
    let put = opened
        .remote
        .put(&key(), Bytes::from_static(b"mine"), PutMode::IfAbsent)
        .await;
    assert_eq!(put.unwrap_err().kind(), RemoteErrorKind::Exists);
    assert_eq!(opened.remote.get(&key(), 1 << 30).await.unwrap(), BODY);
}

#[tokio::test]
async fn a_write_that_meets_another_is_tried_again() {
    let (server, opened) = server().await;
    server
        .faults()
        .inject(Rule::new(Fault::Status(409)).method("PUT").times(1));
    let new = ObjectKey::new("refs/new");
    opened
        .remote
        .put(&new, Bytes::from_static(b"mine"), PutMode::IfAbsent)
        .await
        .unwrap();
}

#[tokio::test]
async fn answers_that_will_not_change_are_not_asked_for_again() {
    let (server, opened) = server().await;
    for (status, kind) in [
        (400, RemoteErrorKind::Invalid),
        (401, RemoteErrorKind::Denied),
        (403, RemoteErrorKind::Denied),
        (404, RemoteErrorKind::NotFound),
        (412, RemoteErrorKind::Exists),
        (501, RemoteErrorKind::Invalid),
        (507, RemoteErrorKind::Full),
    ] {
        server.faults().clear();
        server.faults().inject(Rule::new(Fault::Status(status)));
        server.faults().reset_counts();
        let error = opened.remote.get(&key(), 1 << 30).await.unwrap_err();
        assert_eq!(error.kind(), kind, "GET {status}");
        let error = opened.remote.head(&key()).await.unwrap_err();
        // A 404 has no body here, but still refers to the object.
        assert_eq!(error.kind(), kind, "HEAD {status}");
        assert_eq!(server.faults().counts().total(), 2, "{status}");
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_not_an_empty_cache() {
    let (server, _) = server().await;
    let spec = RemoteSpec {
        url: "s3://absent/cache".into(),
        ..server.spec("")
    };
    let remote = open_remote(&spec, policy()).unwrap().remote;
    let put = remote
        .put(&key(), Bytes::new(), PutMode::Overwrite)
        .await
        .unwrap_err();
    assert_eq!(put.kind(), RemoteErrorKind::NoRemote, "{}", chain(&put));
    let list = remote.list("").await.unwrap_err();
    assert_eq!(list.kind(), RemoteErrorKind::NoRemote, "{}", chain(&list));
    let create = Hint::from("create the bucket, or correct its name");
    assert_eq!(list.hint(), Some(&create));
}

#[tokio::test]
async fn wrong_and_missing_credentials_are_denied_at_once() {
    let (server, _) = server().await;
    let wrong = [
        ("AWS_ACCESS_KEY_ID".to_owned(), "cachefs-test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY".to_owned(), "wrong".to_owned()),
    ];
    let none = [("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned())];
    for env in [wrong.into_iter().collect(), none.into_iter().collect()] {
        let spec = RemoteSpec {
            env,
            ..server.spec("cache")
        };
        let error = open_remote(&spec, policy())
            .unwrap()
            .remote
            .get(&key(), 1 << 30)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), RemoteErrorKind::Denied, "{}", chain(&error));
    }
    let anonymous = RemoteSpec {
        anonymous: true,
        env: Default::default(),
        ..server.spec("cache")
    };
    let error = open_remote(&anonymous, policy())
        .unwrap()
        .remote
        .get(&key(), 1 << 30)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::Denied, "{}", chain(&error));
    assert!(
        chain(&error).contains("the server returned 403"),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_outage() {
    let (server, _) = server().await;
    let nobody = Nobody::new().unwrap();
    let spec = RemoteSpec {
        endpoint: Some(nobody.endpoint()),
        ..server.spec("cache")
    };
    let remote = open_hasty(&spec, Duration::from_millis(300)).remote;
    let error = remote.get(&key(), 1 << 30).await.unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::Deadline);
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<RemoteError>())
        .unwrap();
    assert_eq!(cause.kind(), RemoteErrorKind::Unavailable);
    assert!(
        chain(&error).to_lowercase().contains("refused"),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn without_a_region_or_an_endpoint_the_user_is_told() {
    let spec = RemoteSpec {
        url: "s3://bucket".into(),
        ..RemoteSpec::default()
    };
    let error = open_remote(&spec, policy())
        .unwrap()
        .remote
        .get(&key(), 1 << 30)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), RemoteErrorKind::Invalid);
    assert!(chain(&error).contains("no region"), "{}", chain(&error));
    assert_eq!(error.hint(), Some(&Hint::SetRegion));
}

#[tokio::test]
async fn a_slow_line_is_slow_and_counted() {
    let (server, opened) = server().await;
    let body = Bytes::from(vec![1; 200_000]);
    let started = Instant::now();
    server.faults().set_bandwidth(Some(1_000_000));
    let large = ObjectKey::new("packs/large");
    opened
        .remote
        .put(&large, body.clone(), PutMode::Overwrite)
        .await
        .unwrap();
    assert_eq!(opened.remote.get(&large, 1 << 30).await.unwrap(), body);
    server.faults().set_bandwidth(None);
    assert!(
        started.elapsed() >= Duration::from_millis(400),
        "{:?}",
        started.elapsed()
    );
    let counts = server.faults().counts();
    assert_eq!((counts.bytes_in, counts.bytes_out), (200_000, 200_000));

    server.faults().set_latency(Duration::from_millis(50));
    let started = Instant::now();
    opened.remote.head(&large).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(50));
}

#[tokio::test]
async fn small_requests_on_one_connection_do_not_stall() {
    let (_server, opened) = server().await;
    let started = Instant::now();
    for _ in 0..500 {
        opened.remote.get_range(&key(), 0..4).await.unwrap();
    }
    // Delayed ACKs would add 40 ms to each request, 20 s in total.
    assert!(
        started.elapsed() < Duration::from_secs(15),
        "{:?}",
        started.elapsed()
    );
}

/// We bound a response before it is in memory, even if a library collects it.
#[tokio::test]
async fn an_endless_answer_is_given_up_at_a_limit() {
    const SLACK: u64 = 16 << 20;
    let server = S3Server::start().unwrap();
    let google = S3Server::start_with(S3Options {
        google: true,
        ..S3Options::default()
    })
    .unwrap();
    let tries = u64::from(RetryPolicy::default().damaged_attempts);
    for (server, spec) in [
        (&server, server.spec("cache")),
        (&google, google.google_spec("cache")),
    ] {
        let opened = open_remote(&spec, RetryPolicy::default()).unwrap();
        let faults = server.faults();
        // The kernel buffers some MiB beyond the bytes that we read.
        for (status, limit) in [(200, tries * (48 << 20)), (403, SLACK), (404, SLACK)] {
            faults.clear();
            faults.inject(Rule::new(Fault::Endless(status)));
            faults.reset_counts();
            opened.remote.list("refs/").await.unwrap_err();
            let sent = faults.counts().bytes_out;
            assert!(sent > 0 && sent < limit, "{status} {spec:?}: {sent}");
            faults.reset_counts();
            let error = opened.remote.get(&key(), 1000).await.unwrap_err();
            let sent = faults.counts().bytes_out;
            let most = tries * SLACK;
            assert!(sent < most, "{status} {spec:?}: {sent} {error}");
            let body = Bytes::from_static(BODY);
            let put = opened.remote.put(&key(), body, PutMode::Overwrite).await;
            assert!(put.is_err() || status == 200, "{put:?}");
        }
    }
}
