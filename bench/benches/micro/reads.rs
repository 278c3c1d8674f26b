//! Frame reader throughput without remote fetches: from memory and from the local disk.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use cachefs_store::frame::{FrameBuilder, FrameLocation, TARGET};
use cachefs_store::id::ChunkId;
use cachefs_store::local::{FrameMemory, FrameReader, PackCache};
use cachefs_store::pack::{self, PackWriter};
use cachefs_store::remote::{PutMode, RemoteSpec, RetryPolicy, open_remote};
use criterion::{Criterion, Throughput};

use crate::text::text;

/// Frames in the pack; more than the small-memory reader can cache.
const FRAMES: u64 = 64;

pub(crate) fn measure(criterion: &mut Criterion) -> Result<()> {
    let temp = tempfile::tempdir()?;
    let mut builder = FrameBuilder::new()?;
    let mut writer = PackWriter::new();
    let mut frames = Vec::new();
    for number in 0..FRAMES {
        let content = text(number, TARGET);
        let frame = builder.push(ChunkId::of(&content), &content)?;
        let frame = frame.context("a chunk of this size fills a frame")?;
        frames.push(writer.push(&frame));
    }
    let finished = writer.finish();
    let spec = RemoteSpec {
        url: format!("file://{}", temp.path().join("remote").display()),
        ..RemoteSpec::default()
    };
    let remote = open_remote(&spec, RetryPolicy::default())?.remote;
    let key = pack::object_key(&finished.pack.id);
    let put = remote.put(&key, Bytes::from(finished.bytes), PutMode::Overwrite);
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(put)?;

    let reader = |memory: u64| {
        let cache = Arc::new(PackCache::new(temp.path().join("store"), 1 << 30));
        FrameReader::new(Arc::clone(&remote), cache, FrameMemory::new(memory))
    };
    let mut group = criterion.benchmark_group("frame reader");
    group.throughput(Throughput::Bytes(TARGET as u64));
    let all = reader(FRAMES * TARGET as u64 * 2);
    let mut next = each(&frames);
    group.bench_function("hit in memory", |bench| {
        bench.iter(|| all.local(black_box(next())));
    });
    let few = reader(0);
    let mut next = each(&frames);
    group.bench_function("from the local disk, verified and decoded", |bench| {
        bench.iter(|| few.local(black_box(next())));
    });
    group.finish();
    Ok(())
}

/// Cycles through the frames endlessly.
fn each<'a>(frames: &'a [FrameLocation]) -> impl FnMut() -> &'a FrameLocation {
    let mut at = 0;
    move || {
        at = (at + 1) % frames.len();
        &frames[at]
    }
}
