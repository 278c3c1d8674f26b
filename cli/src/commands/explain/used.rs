//! `cachefs explain PATH`: reports how a restored cache was used.

use std::path::Path;

use cachefs::mounts::{
    CacheUse, FileUse, How, MountRecord, MountRecords, Presence, Use, cache_use, check_presence,
    unsaved_changes,
};
use cachefs::paths::real_path;
use cachefs::{FrameTotals, StoreDir};
use cachefs_store::layer::mode;
use cachefs_store::refs::LayerInfo;
use cachefs_store::session::Session;
use cachefs_store::stack::{Stack, StackWalk};
use serde::Serialize;

use crate::global::{Global, OutputFormat};
use crate::{exit, output, setup};

/// Number of the largest files to list.
const LARGEST: usize = 5;

/// A number of files or frames, and their total bytes.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct UsedAmount {
    count: u64,
    bytes: u64,
}

impl UsedAmount {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

impl From<FrameTotals> for UsedAmount {
    fn from(frames: FrameTotals) -> Self {
        Self {
            count: frames.count,
            bytes: frames.bytes,
        }
    }
}

#[derive(Debug, Serialize)]
struct UsedFile {
    path: String,
    bytes: u64,
    #[serde(rename = "use")]
    used: &'static str,
}

/// Reads of a mount.
#[derive(Debug, Serialize)]
struct UsedReads {
    /// Granularity of the figures: `files` for files that were read, `pages` if they include the
    /// kernel's readahead.
    exact_to: &'static str,
    read: UsedAmount,
    read_ahead: UsedAmount,
    never_read: UsedAmount,
    /// Frames: independently compressed pieces of the cache.
    frames_read: UsedAmount,
    fetched_on_demand: UsedAmount,
    prefetched_unused: UsedAmount,
    not_fetched: UsedAmount,
    /// Whether the remote is a local directory, so that nothing is fetched.
    in_place: bool,
    largest_read: Vec<UsedFile>,
    largest_never_read: Vec<UsedFile>,
}

/// Output of `--format json`.
#[derive(Debug, Serialize)]
struct PrintedUse<'a> {
    path: String,
    key: &'a str,
    scope: &'a str,
    mode: How,
    /// The old name of `mode`, for one release.
    how: How,
    layers: &'a [LayerInfo],
    files: UsedAmount,
    /// Number of entries that were added, changed or removed since the restore, and not saved.
    unsaved_changes: u64,
    reads: Option<UsedReads>,
    #[serde(skip_serializing_if = "Option::is_none")]
    listed: Option<Vec<UsedFile>>,
}

pub(super) fn run_explain_path(
    global: &Global,
    store: &StoreDir,
    path: &Path,
    list: bool,
) -> anyhow::Result<u8> {
    let records = MountRecords::new(store);
    let path = real_path(path);
    let Some(record) = records.get(&path)? else {
        return Err(cachefs::Error::usage(
            format!("no cache was restored to {}", path.display()),
            "`cachefs stats` lists restored directories; without a path, `explain` reports the last restore",
        )
        .into());
    };
    let stack = restored_stack(global, store, &record)?;
    let used = match (record.how, check_presence(&record, &records)?) {
        (How::Mount, Presence::Alive) => cache_use(store, &record, &stack)?,
        _ => None,
    };
    let files = count_files(&stack)?;
    let changes = unsaved_changes(&records, &record);
    let reads = used.as_ref().map(used_reads);
    let listed = match (&used, list) {
        (Some(used), true) => Some(used.files.iter().map(file).collect::<Vec<_>>()),
        _ => None,
    };
    if global.format == OutputFormat::Json {
        output::print_json(&PrintedUse {
            path: output::format_path(&record.path),
            key: record.name.key.as_str(),
            scope: record.name.scope.as_str(),
            mode: record.how,
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
            output::print_text(&format!(
                "{:11}  {:>9}  {}",
                file.used,
                output::format_bytes(file.bytes),
                file.path
            ));
        }
        return Ok(exit::SUCCESS);
    }
    print_head(&record, files);
    if record.how == How::Mount {
        output::print_text(&format!(
            "unsaved   {}",
            match changes {
                0 => "no changes".to_owned(),
                changes => output::format_count(changes, "change"),
            }
        ));
    }
    match (reads, record.how) {
        (Some(reads), _) => print_reads(&reads, files),
        (None, How::Copy) => output::print_text(
            "read      unknown: a copy is a plain directory, and all of it was fetched",
        ),
        (None, How::Mount) => {
            output::print_text("read      unknown: it is not mounted, or its daemon is gone");
        }
    }
    Ok(exit::SUCCESS)
}

/// The stack of a restored path, from local copies of its layers as far as they exist.
fn restored_stack(
    global: &Global,
    store: &StoreDir,
    record: &MountRecord,
) -> anyhow::Result<Stack> {
    let mut spec = setup::remote_spec(global, store)?;
    spec.url = record.remote.clone();
    let stack = Session::open(store.local(), &spec, global.timeout)
        .and_then(|session| session.open_stack(&record.layers));
    Ok(stack.map_err(cachefs::Error::from)?)
}

/// Counts files with content; hard links count once.
fn count_files(stack: &Stack) -> anyhow::Result<UsedAmount> {
    let mut files = UsedAmount::default();
    let mut seen = std::collections::HashSet::new();
    for entry in StackWalk::new(stack) {
        let attr = entry.map_err(cachefs::Error::from)?.attr;
        let is_file = attr.kind() == mode::FILE && attr.size > 0;
        if is_file && (attr.links < 2 || seen.insert(attr.ino)) {
            files.add(attr.size);
        }
    }
    Ok(files)
}

fn use_word(used: Use) -> &'static str {
    match used {
        Use::Read => "read",
        Use::Passed => "passed over",
        Use::Never => "never read",
    }
}

