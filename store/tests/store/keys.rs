//! Keys while jobs concurrently publish, supersede and delete.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use cachefs_store::id::{LayerId, SaveId};
use cachefs_store::layer::LayerSummary;
use cachefs_store::refs::{
    self, CachePart, Creator, Key, KeyQuery, LayerInfo, MatchKind, Platform, RefName, RefRecord,
    Resolved, Scope,
};
use cachefs_store::remote::{DynRemote, FileRemote, ObjectKey, PutMode, RemoteErrorKind};
use cachefs_store::{Error, ErrorKind};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::bent::{Answer, Ask, Bent};

struct Keys {
    dir: TempDir,
    bent: Arc<Bent>,
    remote: DynRemote,
    runtime: Runtime,
}

fn name(key: &str) -> RefName {
    RefName::new(Scope::new("main").unwrap(), Key::new(key).unwrap())
}

fn layer(number: u8) -> LayerInfo {
    LayerInfo {
        id: LayerId([number; 32]),
        length: 1,
        summary: LayerSummary::default(),
        new_bytes: 1,
        contains: Vec::new(),
        created: 1,
        key: Key::new("k").unwrap(),
        role: None,
        creator: Creator::default(),
    }
}

fn record(key: &str, layers: &[u8], supersedes: &[SaveId]) -> RefRecord {
    let layers = layers.iter().copied().map(layer).collect();
    let mut record = RefRecord::new(name(key), layers, Creator::default(), Platform::default());
    record.supersedes = supersedes.to_vec();
    record
}

fn numbers(resolved: &Resolved) -> Vec<u8> {
    resolved.layers.iter().map(|layer| layer.id.0[0]).collect()
}

impl Keys {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let bent = Bent::new(Arc::new(FileRemote::new(dir.path().join("remote"))));
        let runtime = Runtime::new().unwrap();
        let keys = Self {
            remote: bent.clone(),
            bent,
            dir,
            runtime,
        };
        keys.put("cachefs.json", b"{}");
        keys
    }

    fn put(&self, object: &str, bytes: &[u8]) {
        let (object, bytes) = (ObjectKey::new(object), Bytes::copy_from_slice(bytes));
        self.runtime
            .block_on(self.remote.put(&object, bytes, PutMode::Overwrite))
            .unwrap();
    }

    fn publish(&self, record: &RefRecord) {
        self.runtime
            .block_on(refs::publish_record(&self.remote, record))
            .unwrap();
    }

    fn read(&self, key: &str) -> Vec<RefRecord> {
        self.runtime
            .block_on(refs::read_records(&self.remote, &name(key)))
            .unwrap()
    }

    fn try_resolve(&self, key: &str, prefixes: &[&str]) -> Result<Option<Resolved>, Error> {
        let wanted = KeyQuery {
            scopes: vec![Scope::new("main").unwrap()],
            key: Key::new(key).unwrap(),
            prefixes: prefixes.iter().map(|&prefix| prefix.to_owned()).collect(),
            chosen: None,
            role: None,
        };
        self.runtime
            .block_on(refs::resolve_key(&self.remote, &wanted))
    }

    fn resolve(&self, key: &str) -> Vec<u8> {
        numbers(&self.try_resolve(key, &[]).unwrap().unwrap())
    }

    /// The objects of all keys: records as `record`, heads as `head`.
    fn objects(&self) -> Vec<String> {
        let objects = self.runtime.block_on(self.remote.list("refs/")).unwrap();
        objects
            .into_iter()
            .map(|object| object.key.to_string())
            .collect()
    }

    fn object_of(&self, save: &SaveId) -> String {
        let is_of = |object: &String| object.ends_with(&save.to_string());
        self.objects().into_iter().find(is_of).unwrap()
    }

    fn head(&self) -> String {
        self.objects()
            .into_iter()
            .find(|object| object.ends_with("/~h"))
            .unwrap()
    }

    fn bytes(&self, object: &str) -> Bytes {
        self.runtime
            .block_on(self.remote.get(&ObjectKey::new(object), 4 << 20))
            .unwrap()
    }
}

/// Saves like a real saver: adds a layer on top of the existing ones, and supersedes their records.
async fn save(remote: &DynRemote, added: u8) {
    let found = refs::read_records(remote, &name("k")).await.unwrap();
    let supersedes = refs::superseded_saves(&found);
    let (mut layers, _) = refs::unite_records(found);
    layers.push(layer(added));
    let mut record = RefRecord::new(name("k"), layers, Creator::default(), Platform::default());
    record.supersedes = supersedes;
    refs::publish_record(remote, &record).await.unwrap();
}

