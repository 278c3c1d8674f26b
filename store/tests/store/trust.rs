//! Savers against packs that lie about their content. Each test is an attack, and restores must
//! return the files that were saved.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use cachefs_store::Error;
use cachefs_store::check::{CheckOptions, check_repository, repair_keys};
use cachefs_store::frame::FrameBuilder;
use cachefs_store::gc::Condemned;
use cachefs_store::id::{ChunkId, TrailerHash};
use cachefs_store::index::Index;
use cachefs_store::layer::{
    EntryTarget, Layer, LayerBuilder, Meta, NewEntry, NewFilePiece, NewInode, NewKind,
};
use cachefs_store::layer::{ROOT, mode};
use cachefs_store::local::{FrameMemory, FrameReader, LayerCache, PackCache};
use cachefs_store::pack::{FinishedPack, PackRef, PackSet, PackWriter, Trailer, object_key};
use cachefs_store::progress::Silent;
use cachefs_store::refs::{
    self, Creator, Key, LayerInfo, Platform, Promotion, RefName, RefRecord, Scope,
};
use cachefs_store::remote::{FileRemote, PutMode, Remote};
use cachefs_store::save::store_target::StoreTarget;
use cachefs_store::save::target::Target;
use tempfile::TempDir;

use super::bent::Bent;
use super::workbench::{Workbench, domains, info, stack};

/// A public file whose hash everyone knows; as long as [`EVIL`].
const TOOL: &[u8] = b"#!/bin/sh\necho the honest tool, version 2.0\n";
const EVIL: &[u8] = b"#!/bin/sh\necho something else altogether...\n";

/// A pack that contains `bytes`, listed under the name and length of another chunk.
fn forged(bytes: &[u8], name: ChunkId, length: u32) -> FinishedPack {
    let mut frames = FrameBuilder::new().unwrap();
    frames.push(name, bytes).unwrap();
    let mut frame = frames.finish().unwrap().unwrap();
    frame.chunks = vec![(name, length)];
    if length as usize != bytes.len() {
        // The rest of the frame is a separate chunk.
        let rest = bytes.len() as u32 - length;
        frame.chunks.push((ChunkId([9; 32]), rest));
    }
    let mut writer = PackWriter::new();
    writer.push(&frame);
    writer.finish()
}

fn put(bench: &Workbench, pack: &FinishedPack) {
    let (object, bytes) = (object_key(&pack.pack.id), pack.bytes.clone().into());
    let put = bench.remote.put(&object, bytes, PutMode::Overwrite);
    bench.runtime.block_on(put).unwrap();
}

/// A layer with one file in the first frame of a pack.
fn layer_on(bench: &Workbench, pack: &FinishedPack, described: PackRef) -> Arc<Layer> {
    let meta = |kind| Meta {
        mode: kind | 0o755,
        ..Meta::default()
    };
    let (directory, file) = (meta(mode::DIRECTORY), meta(mode::FILE));
    let location = pack
        .trailer
        .chunk_locations(&described.id)
        .next()
        .unwrap()
        .1;
    let content = [NewFilePiece::Chunk(location)];
    let mut builder = LayerBuilder::new(&directory, [described]).unwrap();
    let kind = NewKind::File {
        size: location.length.into(),
        content: &content,
    };
    let link = EntryTarget::New(NewInode { meta: &file, kind });
    let name = b"notes";
    builder.fill(ROOT, &[NewEntry { name, link }]).unwrap();
    bench.put_layer(&builder.finish().unwrap())
}

/// The same machine and index, saving in another scope.
fn saving_in(bench: &Workbench, scope: &str, others: &[&str]) -> StoreTarget {
    StoreTarget {
        domains: domains(&bench.remote, &bench.repo, scope, others),
        ..bench.target.clone()
    }
}

/// A machine with an empty index.
fn new_machine(bench: &Workbench, scope: &str) -> StoreTarget {
    let directory = TempDir::new_in(bench.dir.path()).unwrap().keep();
    StoreTarget {
        index: Arc::new(Index::open(&directory).unwrap()),
        ..saving_in(bench, scope, &[])
    }
}

fn finds(target: &StoreTarget, bytes: &[u8]) -> bool {
    target.lookup(&[ChunkId::of(bytes)]).unwrap()[0].is_some()
}

/// Saves a directory with the tool, and returns the tool's bytes after a restore.
fn save_and_restore(bench: &mut Workbench, target: StoreTarget, base: &[&Arc<Layer>]) -> Vec<u8> {
    bench.target = target;
    let source = bench.dir.path().join("source");
    fs::create_dir_all(&source).unwrap();
    fs::write(source.join("tool"), TOOL).unwrap();
    let saved = bench.save(&source, &stack(base));
    let layers = [base, &[&saved.layer]].concat();
    let (copied, _) = bench.copy(&stack(&layers), "restored");
    fs::read(copied.join("tool")).unwrap()
}

