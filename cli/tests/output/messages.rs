//! Output of each command when it succeeds.

use std::os::unix::net::UnixListener;

use crate::session::Session;

/// A session with a directory `src` of two files.
fn with_source() -> Session {
    let session = Session::new();
    session.prepare("mkdir src && echo one > src/a && echo two > src/b");
    session
}

#[test]
fn save() {
    let session = with_source();
    session.record(
        "save",
        r#"
        cachefs save --dry-run --key v1 --path src
        cachefs save --key v1 --path src
        cachefs save --key v1 --path src
        echo three > src/c
        cachefs save --key v1 --path src
        cachefs save --key v2 --path src
        cachefs save --key v2 --path src --save-if missing
        cachefs save --key v3 --path src --policy pull
        cachefs save --key v3 --path src --ttl 14d
        mkdir empty
        cachefs save --key v4 --path empty
        cachefs save --key v5 --path src --path empty 2>&1 | sort
        "#,
    );
}

#[test]
fn save_what_cannot_be_saved() {
    let session = with_source();
    let _socket = UnixListener::bind(session.work().join("src/socket")).unwrap();
    session.record(
        "save_skipped",
        r#"
        cachefs save --key v1 --path src
        "#,
    );
}

#[test]
fn secrets() {
    let session = with_source();
    session.prepare(
        r#"
        printf '//registry.npmjs.org/:_authToken=npm_%036d\n' 0 > src/.npmrc
        "#,
    );
    session.record(
        "secrets",
        r#"
        cachefs save --key v1 --path src
        cachefs save --key v2 --path src --secrets fail
        cachefs save --key v3 --path src --secrets-allow '/.npmrc'
        cachefs save --key v4 --path src --secrets allow
        TOKEN=twotwotwotwo cachefs save --key v5 --path src --secret-env TOKEN
        "#,
    );
}

#[test]
fn restore() {
    let session = with_source();
    session.prepare("cachefs save --key app-1 --path src");
    session.record(
        "restore",
        r#"
        cachefs restore --key app-1 --path src --mode copy
        cachefs restore --key app-1 --path out --mode copy
        cachefs restore --key app-2 --restore-key app- --path src --mode copy
        cachefs restore --key app-2 --path src --mode copy
        cachefs restore --key other --path src --mode copy
        cachefs restore --key app-1 --path src --lookup-only
        cachefs restore --key app-1 --path src --policy push
        cachefs restore --key other --path src --mode copy --fail-on-cache-miss
        cachefs restore --key app-1 --path src --mode copy --scope branch/x --fallback-scope default
        cachefs restore --key app-1 --path src --mode copy --layer base=none
        "#,
    );
}

#[test]
fn restore_as_a_mount() {
    let Some(session) = Session::that_mounts() else {
        return;
    };
    session.prepare(
        r#"
        mkdir src && echo one > src/a
        cachefs save --key app-1 --path src
        "#,
    );
    session.record(
        "mount",
        r#"
        cachefs restore --key app-1 --path src --mode mount
        cachefs mount --key app-1 --path src
        echo two > src/b
        cachefs diff src
        cachefs explain src
        cachefs stats
        cachefs restore --key app-1 --path src --mode mount
        cachefs save --key app-2 --path src
        cachefs daemon status
        cachefs daemon stop
        cachefs umount src
        cachefs umount --all
        cachefs exec --key app-2 --path src -- sh -c 'echo three > src/c'
        cachefs exec --key app-2 --path src -- false
        cachefs daemon stop
        cachefs daemon status
        "#,
    );
}

#[test]
fn several_paths() {
    let session = with_source();
    session.prepare("mkdir docs && echo one > docs/a");
    session.record(
        "several_paths",
        r#"
        cachefs save --key v1 --path src --path docs --path missing 2>&1 | sort
        cachefs restore --key v1 --path src --path docs --path missing --mode copy 2>&1 | sort
        cachefs inspect v1
        "#,
    );
}

#[test]
fn looking_at_keys() {
    let session = with_source();
    session.prepare(
        r#"
        echo '<project/>' > pom.xml
        cachefs save --key m2-1 --path src
        echo three > src/c && rm src/b
        cachefs save --key m2-1 --path src
        cachefs save --key m2-2 --path src --scope branch/x
        "#,
    );
    session.record(
        "keys",
        r#"
        cachefs key 'm2-{{ checksum "pom.xml" }}-{{ env "HOME" }}'
        cachefs lookup m2-1
        cachefs lookup m2-9 --restore-key m2-
        cachefs lookup other
        cachefs list
        cachefs list other
        cachefs inspect m2-1
        cachefs diff m2-1 m2-1
        cachefs scopes
        cachefs promote m2-2 --from branch/x --to main
        cachefs promote other --from branch/x --to main
        cachefs delete m2-2 --dry-run --scope main
        cachefs delete m2-2 --scope main
        cachefs delete other
        cachefs scopes --older-than 1d --delete
        "#,
    );
}