#[test]
fn nothing_of_racing_savers_is_lost() {
    const SAVERS: u8 = 12;
    const ROUNDS: u8 = 4;
    let keys = Keys::new();
    let reading = Arc::new(AtomicBool::new(true));
    let reader = keys.runtime.spawn({
        let (remote, reading) = (keys.remote.clone(), reading.clone());
        async move {
            // Once the key exists, a reader must never miss it or find fewer layers than before.
            let mut most = 0;
            while reading.load(Relaxed) {
                let records = refs::read_records(&remote, &name("k")).await.unwrap();
                let (layers, _) = refs::unite_records(records);
                assert!(layers.len() >= most, "{} after {most}", layers.len());
                most = layers.len();
            }
            most
        }
    });
    for round in 0..ROUNDS {
        let savers = (0..SAVERS).map(|number| {
            let remote = keys.remote.clone();
            keys.runtime
                .spawn(async move { save(&remote, round * SAVERS + number).await })
        });
        let savers: Vec<_> = savers.collect();
        for saver in savers {
            keys.runtime.block_on(saver).unwrap();
        }
        let found: BTreeSet<u8> = keys.resolve("k").into_iter().collect();
        assert_eq!(found, (0..(round + 1) * SAVERS).collect());
    }
    reading.store(false, Relaxed);
    assert!(keys.runtime.block_on(reader).unwrap() <= usize::from(SAVERS * ROUNDS));
    // One more save without concurrency leaves only its own record and the head.
    keys.runtime.block_on(save(&keys.remote, 255));
    assert_eq!(keys.objects().len(), 2, "{:?}", keys.objects());
    assert_eq!(keys.resolve("k").len(), usize::from(SAVERS * ROUNDS) + 1);
}

#[test]
fn a_settled_key_is_read_in_one_round_trip() {
    let keys = Keys::new();
    keys.publish(&record("k", &[1], &[]));
    keys.bent.asked();
    assert_eq!(keys.resolve("k"), [1]);
    let asked: BTreeSet<_> = keys
        .bent
        .asked()
        .into_iter()
        .map(|(ask, _)| ask as u8)
        .collect();
    assert_eq!(asked, [Ask::Get as u8, Ask::List as u8].into());
    assert!(keys.try_resolve("other", &[]).unwrap().is_none());
    assert_eq!(keys.bent.asked().len(), 2);
}

#[test]
fn a_head_that_is_out_of_date_decides_nothing() {
    let keys = Keys::new();
    let first = record("k", &[1], &[]);
    keys.publish(&first);
    let stale = keys.bytes(&keys.head());
    let second = record("k", &[1, 2], &[first.id]);
    keys.publish(&second);
    keys.put(&keys.head(), &stale);
    assert_eq!(keys.resolve("k"), [1, 2]);
    // A sibling that did not see the second save.
    keys.publish(&record("k", &[1, 3], &[first.id]));
    keys.put(&keys.head(), &stale);
    assert_eq!(keys.resolve("k"), [1, 2, 3]);
    keys.put(&keys.head(), b"{ not a record");
    assert_eq!(keys.resolve("k"), [1, 2, 3]);
    let newer = String::from_utf8_lossy(&stale).replace("\"format\": 1", "\"format\": 99");
    keys.put(&keys.head(), newer.as_bytes());
    assert_eq!(keys.resolve("k"), [1, 2, 3]);
}

/// If a saver dies before it deletes the superseded saves, they must not reappear later.
#[test]
fn what_was_superseded_stays_superseded() {
    let keys = Keys::new();
    let first = record("k", &[1, 2], &[]);
    keys.publish(&first);
    let (object, bytes) = (
        keys.object_of(&first.id),
        keys.bytes(&keys.object_of(&first.id)),
    );
    // A squash: 9 combines 1 and 2, without the files that 2 removed.
    keys.publish(&record("k", &[9], &[first.id]));
    keys.put(&object, &bytes);
    assert_eq!(keys.resolve("k"), [9]);
    keys.runtime.block_on(save(&keys.remote, 10));
    assert_eq!(keys.resolve("k"), [9, 10]);
    assert_eq!(keys.objects().len(), 2, "{:?}", keys.objects());
}

/// A remote may refuse deletes, but the save must exist anyway.
#[test]
fn a_saver_need_not_be_allowed_to_delete() {
    let keys = Keys::new();
    keys.bent.rule(|ask, _| match ask {
        Ask::Delete => Answer::Failed(RemoteErrorKind::Denied),
        _ => Answer::Honest,
    });
    for number in 1..5 {
        keys.runtime.block_on(save(&keys.remote, number));
    }
    assert_eq!(keys.resolve("k"), [1, 2, 3, 4]);
    keys.bent.straighten();
    keys.runtime.block_on(save(&keys.remote, 5));
    assert_eq!(keys.objects().len(), 2);
}

