//! Tenants of one machine: jobs with their own credentials or buckets cannot see each other's data.

use std::fs;
use std::path::{Path, PathBuf};

use cachefs_tests::harness::{Cachefs, Invocation};
use cachefs_tests::s3::{BUCKET, S3Server, User};
use serde_json::json;

use crate::support::Commands;

fn policy(read: &[&str]) -> String {
    let objects = |names: &[&str]| -> Vec<String> {
        let named = |name: &&str| format!("arn:aws:s3:::{BUCKET}/*{name}");
        names.iter().map(named).collect()
    };
    json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": "s3:ListBucket", "Resource": format!("arn:aws:s3:::{BUCKET}") },
        { "Effect": "Allow", "Action": "s3:GetObject", "Resource": objects(read) },
        { "Effect": "Allow", "Action": ["s3:PutObject", "s3:DeleteObject"],
          "Resource": objects(&["/*"]) },
    ] })
    .to_string()
}

/// A machine, and three users of the bucket: two with full access, and one who may read layers and
/// records but no packs.
struct Tenants {
    server: S3Server,
    machine: Cachefs,
    users: [User; 3],
}

fn tenants() -> Tenants {
    let all = policy(&["/*"]);
    let names_only = policy(&["/refs/*", "/cachefs.json", "/gc/*"]);
    let user = |name: &str, policy: &str| User::new(name, [policy]).unwrap();
    let users = [user("a", &all), user("b", &all), user("c", &names_only)];
    let server = S3Server::start_guarded(users.to_vec()).unwrap();
    let machine = Cachefs::with_remote(format!("s3://{BUCKET}/caches"))
        .unwrap()
        .with_env("CACHEFS_ENDPOINT", server.endpoint());
    Tenants {
        server,
        machine,
        users,
    }
}

impl Tenants {
    fn by(&self, user: usize, invocation: Invocation) -> Invocation {
        let user = &self.users[user];
        invocation
            .env("AWS_ACCESS_KEY_ID", &user.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &user.secret_key)
            .arg("--strict-errors")
    }

    fn save(&self, user: usize, key: &str, dir: &Path) -> u64 {
        let save = self.by(user, self.machine.save(key, dir));
        let saved = save.arg("--format").arg("json").run().success().json();
        saved["new_raw_bytes"].as_u64().unwrap()
    }

    fn restore(&self, user: usize, key: &str, dir: &Path) -> Invocation {
        let restore = self.machine.restore(key, dir).arg("--mode").arg("copy");
        self.by(user, restore)
    }

    fn source(&self) -> PathBuf {
        let dir = self.machine.dir("source");
        fs::write(dir.join("file"), "of a".repeat(10_000)).unwrap();
        dir
    }
}

#[test]
fn two_credentials_on_one_bucket_share_no_local_copies_and_no_index() {
    let it = tenants();
    let source = it.source();
    assert!(it.save(0, "k", &source) > 0);
    it.restore(0, "k", &it.machine.dir("first")).run().success();
    // Both are on the machine now, but a user who cannot read them in the bucket must not get them
    // from the local cache.
    let place = it.machine.dir("place");
    let refused = it.restore(2, "k", &place).run();
    assert_ne!(refused.code(), Some(0), "{refused}");
    assert!(!place.join("file").exists());
    // Another user who saves the same file stores it again: user b must not learn that user a
    // already has it.
    assert!(it.save(1, "of-b", &source) > 0);
    assert_eq!(it.save(0, "again", &source), 0);
    assert_eq!(it.save(1, "again-of-b", &source), 0);
    it.restore(1, "k", &place).run().success();
    assert_eq!(
        fs::read_to_string(place.join("file")).unwrap().len(),
        40_000
    );
}

#[test]
fn a_bucket_with_a_record_and_no_data_restores_nothing() {
    let it = tenants();
    it.save(0, "k", &it.source());
    it.restore(0, "k", &it.machine.dir("first")).run().success();
    // A prefix of the tenant's own with a copy of the records, which anyone may read, and nothing
    // else.
    let (from, to) = (
        it.server.bucket_dir().join("caches/refs"),
        it.server.bucket_dir().join("theirs/refs"),
    );
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    let mut copy = std::process::Command::new("cp");
    let copied = copy.arg("-r").args([&from, &to]).status();
    assert!(copied.unwrap().success());
    let place = it.machine.dir("place");
    let restore = it.restore(0, "k", &place).arg("--remote");
    let restored = restore.arg(format!("s3://{BUCKET}/theirs")).run();
    assert!(!place.join("file").exists(), "{restored}");
}
