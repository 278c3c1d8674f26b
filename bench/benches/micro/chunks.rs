//! Chunking, hashing and compression: the work that a save does for every byte.

use std::hint::black_box;

use anyhow::Result;
use cachefs_store::frame::{self, FrameCompressor};
use cachefs_store::id::{ChunkId, FrameHash};
use cachefs_store::{chunk, frame::Codec};
use criterion::{BenchmarkId, Criterion, Throughput};

use crate::text::text;

pub(crate) fn measure(criterion: &mut Criterion) -> Result<()> {
    cut(criterion);
    hash(criterion);
    codec(criterion)
}

fn cut(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cut");
    for bytes in [256 << 10, 16 << 20] {
        let content = text(1, bytes);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_with_input(
            BenchmarkId::from_parameter(bytes),
            &content,
            |bench, content| {
                bench.iter(|| chunk::cut_chunks(black_box(content)).count());
            },
        );
    }
    group.finish();
}

fn hash(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hash");
    // Sizes of a small file, an average chunk, and a frame.
    for bytes in [2 << 10, 64 << 10, frame::TARGET] {
        let content = text(2, bytes);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_with_input(
            BenchmarkId::from_parameter(bytes),
            &content,
            |bench, content| {
                bench.iter(|| ChunkId::of(black_box(content)));
            },
        );
    }
    group.finish();
}

fn codec(criterion: &mut Criterion) -> Result<()> {
    let raw = text(3, frame::TARGET);
    let mut compressor = FrameCompressor::new()?;
    let mut stored = Vec::new();
    let codec = compressor.encode(&raw, &mut stored)?;
    let hash = FrameHash::of(&stored);
    let raw_hash = FrameHash::of(&raw);
    let length = raw.len() as u32;

    let mut group = criterion.benchmark_group("frame");
    group.throughput(Throughput::Bytes(raw.len() as u64));
    let mut out = Vec::with_capacity(stored.len() + 1024);
    group.bench_function("encode", |bench| {
        bench.iter(|| {
            out.clear();
            compressor.encode(black_box(&raw), &mut out)
        });
    });
    group.bench_function("decode, verified", |bench| {
        bench.iter(|| frame::decode_frame(black_box(&stored), &hash, codec, length));
    });
    group.bench_function("decode what was not compressed, verified", |bench| {
        bench.iter(|| frame::decode_frame(black_box(&raw), &raw_hash, Codec::Raw, length));
    });
    group.finish();
    Ok(())
}