#[test]
fn records_deleted_between_list_and_get_are_looked_for_again() {
    let keys = Keys::new();
    let first = record("k", &[1], &[]);
    keys.publish(&first);
    let object = keys.object_of(&first.id);
    let second = record("k", &[1, 2], &[first.id]);
    keys.publish(&second);
    let newer = keys.object_of(&second.id);
    let newer_bytes = keys.bytes(&newer);
    // Restore the state before the second save, without a head ...
    let root = keys.dir.path().join("remote");
    std::fs::remove_file(root.join(keys.head())).unwrap();
    std::fs::remove_file(root.join(&newer)).unwrap();
    keys.put(&object, b"never read");
    // ... and publish the second save between the list and the get.
    let (path, newer) = (root.join(&object), root.join(newer));
    keys.bent.rule(move |ask, key| {
        if ask == Ask::Get && key == object && path.exists() {
            std::fs::write(&newer, &newer_bytes).unwrap();
            std::fs::remove_file(&path).unwrap();
        }
        Answer::Honest
    });
    assert_eq!(keys.resolve("k"), [1, 2]);
}

#[test]
fn a_key_that_is_deleted_meanwhile_is_a_miss() {
    let keys = Keys::new();
    let only = record("k", &[1], &[]);
    keys.publish(&only);
    let root = keys.dir.path().join("remote");
    std::fs::remove_file(root.join(keys.head())).unwrap();
    let path = root.join(keys.object_of(&only.id));
    keys.bent.rule(move |ask, key| {
        if ask == Ask::Get && !key.ends_with("~h") {
            let _ = std::fs::remove_file(&path);
        }
        Answer::Honest
    });
    assert!(keys.try_resolve("k", &[]).unwrap().is_none());
}

#[test]
fn an_outage_is_never_a_miss() {
    let keys = Keys::new();
    keys.publish(&record("k", &[1], &[]));
    for refused in [Ask::Get, Ask::List] {
        for kind in [
            RemoteErrorKind::Unavailable,
            RemoteErrorKind::Denied,
            RemoteErrorKind::Deadline,
        ] {
            keys.bent.rule(move |ask, _| match ask == refused {
                true => Answer::Failed(kind),
                false => Answer::Honest,
            });
            let error = keys.try_resolve("k", &["k"]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Backend);
            assert!(!error.is_not_found());
        }
    }
}

#[test]
fn torn_damaged_and_newer_records_are_told_apart() {
    let keys = Keys::new();
    let only = record("k", &[1], &[]);
    keys.publish(&only);
    let object = keys.object_of(&only.id);
    let text = String::from_utf8(keys.bytes(&object).to_vec()).unwrap();
    std::fs::remove_file(keys.dir.path().join("remote").join(keys.head())).unwrap();

    // A torn record after a power cut counts as missing; other damage must not look like a miss.
    for torn in [&b""[..], &text.as_bytes()[..text.len() / 2], &[0; 99]] {
        keys.put(&object, torn);
        assert!(keys.try_resolve("k", &[]).unwrap().is_none());
    }
    keys.put(&object, b"no record");
    assert!(matches!(
        keys.try_resolve("k", &[]),
        Err(Error::Damaged { .. })
    ));
    // A prefix search skips them and finds another key.
    keys.publish(&record("j", &[7], &[]));
    for bytes in [&b"no record"[..], b"", br#"{"format": 2}"#] {
        keys.put(&object, bytes);
        let found = keys.try_resolve("z", &["k", "j"]).unwrap();
        assert_eq!(found.unwrap().name.key.as_str(), "j");
    }
    keys.put(
        &object,
        text.replace("\"format\": 1", "\"format\": 2").as_bytes(),
    );
    assert!(matches!(
        keys.try_resolve("k", &[]),
        Err(Error::Unsupported { .. })
    ));
    let requires = text.replace("\"format\": 1,", "\"format\": 1, \"requires\": [\"x\"],");
    keys.put(&object, requires.as_bytes());
    assert!(matches!(
        keys.try_resolve("k", &[]),
        Err(Error::Unsupported { .. })
    ));
    keys.put(
        &object,
        text.replace("\"format\": 1,", "\"format\": 1, \"later\": 7,")
            .as_bytes(),
    );
    assert_eq!(keys.resolve("k"), [1]);
}

