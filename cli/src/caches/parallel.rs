//! Runs work in parallel, in an order that is safe for nested paths.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use cachefs::paths::real_path;
use parking_lot::Mutex;

/// Runs `work` on every item with at most `threads` threads; results are in the order of the items.
pub(super) fn map_parallel<I: Sync, T: Send>(
    threads: usize,
    items: &[I],
    work: impl Fn(&I) -> T + Sync,
) -> Vec<T> {
    if items.len() <= 1 || threads <= 1 {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..threads.min(items.len()) {
            scope.spawn(|| {
                while let Some((number, item)) = take_next(items, &next) {
                    let result = work(item);
                    done.lock().push((number, result));
                }
            });
        }
    });
    let mut done = done.into_inner();
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

fn take_next<'a, I>(items: &'a [I], next: &AtomicUsize) -> Option<(usize, &'a I)> {
    let number = next.fetch_add(1, Relaxed);
    items.get(number).map(|item| (number, item))
}

/// Groups the indices of paths so that a path comes in a later group than the paths that contain
/// it: an outer mount would hide an inner mount that already exists.
pub(super) fn group_waves(paths: &[PathBuf]) -> Vec<Vec<usize>> {
    let paths: Vec<_> = paths.iter().map(|path| absolute_path(path)).collect();
    let mut waves: Vec<Vec<usize>> = Vec::new();
    for (number, path) in paths.iter().enumerate() {
        let around = |other: &&PathBuf| *other != path && path.starts_with(other);
        let depth = paths.iter().filter(around).count();
        if waves.len() <= depth {
            waves.resize_with(depth + 1, Vec::new);
        }
        waves[depth].push(number);
    }
    waves.retain(|wave| !wave.is_empty());
    waves
}

/// The first path that occurs twice in the list.
pub(super) fn find_duplicate(paths: &[PathBuf]) -> Option<&Path> {
    let all: Vec<_> = paths.iter().map(|path| absolute_path(path)).collect();
    let at = (1..all.len()).find(|&number| all[..number].contains(&all[number]))?;
    Some(&paths[at])
}

/// The absolute path, with links resolved in its existing part.
fn absolute_path(path: &Path) -> PathBuf {
    real_path(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order_and_all_threads_work() {
        let items: Vec<u32> = (0..100).collect();
        // The barrier blocks forever unless all four run at once.
        let barrier = std::sync::Barrier::new(4);
        let results = map_parallel(4, &items, |item| {
            if *item < 4 {
                barrier.wait();
            }
            item * 2
        });
        assert_eq!(results, (0..100).map(|item| item * 2).collect::<Vec<_>>());
    }

    #[test]
    fn a_path_waits_for_those_around_it() {
        let paths = ["/x/a/b", "/x/a", "/x/ab", "/x/a/b/c/d"].map(PathBuf::from);
        assert_eq!(group_waves(&paths), [vec![1, 2], vec![0], vec![3]]);
        assert_eq!(find_duplicate(&paths), None);
        let paths = ["/x/a", "/x/b", "/x/./a"].map(PathBuf::from);
        assert_eq!(find_duplicate(&paths), Some(Path::new("/x/./a")));
    }
}
