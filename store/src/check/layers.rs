//! Fetching every layer and looking at all that is in it.

use super::CheckReport;
use super::finding::{KeyNumbers, sort_out};
use super::frames::{FrameDigest, NeededPacks, digest};
use super::saves::Needed;
use crate::error::{Error, Result};
use crate::id::{LayerId, PackId};
use crate::layer::{self, Layer, ROOT, mode};
use crate::pack::PackRef;
use crate::parallel;
use crate::remote::DynRemote;
use crate::save::Progress;

/// So many layers are fetched and held at a time.
const LAYERS: usize = 4;

/// What a layer refers to.
struct Contents {
    length: u64,
    packs: Vec<PackRef>,
    frames: Vec<(PackId, FrameDigest)>,
}

pub(super) async fn check(
    remote: &DynRemote,
    needed: Needed,
    progress: &dyn Progress,
    report: &mut CheckReport,
) -> Result<NeededPacks> {
    let mut packs = NeededPacks {
        keys: needed.keys,
        ..NeededPacks::default()
    };
    progress.total(needed.layers.len() as u64, 0);
    let start = |((id, length), keys): ((LayerId, u64), KeyNumbers)| {
        let remote = remote.clone();
        async move { Ok((id, keys, sort_out(read(&remote, id, length).await)?)) }
    };
    parallel::for_each(
        LAYERS,
        needed.layers,
        progress,
        start,
        |(id, keys, outcome)| {
            progress.done(1, 0);
            report.layers += 1;
            match outcome {
                Ok(contents) => {
                    progress.transferred(contents.length);
                    report.bytes += contents.length;
                    packs.add_layer(&contents.packs, contents.frames, keys);
                }
                Err(fault) => {
                    let affected = packs.keys.named(&keys);
                    report
                        .findings
                        .push(fault.about(&layer::object_key(&id), affected));
                }
            }
            Ok(())
        },
    )
    .await?;
    Ok(packs)
}

async fn read(remote: &DynRemote, id: LayerId, length: u64) -> Result<Contents> {
    let object = remote
        .get(&layer::object_key(&id), length.min(layer::MAX))
        .await?;
    parallel::compute(move || {
        if object.len() as u64 != length {
            let found = object.len();
            return Err(damaged(
                &id,
                format!("it has {found} bytes instead of {length}"),
            ));
        }
        let layer = Layer::open(id, object)?;
        layer.verify()?;
        look_at_all(&layer)?;
        let frames = (0..layer.frame_count())
            .map(|number| {
                layer
                    .frame(number)
                    .map(|frame| (frame.pack, digest(&frame)))
            })
            .collect::<Result<_>>()?;
        Ok(Contents {
            length,
            packs: layer.packs()?,
            frames,
        })
    })
    .await
}

fn damaged(id: &LayerId, detail: impl Into<String>) -> Error {
    Error::damaged(format!("layer {id}"), detail)
}

/// Reads every record as a reader of files would.
fn look_at_all(layer: &Layer) -> Result<()> {
    if layer.children(ROOT)?.is_none() {
        return Err(damaged(&layer.id(), "its root is no directory"));
    }
    for inode in 0..layer.inode_count() {
        let record = layer.inode(inode)?;
        layer.xattrs(inode)?;
        match record.mode.get() & mode::TYPE {
            mode::DIRECTORY => {
                let mut last: Option<&[u8]> = None;
                for dirent in layer.children(inode)?.unwrap_or_default() {
                    let (name, child) = layer.entry(inode, dirent)?;
                    child.map(|child| layer.inode(child)).transpose()?;
                    if last.is_some_and(|last| last >= name) {
                        return Err(damaged(
                            &layer.id(),
                            "the entries of a directory are out of order",
                        ));
                    }
                    last = Some(name);
                }
            }
            mode::FILE => {
                let (size, mut end) = (record.size.get(), 0);
                for piece in layer.pieces(inode, 0..size)? {
                    end = piece?.end;
                }
                if end != size {
                    return Err(damaged(
                        &layer.id(),
                        "the pieces of a file do not add up to it",
                    ));
                }
            }
            mode::SYMLINK => {
                layer.symlink_target(inode)?;
            }
            _ => {}
        }
    }
    Ok(())
}
