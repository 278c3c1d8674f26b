//! `check` against damaged repositories.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use cachefs_store::Hint;
use cachefs_store::check::{
    CheckOptions, CheckReport, FindingKind, Repaired, check_repository, repair_keys,
};
use cachefs_store::id::{LayerId, SaveId};
use cachefs_store::progress::Silent;
use cachefs_store::refs::{self, Creator, Key, LayerInfo, Platform, RefName, RefRecord, Scope};
use cachefs_store::remote::{FileRemote, RemoteErrorKind};
use cachefs_store::{Error, ErrorKind};
use cachefs_tests::tree::TreeSpec;
use tempfile::TempDir;

use super::bent::{Answer, Ask, Bent};
use super::workbench::{Workbench, info, stack};

struct Repository {
    bench: Workbench,
    bent: Arc<Bent>,
}

fn name(scope: &str, key: &str) -> RefName {
    RefName::new(Scope::new(scope).unwrap(), Key::new(key).unwrap())
}

/// Two keys on a common base, and an unrelated third one.
fn repository() -> Repository {
    let dir = TempDir::new().unwrap();
    let bent = Bent::new(Arc::new(FileRemote::new(dir.path().join("remote"))));
    let bench = Workbench::with_remote(dir, bent.clone());
    let base = bench.directory("base");
    let mut spec = TreeSpec::default();
    spec.dir("dir")
        .file("dir/large", 2 << 20, 1)
        .symlink("link", "dir");
    spec.build(&base).unwrap();
    let first = bench.save(&base, &stack(&[]));
    fs::write(base.join("more"), [3; 1000]).unwrap();
    let second = bench.save(&base, &stack(&[&first.layer]));
    let apart = bench.directory("apart");
    fs::write(apart.join("file"), b"apart").unwrap();
    let third = bench.save(&apart, &stack(&[]));
    for (scope, key, layers) in [
        ("main", "base", vec![&first.layer]),
        ("main", "branch", vec![&first.layer, &second.layer]),
        ("other", "apart", vec![&third.layer]),
    ] {
        let layers = layers.into_iter().map(|layer| info(layer)).collect();
        let (creator, platform) = (Creator::default(), Platform::default());
        let record = RefRecord::new(name(scope, key), layers, creator, platform);
        bench
            .runtime
            .block_on(refs::publish_record(&bench.remote, &record))
            .unwrap();
    }
    Repository { bench, bent }
}

impl Repository {
    fn try_check(&self, options: &CheckOptions) -> Result<CheckReport, Error> {
        self.bench
            .runtime
            .block_on(check_repository(&self.bench.remote, options, &Silent))
    }

    fn check(&self, read_data: bool) -> CheckReport {
        self.try_check(&CheckOptions {
            read_data,
            ..Default::default()
        })
        .unwrap()
    }

    fn repair(&self, report: &CheckReport) -> Repaired {
        let repaired = repair_keys(&self.bench.remote, report);
        self.bench.runtime.block_on(repaired).unwrap()
    }

    /// Publishes another save of a key, next to existing saves or superseding some of them.
    fn publish(&self, name: &RefName, layers: Vec<LayerInfo>, supersedes: &[SaveId]) -> SaveId {
        let (creator, platform) = (Creator::default(), Platform::default());
        let mut record = RefRecord::new(name.clone(), layers, creator, platform);
        record.supersedes = supersedes.to_vec();
        // The saver may not delete the saves that it supersedes.
        self.bent.rule(|ask, _| match ask {
            Ask::Delete => Answer::Failed(RemoteErrorKind::Denied),
            _ => Answer::Honest,
        });
        let publish = refs::publish_record(&self.bench.remote, &record);
        self.bench.runtime.block_on(publish).unwrap();
        self.bent.straighten();
        record.id
    }

    fn saves(&self, name: &RefName) -> Vec<SaveId> {
        let records = refs::read_records(&self.bench.remote, name);
        let records = self.bench.runtime.block_on(records).unwrap();
        records.iter().map(|record| record.id).collect()
    }

