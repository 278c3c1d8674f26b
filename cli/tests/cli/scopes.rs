//! Scopes: the access of a branch or pull request job, the keys that remain after it is closed, and
//! the documented policies, enforced by the server.

use std::fs;
use std::path::Path;

use cachefs_store::remote::{
    ObjectKey, PutMode, RemoteErrorKind, RemoteSpec, RetryPolicy, open_remote,
};
use cachefs_tests::harness::{Cachefs, Invocation, Output};
use cachefs_tests::s3::{BUCKET, S3Server, User};
use serde_json::Value;

use crate::support::{Commands, clean, objects, remote_dir};

/// A job on a branch.
const MAIN: &[(&str, &str)] = &[
    ("CACHEFS_BRANCH", "main"),
    ("CACHEFS_DEFAULT_BRANCH", "main"),
];
/// A job of a pull request to `v2`, with the variables that GitHub sets.
const PULL_REQUEST: &[(&str, &str)] = &[
    ("GITHUB_ACTIONS", "true"),
    ("GITHUB_REF", "refs/pull/12/merge"),
    ("GITHUB_HEAD_REF", "main"),
    ("GITHUB_BASE_REF", "v2"),
    ("CACHEFS_DEFAULT_BRANCH", "main"),
];

fn of(job: &[(&str, &str)], invocation: Invocation) -> Invocation {
    let set = |invocation: Invocation, (name, value): &(&str, &str)| invocation.env(name, value);
    job.iter().fold(invocation.arg("--strict-errors"), set)
}

fn save(machine: &Cachefs, job: &[(&str, &str)], key: &str, dir: &Path) -> Output {
    clean(of(job, machine.save(key, dir)).run())
}

fn restore(machine: &Cachefs, job: &[(&str, &str)], key: &str, dir: &Path) -> Output {
    let restore = of(job, machine.restore(key, dir)).arg("--mode").arg("copy");
    clean(restore.arg("--format").arg("json").run())
}

fn dir_with(machine: &Cachefs, name: &str, content: &str) -> std::path::PathBuf {
    let dir = machine.dir(name);
    fs::write(dir.join("file"), content).unwrap();
    dir
}

