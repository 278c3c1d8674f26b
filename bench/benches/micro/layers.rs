//! Layers and stacks: building and opening an index, name lookup, listing and walking.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use cachefs_store::id::LayerId;
use cachefs_store::layer::{
    BuiltLayer, EntryTarget, Layer, LayerBuilder, Meta, NewEntry, NewInode, NewKind, ROOT, mode,
};
use cachefs_store::stack::{Ino, Stack, StackWalk};
use criterion::{BenchmarkId, Criterion, Throughput};

/// Directories in the bottom layer.
const DIRECTORIES: usize = 1600;
/// Files in each directory of the bottom layer.
const FILES: usize = 40;
/// Files in each changed directory of an upper layer, and the number of those directories.
const CHANGED: (usize, usize) = (4, 20);

pub(crate) fn measure(criterion: &mut Criterion) -> Result<()> {
    let bottom = build(0..DIRECTORIES, 0..FILES)?;
    let mut objects = vec![(bottom.id, bottom.bytes)];
    for number in 1..30 {
        let first = (number * 53) % (DIRECTORIES - CHANGED.1);
        let above = build(first..first + CHANGED.1, 0..CHANGED.0)?;
        objects.push((above.id, above.bytes));
    }
    criterion.bench_function("layer of 64,000 files, build", |bench| {
        bench.iter(|| build(0..DIRECTORIES, 0..FILES));
    });
    for depth in [1, 30] {
        stack(criterion, &objects[..depth])?;
    }
    Ok(())
}

/// A layer of directories with empty files; names are numbers.
fn build(directories: std::ops::Range<usize>, files: std::ops::Range<usize>) -> Result<BuiltLayer> {
    let meta = |mode| Meta {
        mode,
        ..Meta::default()
    };
    let (directory, file) = (meta(mode::DIRECTORY | 0o755), meta(mode::FILE | 0o644));
    let mut builder = LayerBuilder::new(&directory, [])?;
    let names: Vec<_> = directories.map(name).collect();
    let entry = |name, meta, kind| NewEntry {
        name,
        link: EntryTarget::New(NewInode { meta, kind }),
    };
    let folder = || NewKind::Directory { opaque: false };
    let entries: Vec<_> = names
        .iter()
        .map(|name| entry(name.as_slice(), &directory, folder()))
        .collect();
    let below: Vec<_> = files.map(name).collect();
    for inode in builder.fill(ROOT, &entries)? {
        let empty = || NewKind::File {
            size: 0,
            content: &[],
        };
        let entries: Vec<_> = below
            .iter()
            .map(|name| entry(name.as_slice(), &file, empty()))
            .collect();
        builder.fill(inode, &entries)?;
    }
    Ok(builder.finish()?)
}

fn name(number: usize) -> Vec<u8> {
    format!("package-{number:05}").into_bytes()
}

fn open(objects: &[(LayerId, Bytes)]) -> Result<Stack> {
    let layers = objects
        .iter()
        .map(|(id, object)| Ok(Arc::new(Layer::open(*id, object.clone())?)));
    Ok(Stack::new(layers.collect::<Result<_>>()?)?)
}

fn stack(criterion: &mut Criterion, objects: &[(LayerId, Bytes)]) -> Result<()> {
    let depth = objects.len();
    let mut group = criterion.benchmark_group("stack");
    let id = |what: &str| BenchmarkId::new(what, format!("{depth} layers"));
    // Open the stack in every iteration, so that no merged or decoded state is reused.
    group.bench_function(id("open, and the first lookup"), |bench| {
        bench.iter(|| {
            let stack = open(objects)?;
            anyhow::Ok(stack.lookup(Ino::ROOT, black_box(b"package-00777"))?)
        });
    });
    group.bench_function(id("merge and list the root, first time"), |bench| {
        bench.iter_batched(
            || open(objects),
            |stack| anyhow::Ok(StackWalk::new(&stack?).take(DIRECTORIES).count()),
            criterion::BatchSize::LargeInput,
        );
    });
    let warm = open(objects)?;
    let directory = warm.lookup(Ino::ROOT, b"package-00100")?;
    let directory = directory.context("the directory was built")?;
    group.bench_function(id("lookup of a file"), |bench| {
        bench.iter(|| warm.lookup(directory, black_box(b"package-00003")));
    });
    group.bench_function(id("lookup of nothing"), |bench| {
        bench.iter(|| warm.lookup(directory, black_box(b"package-99999")));
    });
    group.throughput(Throughput::Elements(StackWalk::new(&warm).count() as u64));
    group.sample_size(20);
    group.bench_function(id("walk everything"), |bench| {
        bench.iter(|| StackWalk::new(black_box(&warm)).count());
    });
    group.finish();
    Ok(())
}
