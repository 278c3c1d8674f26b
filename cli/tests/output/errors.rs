//! Output of common failures: the error, its cause, and the hint.

use cachefs_tests::nobody::Nobody;

use crate::session::Session;

/// A session with a directory `src` of one file.
fn with_source() -> Session {
    let session = Session::new();
    session.prepare("mkdir src && echo one > src/a");
    session
}

#[test]
fn usage() {
    with_source().record(
        "error_usage",
        r#"
        cachefs
        cachefs frobnicate
        cachefs restor
        cachefs save --kee v1
        cachefs restore --key v1
        cachefs restore --path src
        cachefs restore
        cachefs save --key v1 --path src --ttl 14
        cachefs save --key v1 --path src --ttl soon
        cachefs restore --key v1 --path src --mode magic
        cachefs list --cache-limit much
        cachefs gc --grace 1h
        cachefs list --format prometheus
        cachefs list --scope ''
        cachefs restore --key v1 --path src --layer base
        cachefs daemon
        cachefs csi --listen tcp://127.0.0.1:1 --node-id node-1
        cachefs volume-plugin --socket /proc/missing/plugin.sock
        echo no | cachefs oci-hook
        "#,
    );
}

#[test]
fn keys() {
    with_source().record(
        "error_keys",
        r#"
        cachefs save --key '' --path src
        cachefs key "$(printf 'a\nb')"
        cachefs key 'v1-{{ checksum "pom.xml" }}'
        cachefs key 'v1-{{ chekcsum "pom.xml" }}'
        cachefs key 'v1-{{ checksum }}'
        cachefs key 'v1-{{ checksum "pom.xml"'
        cachefs key "v1-hashFiles('**/*.lock')"
        cachefs key 'v1-{{ env "NOT_SET" }}'
        cachefs key 'v1-{{ .Brunch }}'
        cachefs key 'v1-{{ .Branch }}'
        cachefs key '${{ github.ref_name }}'
        "#,
    );
}

#[test]
fn paths() {
    with_source().record(
        "error_paths",
        r#"
        cachefs save --key v1 --path missing
        cachefs save --key v1 --path src/a
        cachefs save --key v1 --path /
        cachefs save --key v1 --path ~
        cachefs save --key v1 --path ../store
        cachefs save --key v1 --path 'packages/*/target'
        cachefs restore --key v1 --path src/a
        cachefs umount missing
        cachefs explain missing
        cachefs diff missing
        "#,
    );
}

#[test]
fn remotes() {
    let nobody = Nobody::new().unwrap();
    let session = with_source()
        .env("CACHEFS_TIMEOUT", "2s")
        .env("ENDPOINT", nobody.endpoint())
        .env("AWS_EC2_METADATA_DISABLED", "true");
    session.record(
        "error_remotes",
        r#"
        cachefs list --remote ftp://host/dir
        cachefs list --remote cache
        cachefs list --remote s3://
        cachefs list --remote file://relative
        cachefs list --remote file:///does/not/exist
        cachefs save --key v1 --path src --remote ftp://host/dir
        cachefs list --remote s3://bucket --region eu-central-1
        cachefs list --remote s3://bucket --region eu-central-1 --endpoint "$ENDPOINT" --anonymous
        cachefs restore --key v1 --path src --remote s3://bucket --region eu-central-1 --endpoint "$ENDPOINT" --anonymous
        cachefs restore --key v1 --path src --remote s3://bucket --region eu-central-1 --endpoint "$ENDPOINT" --anonymous --strict-errors
        cachefs list --remote az://container
        cachefs list --daemon missing.sock
        "#,
    );
}

#[test]
fn s3_answers() {
    use cachefs_tests::s3::{ACCESS_KEY, BUCKET, S3Server, SECRET_KEY};
    let server = S3Server::start().unwrap();
    let session = with_source()
        .env("CACHEFS_TIMEOUT", "5s")
        .env("CACHEFS_ENDPOINT", server.endpoint())
        .env("CACHEFS_REMOTE", format!("s3://{BUCKET}/ci"))
        .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY);
    session.record(
        "error_s3",
        r#"
        cachefs list
        AWS_SECRET_ACCESS_KEY=wrong cachefs list
        AWS_SECRET_ACCESS_KEY=wrong cachefs save --key v1 --path src
        CACHEFS_REMOTE=s3://no-such-bucket cachefs list
        CACHEFS_REMOTE=s3://no-such-bucket cachefs save --key v1 --path src --strict-errors
        "#,
    );
}

#[test]
fn configuration() {
    with_source().record(
        "error_config",
        r#"
        printf 'remte = "s3://x"\n' > cachefs.toml
        cachefs list
        printf '[cache.app]\nkey = 1\n' > cachefs.toml
        cachefs restore
        printf '[cache.app\n' > cachefs.toml
        cachefs restore
        cachefs list --config missing.toml
        CACHEFS_NO_TRACE=perhaps cachefs restore --no-config --key v1 --path src
        "#,
    );
}

#[test]
fn busy_paths() {
    let Some(session) = Session::that_mounts() else {
        return;
    };
    session.prepare(
        r#"
        mkdir src && echo one > src/a
        cachefs save --key v1 --path src
        cachefs save --key v2 --path src
        cachefs restore --key v1 --path src --mode mount
        "#,
    );
    session.record(
        "error_busy",
        r#"
        cd src && cachefs umount .
        cachefs restore --key v2 --path src --mode mount
        cachefs save --key v2 --path src
        sh -c 'exec 3> src/open; cachefs save --key v1 --path src'
        sh -c 'exec 3> src/open; cachefs umount src'
        cachefs daemon stop
        cachefs umount --all
        cachefs attach 4194305 /cache --key v1
        cachefs detach no-such-container /cache
        "#,
    );
}
