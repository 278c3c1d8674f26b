//! Frames from memory, from the local disk, and from a remote that fails.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use cachefs_store::frame::FrameLocation;
use cachefs_store::local::{FrameMemory, FrameReader, LayerCache, PackCache};
use cachefs_store::pack::object_key;
use cachefs_store::remote::{FileRemote, RemoteErrorKind};
use cachefs_store::{Error, ErrorKind};
use tempfile::TempDir;

use super::bent::{Answer, Ask, Bent};
use super::workbench::{Saved, Workbench, info, kept_of, stack};

struct Far {
    bench: Workbench,
    bent: Arc<Bent>,
    saved: Saved,
    frames: Vec<FrameLocation>,
}

/// A save of one 3 MiB file to a remote that is not a local directory.
fn far() -> Far {
    let dir = TempDir::new().unwrap();
    let bent = Bent::new(Arc::new(FileRemote::new(dir.path().join("remote"))));
    let bench = Workbench::with_remote(dir, bent.clone());
    let source = bench.directory("source");
    let content = cachefs_tests::tree::content::bytes(7, 0, 3 << 20);
    fs::write(source.join("file"), content).unwrap();
    let saved = bench.save(&source, &stack(&[]));
    let layer = &saved.layer;
    let frames = (0..layer.frame_count())
        .map(|number| layer.frame(number).unwrap())
        .collect();
    bent.asked();
    Far {
        bench,
        bent,
        saved,
        frames,
    }
}

impl Far {
    /// A reader with an empty memory cache on the store directory `name`.
    fn reader(&self, name: &str) -> FrameReader {
        let cache = Arc::new(PackCache::new(self.bench.dir.path().join(name), 1 << 30));
        FrameReader::new(self.bench.remote.clone(), cache, FrameMemory::default())
    }

    fn read(&self, reader: &FrameReader, frame: &FrameLocation) -> Result<Arc<Vec<u8>>, Error> {
        self.bench.runtime.block_on(reader.get(frame))
    }

    fn kept(&self, store: &str) -> PathBuf {
        let pack = object_key(&self.saved.new_packs[0].id);
        kept_of(&self.bench.remote, &self.bench.dir.path().join(store)).join(pack.as_str())
    }
}

#[test]
fn what_was_saved_here_is_read_here() {
    let far = far();
    let reader = far.reader("store");
    for frame in &far.frames {
        assert!(reader.local(frame).is_some());
        assert_eq!(far.read(&reader, frame).unwrap().len(), frame.raw as usize);
    }
    assert!(far.bent.asked().is_empty());
    assert_eq!(reader.stats().demand_bytes, 0);
}

#[test]
fn damaged_local_bytes_are_fetched_again_and_mended() {
    let far = far();
    let intact = far.read(&far.reader("store"), &far.frames[1]).unwrap();
    let kept = fs::OpenOptions::new()
        .write(true)
        .open(far.kept("store"))
        .unwrap();
    let middle = u64::from(far.frames[1].offset + far.frames[1].stored / 2);
    kept.write_all_at(b"damage", middle).unwrap();

    let reader = far.reader("store");
    assert!(reader.local(&far.frames[1]).is_none());
    assert_eq!(far.read(&reader, &far.frames[1]).unwrap(), intact);
    assert_eq!(far.bent.asked().len(), 1);
    // The copy on disk is complete again.
    assert_eq!(far.reader("store").local(&far.frames[1]), Some(intact));
    // The same for a truncated or deleted file.
    kept.set_len(middle).unwrap();
    assert!(far.read(&far.reader("store"), &far.frames[2]).is_ok());
    fs::remove_file(far.kept("store")).unwrap();
    assert!(far.read(&far.reader("store"), &far.frames[0]).is_ok());
}