#[test]
fn explain() {
    let session = with_source();
    session.prepare(
        r#"
        echo one > lock
        cachefs save --key 'app-{{ checksum "lock" }}' --path src
        echo two > lock
        "#,
    );
    session.record(
        "explain",
        r#"
        cachefs explain
        cachefs restore --key 'app-{{ checksum "lock" }}' --path src --mode copy
        cachefs explain
        cachefs restore --key 'app-{{ checksum "lock" }}' --restore-key app- --path src --mode copy
        cachefs explain
        cachefs explain --key 'lib-{{ checksum "lock" }}'
        "#,
    );
}

#[test]
fn upkeep() {
    let session = with_source();
    session.prepare(
        r#"
        cachefs save --key v1 --path src
        cachefs save --key v2 --path src --scope branch/x
        "#,
    );
    session.record(
        "upkeep",
        r#"
        cachefs check
        cachefs check --read-data
        cachefs check --all-scopes
        cachefs check other
        cachefs gc
        cachefs delete v1
        cachefs gc --dry-run --grace 0
        cachefs gc --grace 24h
        cachefs gc --dry-run
        cachefs gc --grace 0
        cachefs gc --grace 1h
        find ../../remote -path '*packs*' -type f -delete
        cachefs save --key v3 --path src
        cachefs check
        cachefs stats
        cachefs stats --format prometheus | grep '^# HELP'
        "#,
    );
}

#[test]
fn damage() {
    let session = with_source();
    session.prepare(
        r#"
        cachefs save --key v1 --path src
        find ../../remote -path '*packs*' -type f -delete
        "#,
    );
    session.record(
        "damage",
        r#"
        cachefs check
        cachefs restore --key v1 --path out --mode copy
        cachefs check --repair
        cachefs check
        "#,
    );
}

#[test]
fn archives() {
    let session = with_source();
    session.record(
        "archives",
        r#"
        tar --create --file src.tar src
        cachefs import --key v1 --path src src.tar
        cachefs import --key v1 --path src src.tar
        cachefs export --key v1 --output copy.tar
        tar --list --file copy.tar
        echo no > no.tar
        cachefs import --key v2 no.tar
        cachefs import --key v2 missing.tar
        cachefs export --key missing --output copy.tar
        "#,
    );
}

#[test]
fn caches_of_a_file() {
    let session = with_source();
    session.prepare(
        r#"
        printf '[cache.app]\nkey = "app-1"\npath = "src"\n' > cachefs.toml
        "#,
    );
    session.record(
        "config",
        r#"
        cat cachefs.toml
        cachefs save
        cachefs restore --mode copy
        cachefs restore other --mode copy
        cachefs config
        "#,
    );
}

#[test]
fn detection() {
    let session = Session::new();
    session.prepare("touch Cargo.toml Cargo.lock");
    session.record(
        "detect",
        r#"
        cachefs detect
        cachefs detect --toml
        cachefs auto restore --mode copy --tool cargo-index
        cachefs auto save
        rm Cargo.toml Cargo.lock
        cachefs detect
        cachefs auto restore
        "#,
    );
}

#[test]
fn daemon() {
    let session = Session::new();
    session.record(
        "daemon",
        r#"
        cachefs daemon status
        cachefs daemon start
        cachefs daemon start
        cachefs daemon status
        cachefs daemon shares
        cachefs daemon share ../share.sock
        cachefs daemon shares
        cachefs daemon unshare ../share.sock
        cachefs daemon unshare ../share.sock
        cachefs daemon stop
        cachefs daemon stop
        "#,
    );
}

/// Most findings depend on the machine, so we record only those about the store and the remote.
#[test]
fn doctor() {
    let session = Session::new();
    session.record(
        "doctor",
        r#"
        cachefs doctor | grep -E '^ok +(unsaved|remote)'
        cachefs doctor | tail -n 1 | sed -E 's/mount|copy/[MODE]/'
        "#,
    );
}

#[test]
fn printed_files() {
    let session = Session::new();
    session.prepare(r#"printf '[cache.app]\nkey = "app-1"\npath = "src"\n' > cachefs.toml"#);
    session.record(
        "printed_files",
        r#"
        cachefs --version
        cachefs completions bash | head -n 1
        cachefs man | head -n 3
        cachefs man pages
        ls pages
        cachefs cdi
        cachefs oci-hook --print
        "#,
    );
}

#[test]
fn ci_systems() {
    let session = with_source().env("GITHUB_ACTIONS", "true");
    session.prepare("cachefs save --key v1 --path src --scope default");
    session.record(
        "ci_systems",
        r#"
        GITHUB_OUTPUT=out GITHUB_STEP_SUMMARY=summary cachefs restore --key v1 --path src --mode copy --scope default
        cat out
        cat summary
        cachefs restore --key v1 --path src --scope default --remote ftp://x
        cachefs restore --key v1 --path src --scope default --timeout 1s --remote az://container --account x --endpoint http://127.0.0.1:1
        cachefs save --key v1 --path src --scope default --log-format json --outputs none
        cachefs list --log-format json --remote ftp://x --outputs none
        "#,
    );
}
