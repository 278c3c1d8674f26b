//! `cachefs explain PATH`: how a restored cache is used.

use std::path::Path;

use cachefs::mounts::{
    CacheUse, FileUse, How, Presence, Record, Records, Use, cache_use, presence, unsaved_changes,
};
use cachefs::paths::real_path;
use cachefs::{Frames, StoreDir};
use cachefs_store::layer::mode;
use cachefs_store::refs::LayerInfo;
use cachefs_store::session::Session;
use cachefs_store::stack::{Stack, Walk};
use serde::Serialize;

use crate::global::{Format, Global};
use crate::{exit, output, setup};

/// How many of the largest files are named.
const LARGEST: usize = 5;

/// A number of files or frames and their bytes.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Amount {
    count: u64,
    bytes: u64,
}

impl Amount {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

impl From<Frames> for Amount {
    fn from(frames: Frames) -> Self {
        Self {
            count: frames.count,
            bytes: frames.bytes,
        }
    }
}

#[derive(Debug, Serialize)]
struct File {
    path: String,
    bytes: u64,
    #[serde(rename = "use")]
    used: &'static str,
}

/// What was read of a mount.
#[derive(Debug, Serialize)]
struct Reads {
    /// `files` when the figures are of files that were read, `pages` when they include what the
    /// kernel read ahead.
    exact_to: &'static str,
    read: Amount,
    passed_over: Amount,
    never_read: Amount,
    /// Frames: compressed pieces of the cache.
    frames_read: Amount,
    fetched_on_demand: Amount,
    fetched_in_vain: Amount,
    not_fetched: Amount,
    /// Whether the remote is a local directory, of which nothing is fetched.
    in_place: bool,
    largest_read: Vec<File>,
    largest_never_read: Vec<File>,
}

/// What is printed with `--format json`.
#[derive(Debug, Serialize)]
struct Printed<'a> {
    path: String,
    key: &'a str,
    scope: &'a str,
    how: How,
    layers: &'a [LayerInfo],
    files: Amount,
    /// Entries that were added, changed or removed since, and not saved.
    unsaved_changes: u64,
    reads: Option<Reads>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listed: Option<Vec<File>>,
}

pub(super) fn run(
    global: &Global,
    store: &StoreDir,
    path: &Path,
    list: bool,
) -> anyhow::Result<u8> {
    let records = Records::new(store);
    let path = real_path(path);
    let Some(record) = records.get(&path)? else {
        return Err(cachefs::Error::usage(
            format!("no cache was restored to {}", path.display()),
            "`cachefs stats` shows what is restored; without a path, `explain` tells of the last restore",
        )
        .into());
    };
    let stack = stack(global, store, &record)?;
    let used = match (record.how, presence(&record, &records)?) {
        (How::Mount, Presence::Alive) => cache_use(store, &record, &stack)?,
        _ => None,
    };
    let files = files(&stack)?;
    let changes = unsaved_changes(&records, &record);
    let reads = used.as_ref().map(reads);
    let listed = match (&used, list) {
        (Some(used), true) => Some(used.files.iter().map(file).collect::<Vec<_>>()),
        _ => None,
    };
    if global.format == Format::Json {
        output::print_json(&Printed {
            path: output::path(&record.path),
            key: record.name.key.as_str(),
            scope: record.name.scope.as_str(),
            how: record.how,
            layers: &record.layers,
            files,
            unsaved_changes: changes,
            reads,
            listed,
        })?;
        return Ok(exit::SUCCESS);
    }
    if let Some(listed) = listed {
        for file in listed {
            output::print(&format!(
                "{:11}  {:>9}  {}",
                file.used,
                output::bytes(file.bytes),
                file.path
            ));
        }
        return Ok(exit::SUCCESS);
    }
    head(&record, files);
    if record.how == How::Mount {
        output::print(&format!(
            "unsaved   {}",
            match changes {
                0 => "no changes".to_owned(),
                changes => output::count(changes, "change"),
            }
        ));
    }
    match (reads, record.how) {
        (Some(reads), _) => print(&reads, files),
        (None, How::Copy) => output::print(
            "read      not known: a copy is a plain directory, of which all files were fetched",
        ),
        (None, How::Mount) => {
            output::print("read      not known: it is not mounted, or its daemon is gone");
        }
    }
    Ok(exit::SUCCESS)
}

/// The stack of a restored path, from the local copies of its layers as far as they are there.
fn stack(global: &Global, store: &StoreDir, record: &Record) -> anyhow::Result<Stack> {
    let mut spec = setup::remote_spec(global, store)?;
    spec.url = record.remote.clone();
    let stack = Session::open(store.local(), &spec, global.timeout)
        .and_then(|session| session.open_stack(&record.layers));
    Ok(stack.map_err(cachefs::Error::from)?)
}