#[test]
fn the_exact_key_wins_then_prefixes_in_order_and_the_newest_of_each() {
    let keys = Keys::new();
    for (key, number) in [("a-1", 1), ("a-2", 2), ("b-9", 3), ("b-1", 4)] {
        keys.publish(&record(key, &[number], &[]));
    }
    let resolve = |key, prefixes: &[&str]| {
        keys.try_resolve(key, prefixes)
            .unwrap()
            .map(|found| (numbers(&found), found.kind))
    };
    assert_eq!(resolve("a-1", &["b-"]), Some((vec![1], MatchKind::Exact)));
    assert_eq!(
        resolve("a-3", &["a-", "b-"]),
        Some((vec![2], MatchKind::Prefix("a-".into())))
    );
    assert_eq!(
        resolve("a-3", &["c-", "b-"]),
        Some((vec![4], MatchKind::Prefix("b-".into())))
    );
    assert_eq!(resolve("a-3", &["c-"]), None);
    // The newest save of a key determines its age.
    keys.publish(&record("a-1", &[1, 5], &[]));
    assert_eq!(
        resolve("a-3", &["a-"]),
        Some((vec![1, 5], MatchKind::Prefix("a-".into())))
    );
}

#[test]
fn a_deleted_key_is_gone() {
    let keys = Keys::new();
    keys.publish(&record("k", &[1], &[]));
    keys.publish(&record("k", &[2], &[]));
    keys.publish(&record("kk", &[3], &[]));
    let deleted = keys
        .runtime
        .block_on(refs::delete_name(&keys.remote, &name("k")))
        .unwrap();
    assert_eq!(deleted, 2);
    assert!(keys.try_resolve("k", &[]).unwrap().is_none());
    assert_eq!(keys.resolve("kk"), [3]);
    assert!(keys.read("k").is_empty());
}

#[test]
fn all_parts_come_from_the_best_key_that_has_any() {
    let keys = Keys::new();
    let publish = |key: &str, part: &str, at: u64| {
        let mut record = record(key, &[1], &[]);
        record.part = Some(CachePart::new(part).unwrap());
        record.id.micros = at;
        keys.publish(&record);
    };
    publish("k-1", "a", 1);
    publish("k-1", "b", 2);
    publish("k-2", "b", 3);
    publish("k-3", "c", 4);
    // A key with one path: it neither belongs to a key of several paths, nor matches as one.
    keys.publish(&record("k-4", &[1], &[]));
    let find = |key: &str| {
        let wanted = KeyQuery {
            scopes: vec![Scope::new("main").unwrap()],
            key: Key::new(key).unwrap(),
            prefixes: vec!["k-".to_owned()],
            chosen: None,
            role: None,
        };
        let accepts = |part: Option<&CachePart>| part.is_some_and(|part| part.as_str() != "c");
        let found = refs::find_key(&keys.remote, &wanted, accepts, |_| true);
        let found = keys.runtime.block_on(found).unwrap().unwrap();
        let parts = found.parts.iter().flatten().map(CachePart::to_string);
        (found.key.to_string(), found.kind, parts.collect::<Vec<_>>())
    };
    let prefix = MatchKind::Prefix("k-".to_owned());
    assert_eq!(
        find("k-1"),
        ("k-1".into(), MatchKind::Exact, vec!["a".into(), "b".into()])
    );
    assert_eq!(
        find("k-9"),
        ("k-2".into(), prefix.clone(), vec!["b".into()])
    );
    assert_eq!(find("k-3"), ("k-2".into(), prefix, vec!["b".into()]));
    let (scope, key) = (Scope::new("main").unwrap(), Key::new("k-1").unwrap());
    let deleted = refs::delete_key(&keys.remote, &scope, &key);
    assert_eq!(keys.runtime.block_on(deleted).unwrap(), 2);
    assert_eq!(find("k-1").0, "k-2");
}

#[test]
fn a_part_that_was_found_by_prefix_is_read_as_it_was_found() {
    let keys = Keys::new();
    keys.publish(&record("deps-1", &[1], &[]));
    let damaged = record("deps-1", &[2], &[]);
    keys.publish(&damaged);
    keys.put(&keys.object_of(&damaged.id), b"{\"format\": \"x\"}");
    let mut expired = record("deps-1", &[3], &[]);
    expired.expires = Some(1);
    keys.publish(&expired);
    let resolve = |kind| {
        let wanted = KeyQuery {
            scopes: vec![Scope::new("main").unwrap()],
            key: Key::new("deps-2").unwrap(),
            prefixes: vec!["deps-".to_owned()],
            chosen: Some(refs::Chosen::Part {
                name: name("deps-1"),
                kind,
            }),
            role: None,
        };
        keys.runtime
            .block_on(refs::resolve_key(&keys.remote, &wanted))
    };
    let found = resolve(MatchKind::Prefix("deps-".to_owned())).unwrap();
    assert_eq!(numbers(&found.unwrap()), [1]);
    assert!(resolve(MatchKind::Exact).is_err());
}