#[test]
fn main_does_not_believe_what_a_pull_request_told_the_same_machine() {
    let mut bench = Workbench::new();
    let pack = forged(EVIL, ChunkId::of(TOOL), TOOL.len() as u32);
    put(&bench, &pack);
    let layer = layer_on(&bench, &pack, pack.pack);
    // The pull request's own job restores it, and saves something on top.
    let pull = saving_in(&bench, "pr/66", &["branch/main"]);
    pull.learn(&layer.packs().unwrap()).unwrap();
    assert!(finds(&pull, TOOL), "it is its own problem");

    let main = saving_in(&bench, "branch/main", &[]);
    assert!(!finds(&main, TOOL));
    assert!(!finds(&saving_in(&bench, "pr/67", &["branch/main"]), TOOL));
    assert_eq!(save_and_restore(&mut bench, main, &[]), TOOL);
}

#[test]
fn a_pull_request_finds_what_main_has_stored() {
    let mut bench = Workbench::new();
    let main = saving_in(&bench, "branch/main", &[]);
    save_and_restore(&mut bench, main, &[]);
    let pull = saving_in(&bench, "pr/66", &["branch/main"]);
    assert!(finds(&pull, TOOL));
    assert!(!finds(&saving_in(&bench, "pr/66", &[]), TOOL));
}

#[test]
fn an_index_knows_nothing_of_a_remote_that_claims_the_same_identity() {
    let bench = Workbench::new();
    let pack = forged(EVIL, ChunkId::of(TOOL), TOOL.len() as u32);
    // The attacker's bucket claims the identity and the scope of the victim's repository.
    let theirs: cachefs_store::remote::DynRemote =
        Arc::new(FileRemote::new(bench.dir.path().join("theirs")));
    let attacker = StoreTarget {
        domains: domains(&theirs, &bench.repo, "branch/main", &[]),
        remote: theirs,
        ..bench.target.clone()
    };
    attacker.put_pack(pack).unwrap();
    assert!(finds(&attacker, TOOL));
    assert!(!finds(&saving_in(&bench, "branch/main", &[]), TOOL));
}

/// Rewrites a pack as an attacker with permission to overwrite objects: the frames stay, so every
/// restore verifies. The trailer keeps its length, but lists each chunk as the tool.
fn rewrite_trailer(bench: &Workbench, pack: &PackRef) {
    let object = object_key(&pack.id);
    let read = bench.remote.get(&object, u64::MAX);
    let bytes = bench.runtime.block_on(read).unwrap();
    let trailer = Trailer::decode(&pack.id, &bytes[pack.trailer as usize..]).unwrap();
    let mut lies = trailer.clone();
    for chunk in &mut lies.chunks {
        chunk.id = ChunkId::of(TOOL);
    }
    let mut rewritten = bytes[..pack.trailer as usize].to_vec();
    lies.encode(&mut rewritten);
    assert_eq!(rewritten.len(), bytes.len());
    let put = bench
        .remote
        .put(&object, rewritten.into(), PutMode::Overwrite);
    bench.runtime.block_on(put).unwrap();
}

#[test]
fn a_pack_whose_trailer_was_rewritten_teaches_nothing() {
    for is_old in [false, true] {
        let mut bench = Workbench::new();
        let source = bench.directory("before");
        fs::write(source.join("tool"), EVIL).unwrap();
        let saved = bench.save(&source, &stack(&[]));
        let pack = saved.new_packs[0];
        rewrite_trailer(&bench, &pack);

        let target = new_machine(&bench, "branch/main");
        let mut packs = saved.layer.packs().unwrap();
        if is_old {
            packs[0].hash = None;
        }
        target.learn(&packs).unwrap();
        assert!(!finds(&target, TOOL), "old: {is_old}");
        assert!(!finds(&target, EVIL), "old: {is_old}");
        assert_eq!(save_and_restore(&mut bench, target, &[]), TOOL);
    }
}

