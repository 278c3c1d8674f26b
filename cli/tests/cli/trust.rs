//! A pull request tries to control the files that main restores.

use std::fs;

use cachefs_store::frame::FrameBuilder;
use cachefs_store::gc::{self, Condemned, Needs};
use cachefs_store::id::{ChunkId, LayerId, SaveId};
use cachefs_store::layer::{
    self, BuiltLayer, EntryTarget, LayerBuilder, Meta, NewEntry, NewFilePiece, NewInode, NewKind,
    ROOT, mode,
};
use cachefs_store::pack::{self, FinishedPack, PackWriter};
use cachefs_store::refs::{self, Creator, Key, LayerInfo, Platform, RefName, RefRecord, Scope};
use cachefs_store::remote::{DynRemote, PutMode, RemoteSpec, RetryPolicy, open_remote};
use cachefs_tests::harness::Cachefs;
use tokio::runtime::Runtime;

use crate::support::{Commands, clean};

const MAIN: &[(&str, &str)] = &[
    ("CACHEFS_BRANCH", "main"),
    ("CACHEFS_DEFAULT_BRANCH", "main"),
];
const PULL_REQUEST: &[(&str, &str)] = &[
    ("GITHUB_ACTIONS", "true"),
    ("GITHUB_REF", "refs/pull/66/merge"),
    ("GITHUB_BASE_REF", "main"),
    ("CACHEFS_DEFAULT_BRANCH", "main"),
];

/// A public file whose hash is known, and other bytes of the same length.
const TOOL: &[u8] = b"#!/bin/sh\necho the honest tool, version 2.0\n";
const EVIL: &[u8] = b"#!/bin/sh\necho something else altogether...\n";

/// A pack that holds [`EVIL`] but lists the hash of [`TOOL`], and a layer that uses it.
fn forged() -> (FinishedPack, BuiltLayer) {
    let mut frames = FrameBuilder::new().unwrap();
    frames.push(ChunkId::of(TOOL), EVIL).unwrap();
    let mut writer = PackWriter::new();
    writer.push(&frames.finish().unwrap().unwrap());
    let pack = writer.finish();
    let mut chunks = pack.trailer.chunk_locations(&pack.pack.id);
    let location = chunks.next().unwrap().1;
    drop(chunks);
    let meta = |kind| Meta {
        mode: kind | 0o755,
        ..Meta::default()
    };
    let (directory, file) = (meta(mode::DIRECTORY), meta(mode::FILE));
    let content = [NewFilePiece::Chunk(location)];
    let kind = NewKind::File {
        size: location.length.into(),
        content: &content,
    };
    let link = EntryTarget::New(NewInode { meta: &file, kind });
    let name = b"notes";
    let mut builder = LayerBuilder::new(&directory, [pack.pack]).unwrap();
    builder.fill(ROOT, &[NewEntry { name, link }]).unwrap();
    let layer = builder.finish().unwrap();
    (pack, layer)
}

/// Publishes a record of pr/66 whose layer claims to replace `replaced`, without any checks.
async fn publish_forged(remote: &DynRemote, replaced: Vec<LayerId>) {
    let (pack, built) = forged();
    let info = LayerInfo {
        id: built.id,
        length: built.bytes.len() as u64,
        summary: built.summary,
        new_bytes: 0,
        contains: replaced,
        created: 1,
        key: Key::new("k").unwrap(),
        role: None,
        creator: Creator::default(),
    };
    let name = RefName::new(Scope::new("pr/66").unwrap(), Key::new("k").unwrap());
    let record = RefRecord::new(name, vec![info], Creator::default(), Platform::default());
    for (object, bytes) in [
        (pack::object_key(&pack.pack.id), pack.bytes.into()),
        (layer::object_key(&built.id), built.bytes),
    ] {
        remote.put(&object, bytes, PutMode::IfAbsent).await.unwrap();
    }
    let (none, needs) = (Condemned::default(), Needs::default());
    let now = SaveId::now().micros;
    gc::publish_confirmed(remote, &record, &none, &needs, now)
        .await
        .unwrap();
}

/// The layers in main's record of the key.
async fn layers_of_main(remote: &DynRemote) -> Vec<LayerId> {
    let name = RefName::new(Scope::new("branch/main").unwrap(), Key::new("k").unwrap());
    let saves = refs::read_saves(remote, &name).await.unwrap();
    let layers = saves.records.iter().flat_map(|record| &record.layers);
    layers.map(|layer| layer.id).collect()
}

#[test]
fn a_layer_that_claims_to_replace_those_of_main_teaches_main_nothing() {
    let machine = Cachefs::new().unwrap();
    let run = |job: &[(&str, &str)], invocation: cachefs_tests::harness::Invocation| {
        let job = job.iter();
        let invocation = job.fold(invocation.arg("--strict-errors"), |it, (name, value)| {
            it.env(name, value)
        });
        clean(invocation.run().success())
    };
    let first = machine.dir("first");
    fs::write(first.join("file"), "of main").unwrap();
    run(MAIN, machine.save("k", &first));
    // An honest job of the pull request starts from main's cache.
    let place = machine.dir("place");
    let restore = machine.restore("k", &place).arg("--mode").arg("copy");
    run(PULL_REQUEST, restore);
    // Meanwhile, another job of the same pull request publishes the forged layer.
    let spec = RemoteSpec {
        url: machine.remote().to_owned(),
        ..RemoteSpec::default()
    };
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let remote = open_remote(&spec, RetryPolicy::default()).unwrap().remote;
        let replaced = layers_of_main(&remote).await;
        publish_forged(&remote, replaced).await;
    });
    fs::write(place.join("more"), "of the pull request").unwrap();
    run(PULL_REQUEST, machine.save("k", &place));

    let second = machine.dir("second");
    fs::write(second.join("tool"), TOOL).unwrap();
    run(MAIN, machine.save("tools", &second));
    let restored = machine.dir("restored");
    let restore = machine.restore("tools", &restored);
    run(MAIN, restore.arg("--mode").arg("copy"));
    let tool = fs::read(restored.join("tool")).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&tool),
        String::from_utf8_lossy(TOOL)
    );
}
