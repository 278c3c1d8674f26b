//! Records the work of a process, for its parent to read after a crash.
//!
//! Both share a page of memory. A thread writes the number of its work there, and clears it when
//! the work is done. However the process ends, the page shows the unfinished work.

use std::collections::BTreeSet;
use std::io;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// Number of entries; further work is not recorded.
const SLOTS: usize = 512;

static PAGE: OnceLock<&'static [AtomicU64; SLOTS]> = OnceLock::new();

/// Makes the page. To be called before the fork.
pub fn prepare_notes() -> io::Result<()> {
    let length = size_of::<[AtomicU64; SLOTS]>();
    let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
    // SAFETY: a new mapping of nothing that exists.
    let page = unsafe { mmap_anonymous(std::ptr::null_mut(), length, protection, flags)? };
    // SAFETY: the mapping has this length, is aligned to a page, zeroed and never unmapped; atomics
    // may be shared.
    let page = unsafe { &*page.cast::<[AtomicU64; SLOTS]>() };
    let _ = PAGE.set(page);
    Ok(())
}

/// A note that is taken away when this is dropped.
#[derive(Debug)]
pub struct Note(Option<usize>);

/// Notes that this process is at work on something; `number` is not zero.
pub fn note_work(number: u64) -> Note {
    let slots = PAGE.get().into_iter().flat_map(|page| page.iter());
    let mut slots = slots.enumerate();
    let taken = slots.find(|(_, slot)| slot.compare_exchange(0, number, Relaxed, Relaxed).is_ok());
    Note(taken.map(|(index, _)| index))
}

impl Drop for Note {
    fn drop(&mut self) {
        if let (Some(index), Some(page)) = (self.0, PAGE.get()) {
            page[index].store(0, Relaxed);
        }
    }
}

/// Takes all notes that a process which is gone has left.
pub fn take_notes() -> BTreeSet<u64> {
    let slots = PAGE.get().into_iter().flat_map(|page| page.iter());
    slots
        .map(|slot| slot.swap(0, Relaxed))
        .filter(|number| *number != 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_is_not_noted_any_more() {
        prepare_notes().unwrap();
        let first = note_work(7);
        drop(note_work(8));
        let second = note_work(7);
        drop(first);
        assert_eq!(take_notes(), BTreeSet::from([7]));
        drop(second);
        assert_eq!(take_notes(), BTreeSet::new());
    }
}