    /// The objects in a folder, largest first.
    fn objects(&self, folder: &str) -> Vec<PathBuf> {
        let mut pending = vec![self.bench.dir.path().join("remote").join(folder)];
        let mut files = Vec::new();
        while let Some(path) = pending.pop() {
            if path.is_dir() {
                pending.extend(
                    fs::read_dir(&path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
            } else {
                files.push(path);
            }
        }
        files.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).unwrap().len()));
        files
    }

    /// Modifies an object during a check, then restores it; returns the single finding.
    fn tampered(
        &self,
        path: &Path,
        read_data: bool,
        change: impl FnOnce(&mut Vec<u8>),
    ) -> Option<(FindingKind, BTreeSet<String>)> {
        let honest = fs::read(path).unwrap();
        let mut bytes = honest.clone();
        change(&mut bytes);
        rewrite(path, &bytes);
        let report = self.check(read_data);
        rewrite(path, &honest);
        assert!(report.findings.len() <= 1, "{:#?}", report.findings);
        let finding = report.findings.into_iter().next()?;
        assert!(
            path.ends_with(&finding.object),
            "{} for {path:?}",
            finding.object
        );
        assert!(!finding.detail.is_empty());
        assert_ne!(finding.hint, Hint::from(""));
        let keys = finding
            .keys
            .iter()
            .map(|name| name.key.to_string())
            .collect();
        Some((finding.kind, keys))
    }
}

fn rewrite(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

fn found(kind: FindingKind, keys: &[&str]) -> Option<(FindingKind, BTreeSet<String>)> {
    Some((kind, keys.iter().map(|&key| key.to_owned()).collect()))
}

#[test]
fn an_intact_repository_has_no_findings() {
    let repository = repository();
    let report = repository.check(false);
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    assert_eq!(
        (report.keys, report.saves, report.layers, report.packs),
        (3, 3, 3, 3)
    );
    assert_eq!(report.frames, 0);
    let read = repository.check(true);
    assert!(read.findings.is_empty(), "{:#?}", read.findings);
    assert!(read.frames > 4 && read.bytes > report.bytes + (1 << 20));

    let only = CheckOptions {
        scopes: Some(vec![Scope::new("main").unwrap()]),
        prefix: "br".to_owned(),
        read_data: false,
    };
    let report = repository.try_check(&only).unwrap();
    assert_eq!((report.keys, report.layers, report.packs), (1, 2, 2));
}

#[test]
fn damage_is_found_with_the_keys_it_affects() {
    let repository = repository();
    let packs = repository.objects("packs");
    let (base, last) = (&packs[0], packs[0].metadata().unwrap().len() as usize - 1);
    let both = ["base", "branch"];
    let damaged = FindingKind::Damaged;
    let flip = |at: usize| move |bytes: &mut Vec<u8>| bytes[at] ^= 1;

    // `check` always verifies the trailer, but reads frames only with `read_data`.
    assert_eq!(repository.tampered(base, false, flip(1000)), None);
    assert_eq!(
        repository.tampered(base, true, flip(1000)),
        found(damaged, &both)
    );
    assert_eq!(
        repository.tampered(base, false, flip(last)),
        found(damaged, &both)
    );
    assert_eq!(
        repository.tampered(base, false, flip(last - 200)),
        found(damaged, &both)
    );
    let cut = |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2);
    assert_eq!(repository.tampered(base, false, cut), found(damaged, &both));
    assert_eq!(
        repository.tampered(base, false, |bytes| bytes.push(0)),
        found(damaged, &both)
    );

    for layer in repository.objects("layers") {
        let length = layer.metadata().unwrap().len() as usize;
        for at in [0, 8, 20, 100, length / 2, length - 1] {
            let (kind, keys) = repository.tampered(&layer, false, flip(at)).unwrap();
            assert!(
                matches!(kind, FindingKind::Damaged | FindingKind::Unsupported),
                "byte {at}"
            );
            assert!(!keys.is_empty());
        }
        let kind = repository
            .tampered(&layer, false, |bytes| bytes[7] = b'9')
            .unwrap()
            .0;
        assert_eq!(kind, FindingKind::Unsupported);
        assert_eq!(repository.tampered(&layer, false, cut).unwrap().0, damaged);
    }
    for record in repository.objects("refs") {
        assert_eq!(repository.tampered(&record, false, cut).unwrap().0, damaged);
        assert_eq!(
            repository.tampered(&record, false, Vec::clear).unwrap().0,
            damaged
        );
        let newer = |bytes: &mut Vec<u8>| {
            *bytes = String::from_utf8_lossy(bytes)
                .replace("\"format\": 1", "\"format\": 2")
                .into();
        };
        assert_eq!(
            repository.tampered(&record, false, newer).unwrap().0,
            FindingKind::Unsupported
        );
        let moved = |bytes: &mut Vec<u8>| {
            *bytes = String::from_utf8_lossy(bytes)
                .replace("\"key\": \"b", "\"key\": \"c")
                .into();
        };
        if !record.to_string_lossy().contains("apart") {
            assert_eq!(
                repository.tampered(&record, false, moved).unwrap().0,
                damaged
            );
        }
    }
    assert!(repository.check(true).findings.is_empty());
}