#[test]
fn a_rewritten_trailer_does_not_make_a_changed_file_look_unchanged() {
    let mut bench = Workbench::new();
    let source = bench.directory("source");
    fs::write(source.join("tool"), EVIL).unwrap();
    let time = fs::metadata(source.join("tool"))
        .unwrap()
        .modified()
        .unwrap();
    let saved = bench.save(&source, &stack(&[]));
    rewrite_trailer(&bench, &saved.new_packs[0]);
    // Same size and time; only the content differs.
    fs::write(source.join("tool"), TOOL).unwrap();
    let file = fs::File::options().write(true).open(source.join("tool"));
    file.unwrap().set_modified(time).unwrap();
    bench.target = new_machine(&bench, "branch/main");
    let changed = bench.save(&source, &stack(&[&saved.layer]));
    let (copied, _) = bench.copy(&stack(&[&saved.layer, &changed.layer]), "restored");
    assert_eq!(fs::read(copied.join("tool")).unwrap(), TOOL);
}

#[test]
fn a_frame_behind_the_end_of_the_pack_is_refused() {
    let bench = Workbench::new();
    let honest = forged(TOOL, ChunkId::of(TOOL), TOOL.len() as u32);
    let mut trailer = honest.trailer.clone();
    trailer.frames[0].offset = honest.pack.length.into();
    let mut bytes = honest.bytes[..honest.pack.trailer as usize].to_vec();
    trailer.encode(&mut bytes);
    let hash = Some(TrailerHash::of(&bytes[honest.pack.trailer as usize..]));
    let pack = FinishedPack {
        pack: PackRef {
            hash,
            ..honest.pack
        },
        bytes,
        trailer,
    };
    put(&bench, &pack);
    bench.target.learn(&[pack.pack]).unwrap();
    assert!(!finds(&bench.target, TOOL));
}

#[test]
fn a_chunk_that_is_listed_with_another_length_is_stored_anew() {
    let mut bench = Workbench::new();
    // In the saver's own scope, only the length reveals the lie.
    let long = [TOOL, EVIL].concat();
    for length in [TOOL.len() as u32 - 1, TOOL.len() as u32 + 1] {
        let pack = forged(&long, ChunkId::of(TOOL), length);
        put(&bench, &pack);
        bench.target.learn(&[pack.pack]).unwrap();
        assert!(finds(&bench.target, TOOL));
    }
    let target = bench.target.clone();
    assert_eq!(save_and_restore(&mut bench, target.clone(), &[]), TOOL);
    // The next save finds the new pack.
    drop(target);
    let source = bench.directory("again");
    fs::write(source.join("tool"), TOOL).unwrap();
    let again = bench.save(&source, &stack(&[]));
    assert_eq!(fs::read(restored(&bench, &again.layer)).unwrap(), TOOL);
}

fn restored(bench: &Workbench, layer: &Arc<Layer>) -> std::path::PathBuf {
    bench
        .copy(&stack(&[layer]), "again-restored")
        .0
        .join("tool")
}

fn name(scope: &str) -> RefName {
    RefName::new(Scope::new(scope).unwrap(), Key::new("k").unwrap())
}

fn publish(bench: &Workbench, scope: &str, layers: &[&Layer]) {
    let layers = layers.iter().map(|layer| info(layer)).collect();
    let record = RefRecord::new(name(scope), layers, Creator::default(), Platform::default());
    bench
        .runtime
        .block_on(refs::publish_record(&bench.remote, &record))
        .unwrap();
}

fn promote(bench: &Workbench, scope: &str) -> Result<Promotion, Error> {
    let (main, none) = (Scope::new("branch/main").unwrap(), Condemned::default());
    let (creator, from) = (Creator::default(), name(scope));
    let promoted = refs::promote_key(&bench.remote, &from, &main, &creator, &none, false);
    bench.runtime.block_on(promoted)
}

#[test]
fn a_key_whose_pack_lists_what_it_does_not_hold_is_not_promoted() {
    let bench = Workbench::new();
    // The layer shows an innocent file; its pack also lists one that main will save later.
    let mut frames = FrameBuilder::new().unwrap();
    let mut writer = PackWriter::new();
    frames.push(ChunkId::of(b"notes"), b"notes").unwrap();
    writer.push(&frames.finish().unwrap().unwrap());
    frames.push(ChunkId::of(TOOL), EVIL).unwrap();
    writer.push(&frames.finish().unwrap().unwrap());
    let pack = writer.finish();
    put(&bench, &pack);
    for hash in [pack.pack.hash, None] {
        let described = PackRef { hash, ..pack.pack };
        let scope = format!("pr/{}", u8::from(hash.is_some()));
        publish(&bench, &scope, &[&layer_on(&bench, &pack, described)]);
        let refused = promote(&bench, &scope).unwrap_err();
        assert!(matches!(refused, Error::Damaged { .. }), "{refused}");
        assert!(refused.to_string().contains(&pack.pack.id.to_string()));
    }
    let listed = bench.runtime.block_on(bench.remote.list("refs/branch"));
    assert!(listed.unwrap().is_empty());
}