/// Files with content, each once.
fn files(stack: &Stack) -> anyhow::Result<Amount> {
    let mut files = Amount::default();
    let mut seen = std::collections::HashSet::new();
    for entry in Walk::new(stack) {
        let attr = entry.map_err(cachefs::Error::from)?.attr;
        let is_file = attr.kind() == mode::FILE && attr.size > 0;
        if is_file && (attr.links < 2 || seen.insert(attr.ino)) {
            files.add(attr.size);
        }
    }
    Ok(files)
}

fn word(used: Use) -> &'static str {
    match used {
        Use::Read => "read",
        Use::Passed => "passed over",
        Use::Never => "never read",
    }
}

fn file(file: &FileUse) -> File {
    let path = String::from_utf8_lossy(&file.path);
    File {
        path: output::path(Path::new(&*path)),
        bytes: file.size,
        used: word(file.used),
    }
}

fn reads(used: &CacheUse) -> Reads {
    let sum = |wanted: Use| {
        let mut amount = Amount::default();
        let files = used.files.iter().filter(|file| file.used == wanted);
        files.for_each(|file| amount.add(file.size));
        amount
    };
    let largest = |wanted: Use| {
        let mut files: Vec<_> = used.files.iter().filter(|it| it.used == wanted).collect();
        files.sort_by_key(|file| std::cmp::Reverse(file.size));
        files.into_iter().take(LARGEST).map(file).collect()
    };
    let report = &used.report;
    Reads {
        exact_to: match used.told_apart {
            true => "files",
            false => "pages",
        },
        read: sum(Use::Read),
        passed_over: sum(Use::Passed),
        never_read: sum(Use::Never),
        frames_read: report.read.into(),
        fetched_on_demand: report.awaited.into(),
        fetched_in_vain: report.idle.into(),
        not_fetched: report.absent.into(),
        in_place: report.in_place,
        largest_read: largest(Use::Read),
        largest_never_read: largest(Use::Never),
    }
}

fn head(record: &Record, files: Amount) {
    output::print(&format!("path      {}", output::path(&record.path)));
    output::print(&format!("key       {}", record.name));
    let total = format!(
        "{}, {}",
        output::count(files.count, "file"),
        output::bytes(files.bytes)
    );
    let layers = output::count(record.layers.len() as u64, "layer");
    output::print(&format!("cache     {layers}, {total} with content"));
    for layer in record.layers.iter().rev() {
        let by = match &layer.creator.job {
            Some(job) => format!("job {job} on {}", layer.creator.host),
            None => layer.creator.host.clone(),
        };
        output::print(&format!(
            "layer     {}  {}, {} from {}, saved {} by {by}",
            &layer.id.to_string()[..14],
            output::count(layer.summary.files, "file"),
            output::bytes(layer.summary.bytes),
            layer.key,
            output::age(layer.created),
        ));
    }
}

fn share(part: Amount, whole: Amount) -> String {
    let percent = |part: u64, whole: u64| match whole {
        0 => 0.0,
        whole => part as f64 * 100.0 / whole as f64,
    };
    format!(
        "{}, {} ({:.1} % of the files, {:.1} % of the bytes)",
        output::count(part.count, "file"),
        output::bytes(part.bytes),
        percent(part.count, whole.count),
        percent(part.bytes, whole.bytes),
    )
}

fn print(reads: &Reads, files: Amount) {
    output::print(&format!("read      {}", share(reads.read, files)));
    if reads.passed_over.count > 0 {
        output::print(&format!(
            "passed    {}: fetched by the kernel beside what was read",
            share(reads.passed_over, files)
        ));
    }
    output::print(&format!("never     {}", share(reads.never_read, files)));
    if reads.exact_to == "pages" {
        output::print(
            "          the kernel does not tell what it read ahead (that takes Linux 6.5 and rights to the files), so `read` includes that",
        );
    }
    let frames = |amount: Amount| {
        format!(
            "{} in {}",
            output::bytes(amount.bytes),
            output::count(amount.count, "frame")
        )
    };
    output::print(&format!(
        "needed    {} (compressed)",
        frames(reads.frames_read)
    ));
    if reads.in_place {
        output::print("fetched   nothing: the remote is a directory on this machine");
    } else {
        output::print(&format!(
            "fetched   {} while a read waited; {} ahead and not read so far; {} not at all",
            frames(reads.fetched_on_demand),
            frames(reads.fetched_in_vain),
            frames(reads.not_fetched),
        ));
    }
    for (title, files) in [
        ("largest read", &reads.largest_read),
        ("largest never read", &reads.largest_never_read),
    ] {
        if files.is_empty() {
            continue;
        }
        output::print(&format!("{title}:"));
        for file in files {
            output::print(&format!(
                "  {:>9}  {}",
                output::bytes(file.bytes),
                file.path
            ));
        }
    }
}