#[test]
fn missing_objects_are_found() {
    let repository = repository();
    for (folder, number) in [("packs", 0), ("layers", 0), ("layers", 1)] {
        let object = &repository.objects(folder)[number];
        let bytes = fs::read(object).unwrap();
        fs::remove_file(object).unwrap();
        let report = repository.check(false);
        fs::write(object, bytes).unwrap();
        assert_eq!(report.findings.len(), 1, "{:#?}", report.findings);
        assert_eq!(report.findings[0].kind, FindingKind::Missing);
        assert!(!report.findings[0].keys.is_empty());
    }
    let pack = &repository.objects("packs")[0];
    fs::remove_file(pack).unwrap();
    fs::create_dir(pack).unwrap();
    let report = repository.check(false);
    assert_eq!(report.findings.len(), 1, "{:#?}", report.findings);
    assert!(matches!(
        report.findings[0].kind,
        FindingKind::Unreadable | FindingKind::Missing
    ));
}

#[test]
fn an_outage_is_an_error_and_no_finding() {
    let repository = repository();
    for refused in [Ask::List, Ask::Get, Ask::GetRange, Ask::Head] {
        for kind in [
            RemoteErrorKind::Unavailable,
            RemoteErrorKind::Denied,
            RemoteErrorKind::Deadline,
        ] {
            repository.bent.rule(move |ask, _| match ask == refused {
                true => Answer::Failed(kind),
                false => Answer::Honest,
            });
            let options = CheckOptions {
                read_data: true,
                ..Default::default()
            };
            assert_eq!(
                repository.try_check(&options).unwrap_err().kind(),
                ErrorKind::Backend
            );
        }
    }
}

#[test]
fn a_save_that_is_superseded_meanwhile_is_no_finding() {
    let repository = repository();
    let records: Vec<_> = repository
        .objects("refs")
        .into_iter()
        .filter(|path| !path.ends_with("~h"))
        .collect();
    repository.bent.rule(move |ask, key| {
        if ask == Ask::Get && key.starts_with("refs/") {
            for record in &records {
                let _ = fs::remove_file(record);
            }
        }
        Answer::Honest
    });
    assert!(repository.check(false).findings.is_empty());
}

/// A layer that is on no remote.
fn lost_layer(like: &LayerInfo) -> LayerInfo {
    LayerInfo {
        id: LayerId([7; 32]),
        ..like.clone()
    }
}

fn layer_of(repository: &Repository, name: &RefName) -> LayerInfo {
    let records = refs::read_records(&repository.bench.remote, name);
    let records = repository.bench.runtime.block_on(records).unwrap();
    records[0].layers[0].clone()
}

