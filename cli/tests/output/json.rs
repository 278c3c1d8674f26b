//! The JSON object of every command. We replace values that vary; scripts rely on names and types.

use crate::session::Session;

/// A session that prints JSON, with a directory `src` of two files.
fn with_source() -> Session {
    let session = Session::new().env("CACHEFS_FORMAT", "json");
    session.prepare("mkdir src && echo one > src/a && echo two > src/b");
    session
}

#[test]
fn save_and_restore() {
    let session = with_source();
    session.prepare("mkdir docs && echo one > docs/a");
    session.record(
        "json_caches",
        r#"
        cachefs save --key v1 --path src 2>/dev/null
        cachefs save --key v1 --path src 2>/dev/null
        cachefs restore --key v1 --path src --mode copy 2>/dev/null
        cachefs restore --key v2 --path out --mode copy 2>/dev/null
        cachefs save --key v2 --path src --path docs 2>/dev/null
        cachefs restore --key v2 --path src --path docs --mode copy 2>/dev/null
        cachefs restore --key v1 --path src --remote ftp://x 2>/dev/null
        cachefs exec --key v1 --path src --mode copy -- true 2>/dev/null
        touch Cargo.toml Cargo.lock
        cachefs auto restore --mode copy 2>/dev/null
        cachefs auto save 2>/dev/null
        "#,
    );
}

#[test]
fn keys() {
    let session = with_source();
    session.prepare(
        r#"
        cachefs save --key v1 --path src
        echo three > src/c && rm src/b
        cachefs save --key v2 --path src
        "#,
    );
    session.record(
        "json_keys",
        r#"
        cachefs key 'v1-{{ checksum "src/a" }}-{{ env "HOME" }}' 2>/dev/null
        cachefs lookup v1 2>/dev/null
        cachefs lookup v9 2>/dev/null
        cachefs list 2>/dev/null
        cachefs inspect v1 2>/dev/null
        cachefs diff v1 v2 2>/dev/null
        cachefs explain --key v9 2>/dev/null
        cachefs scopes 2>/dev/null
        cachefs promote v1 --from default --to main 2>/dev/null
        cachefs delete v1 2>/dev/null
        cachefs delete v9 2>/dev/null
        cachefs export --key v2 --output v2.tar 2>/dev/null
        cachefs import --key v3 v2.tar 2>/dev/null
        cachefs check 2>/dev/null
        cachefs gc 2>/dev/null
        cachefs stats 2>/dev/null
        "#,
    );
}

#[test]
fn the_rest() {
    let session = with_source();
    session.record(
        "json_other",
        r#"
        touch Cargo.toml Cargo.lock
        cachefs detect 2>/dev/null
        cachefs doctor 2>/dev/null | sed -E 's/.*(.\{"detail":"none in [^}]*\})/{"findings":[\1/; s/("mode":)"[a-z]*"/\1"[MODE]"/'
        cachefs config 2>/dev/null
        cachefs daemon status 2>/dev/null
        cachefs daemon start 2>/dev/null
        cachefs daemon status 2>/dev/null
        cachefs daemon share ../share.sock 2>/dev/null
        cachefs daemon shares 2>/dev/null
        cachefs daemon unshare ../share.sock 2>/dev/null
        cachefs daemon stop 2>/dev/null
        cachefs man pages 2>/dev/null
        cachefs completions bash 2>/dev/null | cut -c 1-30
        cachefs cdi 2>/dev/null
        cachefs oci-hook --print 2>/dev/null
        cachefs attach 4194305 /cache --key v1 2>/dev/null
        cachefs detach 4194305 /cache 2>/dev/null
        cachefs csi --listen tcp://x --node-id n 2>/dev/null
        cachefs volume-plugin --socket /proc/missing/plugin.sock 2>/dev/null
        cachefs umount --all 2>/dev/null
        cachefs umount src 2>/dev/null
        cachefs frobnicate 2>/dev/null
        "#,
    );
}

#[test]
fn mounts() {
    let Some(session) = Session::that_mounts() else {
        return;
    };
    let session = session.env("CACHEFS_FORMAT", "json");
    session.prepare("mkdir src && echo one > src/a && cachefs save --key v1 --path src");
    session.record(
        "json_mounts",
        r#"
        cachefs mount --key v1 --path src 2>/dev/null
        echo two > src/b
        cachefs diff src 2>/dev/null
        cachefs explain src 2>/dev/null
        cachefs stats 2>/dev/null
        cachefs save --key v2 --path src 2>/dev/null
        cachefs umount src 2>/dev/null
        cachefs umount --all 2>/dev/null
        "#,
    );
}
