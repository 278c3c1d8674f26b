//! Fetching every layer and looking at all that is in it.

use super::CheckReport;
use super::finding::{ObjectFault, SaveNumbers, sort_out};
use super::frames::{FrameDigest, NeededPacks, digest_frame};
use super::saves::{Claims, NeededLayers};
use crate::error::{Error, Result};
use crate::id::{LayerId, PackId};
use crate::layer::{self, Layer, ROOT, mode};
use crate::pack::PackRef;
use crate::parallel::{self, MemoryBudget};
use crate::progress::Progress;
use crate::remote::DynRemote;

/// The number of layers that are fetched at a time.
const LAYERS: usize = 4;
/// They take no more bytes together, unless it is one that is larger.
const LAYER_BYTES: u64 = 256 << 20;

/// The packs and frames that a layer refers to.
struct LayerContents {
    length: u64,
    packs: Vec<PackRef>,
    frames: Vec<(PackId, FrameDigest)>,
}

pub(super) async fn check_layers(
    remote: &DynRemote,
    needed: NeededLayers,
    progress: &dyn Progress,
    report: &mut CheckReport,
) -> Result<NeededPacks> {
    let mut packs = NeededPacks {
        saves: needed.saves,
        ..NeededPacks::default()
    };
    progress.total(needed.layers.len() as u64, 0);
    let budget = MemoryBudget::new(LAYER_BYTES);
    let start = |(id, claims): (LayerId, Claims)| {
        let (remote, budget) = (remote.clone(), budget.clone());
        async move {
            let length = claims.keys().last().copied().unwrap_or(0);
            let _held = budget.take(length.min(layer::MAX)).await?;
            let mut outcome = sort_out(read_layer(&remote, id, length).await)?;
            if outcome.is_err() {
                // It may have been damaged on the way only.
                outcome = sort_out(read_layer(&remote, id, length).await)?;
            }
            Ok((id, claims, outcome))
        }
    };
    parallel::for_each(
        LAYERS,
        needed.layers,
        progress,
        start,
        |(id, claims, outcome)| {
            progress.done(1, 0);
            report.layers += 1;
            let all: SaveNumbers = claims.values().flatten().copied().collect();
            let mut found = |fault: ObjectFault, saves: &SaveNumbers| {
                let affected = packs.saves.named(saves);
                let finding = fault.about(&layer::object_key(&id), affected);
                report.findings.push(finding);
            };
            match outcome {
                Ok(contents) => {
                    progress.transferred(contents.length);
                    report.bytes += contents.length;
                    for (claimed, saves) in claims {
                        if claimed != contents.length {
                            let detail =
                                format!("it has {} bytes instead of {claimed}", contents.length);
                            found(ObjectFault::damaged(detail), &saves);
                        }
                    }
                    packs.add_layer(all, &contents.packs, &contents.frames);
                }
                Err(fault) => found(fault, &all),
            }
            Ok(())
        },
    )
    .await?;
    Ok(packs)
}

/// Reads a layer of at most `limit` bytes.
async fn read_layer(remote: &DynRemote, id: LayerId, limit: u64) -> Result<LayerContents> {
    let object = remote
        .get(&layer::object_key(&id), limit.min(layer::MAX))
        .await?;
    parallel::run_blocking(move || {
        let length = object.len() as u64;
        let layer = Layer::open(id, object)?;
        layer.verify()?;
        look_at_all(&layer)?;
        let frames = (0..layer.frame_count())
            .map(|number| {
                layer
                    .frame(number)
                    .map(|frame| (frame.pack, digest_frame(&frame)))
            })
            .collect::<Result<_>>()?;
        Ok(LayerContents {
            length,
            packs: layer.packs()?,
            frames,
        })
    })
    .await
}

fn damaged_layer(id: &LayerId, detail: impl Into<String>) -> Error {
    Error::damaged(format!("layer {id}"), detail)
}

/// Reads every record as a reader of files would.
fn look_at_all(layer: &Layer) -> Result<()> {
    if layer.children(ROOT)?.is_none() {
        return Err(damaged_layer(&layer.id(), "its root is not a directory"));
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
                        return Err(damaged_layer(
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
                    return Err(damaged_layer(
                        &layer.id(),
                        "the pieces of a file do not match its size",
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