fn file(file: &FileUse) -> UsedFile {
    let path = String::from_utf8_lossy(&file.path);
    UsedFile {
        path: output::format_path(Path::new(&*path)),
        bytes: file.size,
        used: use_word(file.used),
    }
}

fn used_reads(used: &CacheUse) -> UsedReads {
    let sum = |wanted: Use| {
        let mut amount = UsedAmount::default();
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
    UsedReads {
        exact_to: match used.told_apart {
            true => "files",
            false => "pages",
        },
        read: sum(Use::Read),
        read_ahead: sum(Use::Passed),
        never_read: sum(Use::Never),
        frames_read: report.read.into(),
        fetched_on_demand: report.awaited.into(),
        prefetched_unused: report.idle.into(),
        not_fetched: report.absent.into(),
        in_place: report.in_place,
        largest_read: largest(Use::Read),
        largest_never_read: largest(Use::Never),
    }
}

fn print_head(record: &MountRecord, files: UsedAmount) {
    output::print_text(&format!("path      {}", output::format_path(&record.path)));
    output::print_text(&format!("key       {}", record.name));
    let total = format!(
        "{}, {}",
        output::format_count(files.count, "file"),
        output::format_bytes(files.bytes)
    );
    let layers = output::format_count(record.layers.len() as u64, "layer");
    output::print_text(&format!("cache     {layers}, {total} with content"));
    for layer in record.layers.iter().rev() {
        let by = match &layer.creator.job {
            Some(job) => format!("job {job} on {}", layer.creator.host),
            None => layer.creator.host.clone(),
        };
        output::print_text(&format!(
            "layer     {}  {}, {} from {}, saved {} by {by}",
            &layer.id.to_string()[..14],
            output::format_count(layer.summary.files, "file"),
            output::format_bytes(layer.summary.bytes),
            layer.key,
            output::format_age(layer.created),
        ));
    }
}

fn share_text(part: UsedAmount, whole: UsedAmount) -> String {
    let percent = |part: u64, whole: u64| match whole {
        0 => 0.0,
        whole => part as f64 * 100.0 / whole as f64,
    };
    format!(
        "{}, {} ({:.1} % of the files, {:.1} % of the bytes)",
        output::format_count(part.count, "file"),
        output::format_bytes(part.bytes),
        percent(part.count, whole.count),
        percent(part.bytes, whole.bytes),
    )
}

fn print_reads(reads: &UsedReads, files: UsedAmount) {
    output::print_text(&format!("read      {}", share_text(reads.read, files)));
    if reads.read_ahead.count > 0 {
        output::print_text(&format!(
            "passed    {}: fetched by the kernel's read-ahead, not read",
            share_text(reads.read_ahead, files)
        ));
    }
    output::print_text(&format!(
        "never     {}",
        share_text(reads.never_read, files)
    ));
    if reads.exact_to == "pages" {
        output::print_text(
            "          `read` includes the kernel's read-ahead (to tell them apart takes Linux 6.5 and access to the files)",
        );
    }
    let frames = |amount: UsedAmount| {
        format!(
            "{} in {}",
            output::format_bytes(amount.bytes),
            output::format_count(amount.count, "frame")
        )
    };
    output::print_text(&format!(
        "needed    {} (compressed)",
        frames(reads.frames_read)
    ));
    if reads.in_place {
        output::print_text("fetched   nothing: the remote is a directory on this machine");
    } else {
        output::print_text(&format!(
            "fetched   {} on demand; {} prefetched and not read yet; {} not fetched",
            frames(reads.fetched_on_demand),
            frames(reads.prefetched_unused),
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
        output::print_text(&format!("{title}:"));
        for file in files {
            output::print_text(&format!(
                "  {:>9}  {}",
                output::format_bytes(file.bytes),
                file.path
            ));
        }
    }
}