fn scopes_of(machine: &Cachefs) -> Vec<String> {
    let printed = machine.run(["scopes", "--format", "json"]).success().json();
    let scopes = printed["scopes"].as_array().unwrap().iter();
    let mut names: Vec<_> = scopes
        .map(|scope| scope["scope"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_pull_request_reads_what_is_behind_it_and_writes_its_own() {
    let machine = Cachefs::new().unwrap();
    save(&machine, MAIN, "k", &dir_with(&machine, "main", "of main")).success();
    let place = machine.dir("place");
    let restored = restore(&machine, PULL_REQUEST, "k", &place).success();
    let printed = restored.json();
    assert_eq!(printed["matched_scope"], "branch/main");
    assert_eq!(printed["scope"], "pr/12");
    assert!(
        restored.stderr().contains("hit k in scope branch/main:"),
        "{restored}"
    );
    fs::write(place.join("file"), "of 12").unwrap();
    save(&machine, PULL_REQUEST, "k", &place).success();
    assert_eq!(scopes_of(&machine), ["branch/main", "pr/12"]);

    let place = machine.dir("again");
    let restored = restore(&machine, PULL_REQUEST, "k", &place).success();
    assert_eq!(restored.json()["matched_scope"], "pr/12");
    assert!(!restored.stderr().contains("in scope"), "{restored}");
    let place = machine.dir("main again");
    restore(&machine, MAIN, "k", &place).success();
    assert_eq!(fs::read_to_string(place.join("file")).unwrap(), "of main");
}

#[test]
fn a_named_scope_has_nothing_behind_it() {
    let machine = Cachefs::new().unwrap();
    save(&machine, MAIN, "k", &dir_with(&machine, "main", "x")).success();
    let lookup = |args: &[&str]| {
        let invocation = of(PULL_REQUEST, machine.command(["lookup", "k"]));
        let invocation = args
            .iter()
            .fold(invocation, |invocation, arg| invocation.arg(arg));
        clean(invocation.run()).code()
    };
    assert_eq!(lookup(&[]), Some(0));
    assert_eq!(lookup(&["--scope", "other"]), Some(3));
    let both = ["--scope", "other", "--fallback-scope", "branch/main"];
    assert_eq!(lookup(&both), Some(0));
}

#[test]
fn each_scope_takes_a_request_of_each_kind() {
    let server = S3Server::start().unwrap();
    let machine = on(&server, "cachefs-test", "cachefs-test-secret");
    save(&machine, MAIN, "k", &dir_with(&machine, "main", "x")).success();
    let restored = |job: &[(&str, &str)], name: &str, more: &[&str]| {
        let machine = machine.second_machine().unwrap();
        let place = machine.dir(name);
        let restore = of(job, machine.restore("k", &place))
            .arg("--mode")
            .arg("copy");
        let restore = more.iter().fold(restore, |restore, arg| restore.arg(arg));
        clean(restore.arg("--format").arg("json").run().success()).json()
    };
    let one = restored(MAIN, "one", &[]);
    let further = ["a", "b", "c", "d", "e"].map(|name| ["--fallback-scope", name]);
    let many = restored(PULL_REQUEST, "many", &further.concat());
    let requests = |printed: &Value| {
        let kinds = ["get", "list"].map(|kind| printed["requests"][kind].as_u64().unwrap());
        (kinds[0], kinds[1])
    };
    // Each of the seven additional scopes costs one GET and one LIST.
    let (gets, lists) = requests(&one);
    assert_eq!(requests(&many), (gets + 7, lists + 7));
}

#[test]
fn merged_and_closed() {
    let machine = Cachefs::new().unwrap();
    save(&machine, MAIN, "k", &dir_with(&machine, "main", "of main")).success();
    let topic = dir_with(&machine, "topic", "of 12");
    for key in ["k", "new"] {
        save(&machine, PULL_REQUEST, key, &topic).success();
    }
    let packs = crate::support::packs(&remote_dir(&machine));
    let promote = ["promote", "--all", "--from", "pr/12", "--to", "branch/main"];
    let promoted = machine.run(promote).success();
    assert!(
        promoted
            .stderr()
            .contains("promoted k from pr/12 to branch/main (2 layers")
    );
    let again = machine.run(promote).success();
    assert!(
        again
            .stderr()
            .contains("k: scope branch/main already has it"),
        "{again}"
    );
    assert_eq!(crate::support::packs(&remote_dir(&machine)), packs);
    for key in ["k", "new"] {
        let place = machine.dir(&format!("main {key}"));
        restore(&machine, MAIN, key, &place).success();
        assert_eq!(fs::read_to_string(place.join("file")).unwrap(), "of 12");
    }

    let close = ["delete", "--all", "--scope", "pr/12"];
    let told = machine.command(close).arg("--dry-run").run().success();
    assert!(
        told.stderr().contains("would delete new (scope pr/12)"),
        "{told}"
    );
    assert_eq!(scopes_of(&machine).len(), 2);
    machine.run(close).success();
    machine.run(close).success();
    assert_eq!(scopes_of(&machine), ["branch/main"]);
    machine.run(["gc", "--grace", "0"]).success();
    machine
        .run(["check", "--all-scopes", "--read-data"])
        .success();
}

#[test]
fn what_nobody_closed_is_found_by_its_age() {
    let machine = Cachefs::new().unwrap();
    save(
        &machine,
        PULL_REQUEST,
        "k",
        &dir_with(&machine, "topic", "x"),
    )
    .success();
    let young = machine
        .run(["scopes", "--older-than", "1d", "--delete"])
        .success();
    assert!(young.stderr().contains("no matching scopes"), "{young}");
    assert_eq!(scopes_of(&machine), ["pr/12"]);
    let old = ["scopes", "pr/", "--older-than", "1ms", "--delete"];
    let told = machine.command(old).arg("--dry-run").run().success();
    assert!(
        told.stderr().contains("would delete pr/12: 1 key"),
        "{told}"
    );
    machine.run(old).success();
    assert!(scopes_of(&machine).is_empty());
}

#[test]
fn keys_expire() {
    let machine = Cachefs::new().unwrap();
    let dir = dir_with(&machine, "dir", "x");
    let saved = machine.save("k", &dir).arg("--ttl").arg("14d").run();
    clean(saved.success());
    machine.run(["lookup", "k"]).success();
    // A save extends the expiry, but not every time.
    let again = machine
        .save("k", &dir)
        .arg("--ttl")
        .arg("14d")
        .run()
        .success();
    assert!(again.stderr().contains("unchanged k"), "{again}");
    let longer = machine
        .save("k", &dir)
        .arg("--ttl")
        .arg("30d")
        .run()
        .success();
    assert!(longer.stderr().contains("saved k"), "{longer}");
    let soon = machine
        .save("k", &dir)
        .arg("--ttl")
        .arg("1ms")
        .run()
        .success();
    assert!(soon.stderr().contains("saved k"), "{soon}");
    assert_eq!(machine.run(["lookup", "k"]).code(), Some(3));
    let told = machine.run(["gc", "--grace", "0"]).success();
    assert!(
        told.stderr().contains("dropped k (scope default): expired"),
        "{told}"
    );
    let left: Vec<_> = objects(&remote_dir(&machine)).into_keys().collect();
    assert_eq!(left, ["cachefs.json"]);
    // A save over an expired key starts from scratch.
    save(&machine, &[], "k", &dir).success();
    machine.run(["check", "--read-data"]).success();
}

#[test]
fn a_short_grace_is_refused() {
    let machine = Cachefs::new().unwrap();
    let refused = machine.run(["gc", "--grace", "5m"]);
    assert_eq!(refused.code(), Some(2));
    assert!(refused.stderr().contains("2h or more"), "{refused}");
}

/// The documented policies, by the names in the comments above them.
fn policies() -> std::collections::BTreeMap<String, String> {
    let text = include_str!("../../../docs/scopes.md");
    let blocks = text.split("<!-- policy: ").skip(1);
    let block = |block: &str| {
        let (name, rest) = block.split_once(" -->").unwrap();
        let (_, rest) = rest.split_once("```json\n").unwrap();
        let policy = rest.split_once("```").unwrap().0;
        let policy = policy.replace("BUCKET", BUCKET).replace("PREFIX", "caches");
        (name.to_owned(), policy)
    };
    blocks.map(block).collect()
}

fn on(server: &S3Server, access_key: &str, secret_key: &str) -> Cachefs {
    Cachefs::with_remote(format!("s3://{BUCKET}/caches"))
        .unwrap()
        .with_env("CACHEFS_ENDPOINT", server.endpoint())
        .with_env("AWS_ACCESS_KEY_ID", access_key)
        .with_env("AWS_SECRET_ACCESS_KEY", secret_key)
}

/// A server with one user per role, and a machine for each.
struct Guarded {
    server: S3Server,
    users: Vec<User>,
}

impl Guarded {
    fn start() -> Self {
        let policies = policies();
        let policy = |name: &str| policies[name].as_str();
        // The default branch has the policy of branches without its last statement.
        let mut trusted: Value = serde_json::from_str(policy("branches")).unwrap();
        let statements = trusted["Statement"].as_array_mut().unwrap();
        assert_eq!(statements.pop().unwrap()["Effect"], "Deny");
        let trusted = trusted.to_string();
        let user = |name: &str, more: &[&str]| {
            let all = [policy("read")].into_iter().chain(more.iter().copied());
            User::new(name, all).unwrap()
        };
        let users = vec![
            user("reader", &[]),
            user("pull-requests", &[policy("pull-requests")]),
            user("branches", &[policy("branches")]),
            user("main", &[&trusted]),
            user("housekeeping", &[policy("housekeeping")]),
        ];
        let server = S3Server::start_guarded(users.clone()).unwrap();
        Self { server, users }
    }

    fn user(&self, role: &str) -> &User {
        let is_it = |user: &&User| user.access_key == role;
        self.users.iter().find(is_it).unwrap()
    }

    fn machine(&self, role: &str) -> Cachefs {
        let user = self.user(role);
        on(&self.server, &user.access_key, &user.secret_key)
    }
}

#[test]
fn the_documented_policies_keep_jobs_in_their_scopes() {
    let guarded = Guarded::start();
    let main = guarded.machine("main");
    save(&main, MAIN, "k", &dir_with(&main, "main", "of main")).success();

    let pull_request = guarded.machine("pull-requests");
    let place = pull_request.dir("place");
    let restored = restore(&pull_request, PULL_REQUEST, "k", &place).success();
    assert_eq!(restored.json()["matched_scope"], "branch/main");
    fs::write(place.join("file"), "of 12").unwrap();
    for _ in 0..2 {
        let saved = save(&pull_request, PULL_REQUEST, "k", &place).success();
        assert!(!saved.stderr().contains("WARN"), "{saved}");
        fs::write(place.join("more"), "of 12").unwrap();
    }

    let refused = save(&pull_request, MAIN, "k", &place);
    assert_eq!(refused.code(), Some(4), "{refused}");
    let said = refused.stderr();
    assert!(said.contains("access denied"), "{said}");
    let hint = "hint: the credentials lack s3:PutObject for refs/branch~2Fmain/k/~r";
    assert!(said.contains(hint), "{said}");
    let place = main.dir("unchanged");
    restore(&main, MAIN, "k", &place).success();
    assert_eq!(fs::read_to_string(place.join("file")).unwrap(), "of main");
    let delete = of(MAIN, pull_request.command(["delete", "k"])).run();
    assert_eq!(delete.code(), Some(4), "{delete}");
    assert!(
        delete
            .stderr()
            .contains("s3:DeleteObject for refs/branch~2Fmain/k/"),
        "{delete}"
    );

    let branch = guarded.machine("branches");
    let topic = [
        ("CACHEFS_BRANCH", "topic"),
        ("CACHEFS_DEFAULT_BRANCH", "main"),
    ];
    save(
        &branch,
        &topic,
        "k",
        &dir_with(&branch, "topic", "of topic"),
    )
    .success();
    let refused = save(&branch, MAIN, "k", &branch.dir("topic"));
    assert_eq!(refused.code(), Some(4), "{refused}");

    let keeper = guarded.machine("housekeeping");
    keeper
        .run(["promote", "--all", "--from", "pr/12", "--to", "branch/main"])
        .success();
    keeper
        .run(["delete", "--all", "--scope", "pr/12"])
        .success();
    keeper.run(["gc"]).success();
    keeper.run(["gc", "--grace", "0"]).success();
    keeper
        .run(["check", "--all-scopes", "--read-data"])
        .success();
    let place = main.dir("promoted");
    restore(&main, MAIN, "k", &place).success();
    assert_eq!(fs::read_to_string(place.join("file")).unwrap(), "of 12");
}

#[test]
fn who_may_only_read_restores_and_is_told_what_a_save_takes() {
    let guarded = Guarded::start();
    let main = guarded.machine("main");
    save(&main, MAIN, "k", &dir_with(&main, "main", "of main")).success();
    let reader = guarded.machine("reader");
    let place = reader.dir("place");
    restore(&reader, PULL_REQUEST, "k", &place).success();
    assert_eq!(fs::read_to_string(place.join("file")).unwrap(), "of main");
    fs::write(place.join("file"), "another").unwrap();
    let soft = reader.save("k", &place).run().success();
    assert!(
        soft.stderr().contains("lack s3:PutObject for packs/"),
        "{soft}"
    );
    assert!(
        soft.stderr()
            .contains("the build continues without the cache"),
        "{soft}"
    );
}

#[test]
fn who_may_add_packs_may_not_replace_any() {
    let guarded = Guarded::start();
    let main = guarded.machine("main");
    save(&main, MAIN, "k", &dir_with(&main, "main", "of main")).success();
    let bucket = guarded.server.bucket_dir().join("caches");
    let pack = objects(&bucket)
        .into_keys()
        .find(|name| name.starts_with("packs/"));
    let pack = ObjectKey::new(pack.unwrap());

    let user = guarded.user("pull-requests");
    let credentials = [
        ("AWS_ACCESS_KEY_ID", &user.access_key),
        ("AWS_SECRET_ACCESS_KEY", &user.secret_key),
    ];
    let owned = credentials.map(|(name, value)| (name.to_owned(), value.clone()));
    let spec = RemoteSpec {
        env: owned.into_iter().collect(),
        ..guarded.server.spec("caches")
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let remote = open_remote(&spec, RetryPolicy::default()).unwrap().remote;
    let put = |mode| {
        let error = runtime
            .block_on(remote.put(&pack, "x".into(), mode))
            .unwrap_err();
        error.kind()
    };
    assert_eq!(put(PutMode::Overwrite), RemoteErrorKind::Denied);
    assert_eq!(put(PutMode::IfAbsent), RemoteErrorKind::Exists);
    let deleted = runtime.block_on(remote.delete(&pack)).unwrap_err();
    assert_eq!(deleted.kind(), RemoteErrorKind::Denied);
}