#[test]
fn a_repair_does_nothing_for_what_the_remote_refuses_or_breaks_off() {
    let repository = repository();
    let before = repository.objects("refs").len();
    for kind in [RemoteErrorKind::Invalid, RemoteErrorKind::Damaged] {
        for (ask, folder) in [
            (Ask::Get, "refs/"),
            (Ask::Get, "layers/"),
            (Ask::Head, "packs/"),
            (Ask::GetRange, "packs/"),
        ] {
            repository.bent.rule(
                move |asked, key| match asked == ask && key.starts_with(folder) {
                    true => Answer::Failed(kind),
                    false => Answer::Honest,
                },
            );
            let report = repository.check(true);
            assert!(!report.findings.is_empty(), "{kind:?} of {folder}");
            assert!(report.findings.iter().all(|it| !it.is_repairable()));
            assert_eq!(repository.repair(&report), Repaired::default());
            assert_eq!(repository.objects("refs").len(), before);
            assert!(!repository.objects("packs").is_empty());
        }
    }
    repository.bent.straighten();
    assert!(repository.check(true).findings.is_empty());
}

#[test]
fn bytes_that_are_damaged_on_the_way_once_are_no_finding() {
    for (ask, folder) in [
        (Ask::Get, "refs/"),
        (Ask::Get, "layers/"),
        (Ask::GetRange, "packs/"),
    ] {
        let repository = repository();
        let seen = Mutex::new(BTreeSet::new());
        repository.bent.rule(move |asked, key| {
            let is_first = || seen.lock().unwrap().insert(key.to_owned());
            match asked == ask && key.starts_with(folder) && is_first() {
                true => Answer::Flipped,
                false => Answer::Honest,
            }
        });
        let report = repository.check(true);
        assert!(report.findings.is_empty(), "{:#?}", report.findings);
    }
}

#[test]
fn a_repair_removes_the_broken_one_of_two_saves() {
    let repository = repository();
    let name = name("other", "apart");
    let intact = repository.saves(&name);
    let layer = layer_of(&repository, &name);
    repository.publish(&name, vec![lost_layer(&layer)], &[]);
    let report = repository.check(false);
    let repaired = repository.repair(&report);
    assert!(repaired.dropped.is_empty(), "{repaired:?}");
    assert_eq!(repaired.reduced, BTreeSet::from([name.clone()]));
    assert_eq!(repository.saves(&name), intact);
    assert!(repository.check(false).findings.is_empty());
}

#[test]
fn a_repair_does_not_bring_a_superseded_save_back() {
    let repository = repository();
    let name = name("other", "apart");
    let old = repository.saves(&name);
    let layer = layer_of(&repository, &name);
    repository.publish(&name, vec![lost_layer(&layer)], &old);
    let repaired = repository.repair(&repository.check(false));
    assert_eq!(repaired.dropped, BTreeSet::from([name.clone()]));
    assert!(repository.saves(&name).is_empty());
}

#[test]
fn a_key_with_an_empty_head_and_a_lost_pack_is_dropped() {
    let repository = repository();
    // A power cut can leave this.
    for object in repository.objects("refs") {
        if object.ends_with("~h") {
            rewrite(&object, b"");
        }
    }
    fs::remove_file(&repository.objects("packs")[0]).unwrap();
    let repaired = repository.repair(&repository.check(false));
    let keys = |keys: &BTreeSet<RefName>| -> Vec<String> {
        keys.iter().map(|name| name.key.to_string()).collect()
    };
    assert_eq!(keys(&repaired.dropped), ["base", "branch"]);
    assert_eq!(keys(&repaired.reduced), ["apart"]);
    assert!(repository.saves(&name("main", "base")).is_empty());
    assert_eq!(repository.saves(&name("other", "apart")).len(), 1);
    assert!(repository.check(true).findings.is_empty());
}