#[test]
fn a_promoted_layer_cannot_describe_a_pack_of_main_anew() {
    let bench = Workbench::new();
    let honest = forged(TOOL, ChunkId::of(TOOL), TOOL.len() as u32);
    put(&bench, &honest);
    let base = layer_on(&bench, &honest, honest.pack);
    publish(&bench, "branch/main", &[&base]);
    // The same pack, overwritten, with a reference that matches its new content.
    let evil = forged(EVIL, ChunkId::of(TOOL), TOOL.len() as u32);
    let described = PackRef {
        id: honest.pack.id,
        ..evil.pack
    };
    let overwrite = FinishedPack {
        pack: described,
        ..evil
    };
    put(&bench, &overwrite);
    let layer = layer_on(&bench, &overwrite, described);
    publish(&bench, "pr/66", &[&base, &layer]);
    let refused = promote(&bench, "pr/66").unwrap_err();
    assert!(matches!(refused, Error::Damaged { .. }), "{refused}");
    // If both are in one stack anyway, the index learns from neither.
    let target = new_machine(&bench, "branch/main");
    let both = stack(&[&base, &layer]);
    let mut packs = PackSet::default();
    for layer in both.layers() {
        packs.extend(layer.packs().unwrap());
    }
    let packs: Vec<_> = packs.iter().collect();
    target.learn(&packs).unwrap();
    assert!(!finds(&target, TOOL));
}

#[test]
fn promoting_reads_only_packs_that_are_new_to_the_scope() {
    let dir = TempDir::new().unwrap();
    let bent = Bent::new(Arc::new(FileRemote::new(dir.path().join("remote"))));
    let bench = Workbench::with_remote(dir, bent.clone());
    let old = forged(TOOL, ChunkId::of(TOOL), TOOL.len() as u32);
    let new = forged(EVIL, ChunkId::of(EVIL), EVIL.len() as u32);
    for pack in [&old, &new] {
        put(&bench, pack);
    }
    let base = layer_on(&bench, &old, old.pack);
    let layer = layer_on(&bench, &new, new.pack);
    publish(&bench, "branch/main", &[&base]);
    publish(&bench, "pr/66", &[&base, &layer]);
    bent.asked();
    assert!(matches!(
        promote(&bench, "pr/66"),
        Ok(Promotion::Promoted(_))
    ));
    let asked = bent.asked();
    let read = |pack: &FinishedPack| {
        let object = object_key(&pack.pack.id);
        asked.iter().any(|(_, key)| key == object.as_str())
    };
    assert!(read(&new) && !read(&old), "{asked:?}");
}

/// A remote that is not a local directory, backed by one.
fn far(directory: &Path) -> Arc<Bent> {
    Bent::new(Arc::new(FileRemote::new(directory)))
}

#[test]
fn a_remote_that_holds_nothing_is_not_served_what_another_one_brought() {
    let dir = TempDir::new().unwrap();
    let remote = far(&dir.path().join("ours"));
    let mut bench = Workbench::with_remote(dir, remote);
    let target = bench.target.clone();
    save_and_restore(&mut bench, target, &[]);
    let saved = bench.save(&bench.dir.path().join("source"), &stack(&[]));
    let frame = saved.layer.frame(0).unwrap();
    let store = bench.dir.path().join("store");
    let layers = LayerCache::new(&store);
    let infos = [info(&saved.layer)];
    let ours = bench.runtime.block_on(layers.open(&bench.remote, &infos));
    assert_eq!(ours.unwrap().len(), 1);

    let theirs: cachefs_store::remote::DynRemote = far(&bench.dir.path().join("theirs"));
    // Neither from the disk nor from the memory of a process that has it open.
    for layers in [&layers, &LayerCache::new(&store)] {
        let opened = bench.runtime.block_on(layers.open(&theirs, &infos));
        assert!(opened.is_err());
    }
    let memory = FrameMemory::default();
    let cache = Arc::new(PackCache::new(&store, 1 << 30));
    let reader = |remote| FrameReader::new(remote, Arc::clone(&cache), memory.clone());
    let ours = reader(bench.remote.clone());
    assert!(ours.local(&frame).is_some());
    let theirs = reader(theirs);
    assert!(theirs.local(&frame).is_none());
    assert!(bench.runtime.block_on(theirs.get(&frame)).is_err());
}