#[test]
fn damage_in_the_remote_is_reported_as_such() {
    let far = far();
    far.bent.rule(|ask, _| match ask {
        Ask::GetRange => Answer::Flipped,
        _ => Answer::Honest,
    });
    let reader = far.reader("elsewhere");
    let error = far.read(&reader, &far.frames[0]).unwrap_err();
    assert!(error.to_string().contains("is damaged"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Integrity);
    // A transient flip in transit: the second attempt succeeds.
    let first = std::sync::atomic::AtomicBool::new(true);
    far.bent.rule(move |ask, _| {
        match ask == Ask::GetRange && first.swap(false, std::sync::atomic::Ordering::Relaxed) {
            true => Answer::Flipped,
            false => Answer::Honest,
        }
    });
    assert!(far.read(&far.reader("third"), &far.frames[0]).is_ok());
}

#[test]
fn an_outage_is_not_damage_and_a_missing_pack_is() {
    let far = far();
    far.bent
        .rule(|_, _| Answer::Failed(RemoteErrorKind::Unavailable));
    let reader = far.reader("elsewhere");
    assert_eq!(
        far.read(&reader, &far.frames[0]).unwrap_err().kind(),
        ErrorKind::Backend
    );
    far.bent.straighten();
    // We cache a failure only for a moment, because the kernel retries page by page.
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(far.read(&reader, &far.frames[0]).is_ok());

    fs::remove_file(
        far.bench
            .dir
            .path()
            .join("remote")
            .join(object_key(&far.saved.new_packs[0].id).as_str()),
    )
    .unwrap();
    let error = far.read(&reader, &far.frames[5]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
}

#[test]
fn readers_of_one_range_share_a_request_and_reading_on_fetches_ahead() {
    let far = far();
    let reader = far.reader("elsewhere");
    reader.describe(far.saved.new_packs.iter().copied());
    far.bench.runtime.block_on(async {
        let readers: Vec<_> = (0..16)
            .map(|_| {
                let (reader, frame) = (reader.clone(), far.frames[0]);
                tokio::spawn(async move { reader.get(&frame).await.map(|raw| raw.len()) })
            })
            .collect();
        for reader in readers {
            assert_eq!(reader.await.unwrap().unwrap(), far.frames[0].raw as usize);
        }
    });
    assert_eq!(far.bent.asked().len(), 1);
    for frame in &far.frames {
        far.read(&reader, frame).unwrap();
    }
    let requests = far.bent.asked().len();
    assert!(
        requests <= far.frames.len() / 2,
        "{requests} for {} frames",
        far.frames.len()
    );
    assert!(reader.stats().prefetch_bytes > 0);
}

#[test]
fn streaming_brings_everything() {
    let far = far();
    let reader = far.reader("elsewhere");
    far.bench
        .runtime
        .block_on(reader.stream(far.frames.clone()))
        .unwrap();
    assert_eq!(far.bent.asked().len(), 1);
    assert!(far.frames.iter().all(|frame| reader.local(frame).is_some()));
    far.bench
        .runtime
        .block_on(reader.stream(far.frames.clone()))
        .unwrap();
    assert!(far.bent.asked().is_empty());
}

#[test]
fn layers_are_kept_and_damaged_copies_fetched_again() {
    let far = far();
    let root = far.bench.dir.path().join("layers-of-another");
    let infos = [info(&far.saved.layer)];
    let open = || {
        far.bench
            .runtime
            .block_on(LayerCache::new(&root).open(&far.bench.remote, &infos))
    };
    assert_eq!(open().unwrap()[0].id(), far.saved.layer.id());
    assert_eq!(far.bent.asked().len(), 1);
    open().unwrap();
    assert!(far.bent.asked().is_empty());

    let object = cachefs_store::layer::object_key(&far.saved.layer.id());
    let path = kept_of(&far.bench.remote, &root).join(object.as_str());
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    open().unwrap()[0].verify().unwrap();
    assert_eq!(far.bent.asked().len(), 1);

    fs::remove_file(&path).unwrap();
    far.bent
        .rule(|_, _| Answer::Failed(RemoteErrorKind::Unavailable));
    assert_eq!(open().unwrap_err().kind(), ErrorKind::Backend);
    far.bent
        .rule(|_, _| Answer::Failed(RemoteErrorKind::NotFound));
    assert_eq!(open().unwrap_err().kind(), ErrorKind::Integrity);
}