#[test]
fn an_index_is_not_told_a_trailer_that_its_pack_does_not_have() {
    let bench = Workbench::new();
    let honest = forged(TOOL, ChunkId::of(TOOL), TOOL.len() as u32);
    let evil = forged(EVIL, ChunkId::of(TOOL), TOOL.len() as u32);
    let domain = bench.target.domains.own();
    let told = bench
        .target
        .index
        .insert(&domain, &honest.pack, &evil.trailer);
    assert!(told.is_err());
    assert!(!finds(&bench.target, TOOL));
}

#[test]
fn a_repair_drops_no_key_for_what_records_and_layers_of_others_say_of_its_objects() {
    let bench = Workbench::new();
    let honest = forged(TOOL, ChunkId::of(TOOL), TOOL.len() as u32);
    put(&bench, &honest);
    let layer = layer_on(&bench, &honest, honest.pack);
    let longer = PackRef {
        length: honest.pack.length + 1,
        ..honest.pack
    };
    let evil = forged(EVIL, ChunkId::of(EVIL), EVIL.len() as u32);
    let other_length = LayerInfo {
        length: info(&layer).length + 1,
        ..info(&layer)
    };
    let name =
        |scope: &str, key: &str| RefName::new(Scope::new(scope).unwrap(), Key::new(key).unwrap());
    let main = name("branch/main", "k");
    for (name, layer) in [
        // Put entries before and after the honest one, in case a listing starts at either end.
        (name("a", "layer"), other_length.clone()),
        (main.clone(), info(&layer)),
        (name("pr/66", "layer"), other_length),
        (
            name("pr/66", "length"),
            info(&layer_on(&bench, &honest, longer)),
        ),
        (
            name("pr/66", "frame"),
            info(&layer_on(&bench, &evil, honest.pack)),
        ),
    ] {
        let record = RefRecord::new(name, vec![layer], Creator::default(), Platform::default());
        let publish = refs::publish_record(&bench.remote, &record);
        bench.runtime.block_on(publish).unwrap();
    }
    let options = CheckOptions {
        read_data: true,
        ..CheckOptions::default()
    };
    let check = |options| {
        bench
            .runtime
            .block_on(check_repository(&bench.remote, options, &Silent))
    };
    let report = check(&options).unwrap();
    let found = |key: &str| {
        let mut keys = report.findings.iter().flat_map(|finding| &finding.keys);
        keys.any(|name| name.key.as_str() == key)
    };
    assert!(
        found("layer") && found("length") && found("frame"),
        "{report:#?}"
    );
    let repaired = bench
        .runtime
        .block_on(repair_keys(&bench.remote, &report))
        .unwrap();
    assert!(!repaired.dropped.contains(&main), "{repaired:?}");
    assert!(!repaired.reduced.contains(&main), "{repaired:?}");
    let report = check(&options).unwrap();
    assert_eq!(
        (report.keys, report.packs, report.findings.len()),
        (1, 1, 0)
    );
}

#[test]
fn a_base_pack_that_is_lost_or_cut_short_is_stored_again() {
    for is_lost in [true, false] {
        let mut bench = Workbench::new();
        let target = bench.target.clone();
        save_and_restore(&mut bench, target, &[]);
        fs::remove_dir_all(bench.dir.path().join("restored")).unwrap();
        let saved = bench.save(&bench.dir.path().join("source"), &stack(&[]));
        let pack = saved.layer.packs().unwrap()[0];
        let object = object_key(&pack.id);
        let path = bench.dir.path().join("remote").join(object.as_str());
        let bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        if !is_lost {
            fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        }
        let target = new_machine(&bench, "branch/main");
        assert_eq!(save_and_restore(&mut bench, target, &[&saved.layer]), TOOL);
    }
}

#[test]
fn a_key_with_more_layers_than_a_reader_opens_is_not_promoted() {
    let bench = Workbench::new();
    let pack = forged(TOOL, ChunkId::of(TOOL), TOOL.len() as u32);
    let layer = info(&layer_on(&bench, &pack, pack.pack));
    let layers = (0..=cachefs_store::stack::MAX_DEPTH as u32).map(|number| {
        let mut id = [0; 32];
        id[..4].copy_from_slice(&number.to_le_bytes());
        LayerInfo {
            id: cachefs_store::id::LayerId(id),
            ..layer.clone()
        }
    });
    let (creator, platform) = (Creator::default(), Platform::default());
    let record = RefRecord::new(name("pr/66"), layers.collect(), creator, platform);
    let publish = refs::publish_record(&bench.remote, &record);
    bench.runtime.block_on(publish).unwrap();
    let refused = promote(&bench, "pr/66").unwrap_err();
    assert!(matches!(refused, Error::TooLarge { .. }), "{refused}");
}
