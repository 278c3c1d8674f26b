//! A suite of requirements that every remote must pass.
//!
//! It works under a name of its own, so you can also run it on a remote that is in use.

use std::fmt;

use bytes::Bytes;

use super::{DynRemote, ObjectInfo, ObjectKey, PutMode, RemoteError, RemoteErrorKind};

/// Expected features of the remote, and the effort of the suite.
#[derive(Debug, Clone, Copy)]
pub struct Expectations {
    /// Whether the store honours [`PutMode::IfAbsent`]; some accept the condition and ignore it.
    pub honours_if_absent: bool,
    /// How many objects the long listing has. S3 pages at 1000.
    pub listed_objects: usize,
    /// The longest key there is room for, in bytes, prefix not counted.
    pub longest_key: usize,
    /// How many writers race for one name.
    pub racers: usize,
}

impl Default for Expectations {
    fn default() -> Self {
        Self {
            honours_if_absent: true,
            listed_objects: 1100,
            longest_key: 600,
            racers: 16,
        }
    }
}

/// Larger than anything that the suite writes.
const LIMIT: u64 = 16 << 20;

/// A requirement that the remote does not meet.
#[derive(Debug, thiserror::Error)]
#[error("{check}: {detail}")]
pub struct ConformanceFailure {
    check: &'static str,
    detail: String,
    #[source]
    source: Option<RemoteError>,
}

type Outcome = Result<(), ConformanceFailure>;

/// Runs the whole suite; stops at the first failure.
///
/// Deletes its objects after a successful run.
pub async fn run_conformance(remote: &DynRemote, expectations: Expectations) -> Outcome {
    let folder = format!("conformance-{:016x}", fastrand::u64(..));
    let suite = Suite {
        remote,
        folder,
        expectations,
    };
    suite.absence().await?;
    suite.reads().await?;
    suite.ranges().await?;
    suite.sizes().await?;
    suite.overwrites().await?;
    suite.conditions().await?;
    suite.races().await?;
    suite.names().await?;
    suite.prefixes().await?;
    suite.long_listing().await?;
    suite.deletion().await
}

struct Suite<'a> {
    remote: &'a DynRemote,
    folder: String,
    expectations: Expectations,
}

/// Adds the name of the check and the request to a failure.
struct ConformanceCheck(&'static str);

impl ConformanceCheck {
    fn ok<T>(&self, result: Result<T, RemoteError>) -> Result<T, ConformanceFailure> {
        result.map_err(|error| ConformanceFailure {
            check: self.0,
            detail: error.to_string(),
            source: Some(error),
        })
    }

    fn equal<T: PartialEq + fmt::Debug>(&self, found: T, expected: T) -> Outcome {
        self.holds(found == expected, || {
            format!("{found:?} instead of {expected:?}")
        })
    }

    fn holds(&self, condition: bool, detail: impl FnOnce() -> String) -> Outcome {
        match condition {
            true => Ok(()),
            false => Err(ConformanceFailure {
                check: self.0,
                detail: detail(),
                source: None,
            }),
        }
    }

    fn fails<T>(&self, result: Result<T, RemoteError>, expected: RemoteErrorKind) -> Outcome {
        match result {
            Err(error) if error.kind() == expected => Ok(()),
            Err(error) => Err(ConformanceFailure {
                check: self.0,
                detail: format!("{:?} instead of {expected:?}", error.kind()),
                source: Some(error),
            }),
            Ok(_) => Err(ConformanceFailure {
                check: self.0,
                detail: format!("it went well instead of {expected:?}"),
                source: None,
            }),
        }
    }
}

impl Suite<'_> {
    fn key(&self, name: &str) -> ObjectKey {
        ObjectKey::new(format!("{}/{name}", self.folder))
    }

    async fn put(&self, name: &str, body: impl Into<Bytes>) -> Result<(), RemoteError> {
        self.remote
            .put(&self.key(name), body.into(), PutMode::Overwrite)
            .await
    }

    async fn names(&self) -> Outcome {
        let check = ConformanceCheck("every character that keys use");
        let name = "ABCDEFGHIJKLMNOPQRSTUVWXYZ/abcdefghijklmnopqrstuvwxyz/0123456789/~._-/.x/~/-";
        check.ok(self.put(name, "characters").await)?;
        check.equal(
            &check.ok(self.remote.get(&self.key(name), LIMIT).await)?[..],
            b"characters",
        )?;
        check.equal(self.list("ABC").await?, vec![(name.to_owned(), 10)])?;
        // Uses segments of the largest length for a file name, as long as the key has room.
        let room = self
            .expectations
            .longest_key
            .saturating_sub(self.folder.len() + 1);
        let long = (1..=room).map(|at| if at % 256 == 0 && at < room { '/' } else { 'a' });
        let long = long.collect::<String>();
        check.ok(self.put(&long, "long").await)?;
        check.equal(
            &check.ok(self.remote.get(&self.key(&long), LIMIT).await)?[..],
            b"long",
        )
    }

    /// Lists below a prefix in the suite's folder, sorted, with the folder taken off.
    async fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>, ConformanceFailure> {
        let check = ConformanceCheck("listing");
        let listed = check.ok(self.remote.list(&format!("{}/{prefix}", self.folder)).await)?;
        let relative = |object: ObjectInfo| {
            let name = object
                .key
                .as_str()
                .strip_prefix(&self.folder)?
                .strip_prefix('/')?;
            Some((name.to_owned(), object.size))
        };
        let mut names = listed.into_iter().map(relative).collect::<Option<Vec<_>>>();
        if let Some(names) = &mut names {
            names.sort();
        }
        names.ok_or_else(|| ConformanceFailure {
            check: check.0,
            detail: "an object that does not start with the prefix".to_owned(),
            source: None,
        })
    }

    async fn absence(&self) -> Outcome {
        let check = ConformanceCheck("an object that is not there");
        // On an empty remote, this write also makes the first reads meaningful.
        check.ok(self.put("present", "x").await)?;
        let key = self.key("absent");
        check.fails(
            self.remote.get(&key, LIMIT).await,
            RemoteErrorKind::NotFound,
        )?;
        check.fails(
            self.remote.get_range(&key, 0..1).await,
            RemoteErrorKind::NotFound,
        )?;
        check.fails(self.remote.head(&key).await, RemoteErrorKind::NotFound)?;
        let below = self.key("present/below");
        check.fails(
            self.remote.get(&below, LIMIT).await,
            RemoteErrorKind::NotFound,
        )?;
        check.equal(self.list("absent").await?, Vec::new())?;
        check.equal(self.list("absent/folder/").await?, Vec::new())
    }

    async fn reads(&self) -> Outcome {
        let check = ConformanceCheck("whole reads");
        let large = test_pattern(8 << 20);
        for (name, body) in [
            ("read/empty", Bytes::new()),
            ("read/small", Bytes::from_static(b"small")),
            ("read/large", large),
        ] {
            check.ok(self.put(name, body.clone()).await)?;
            let read = check.ok(self.remote.get(&self.key(name), LIMIT).await)?;
            check.holds(read == body, || format!("`{name}` came back changed"))?;
            let (key, length) = (self.key(name), body.len() as u64);
            let whole = check.ok(self.remote.get(&key, length).await)?;
            check.holds(whole == body, || {
                format!("`{name}` is as long as it may be")
            })?;
            if let Some(limit) = length.checked_sub(1) {
                let cut = self.remote.get(&key, limit).await;
                check.fails(cut, RemoteErrorKind::TooLarge)?;
            }
        }
        Ok(())
    }

    async fn ranges(&self) -> Outcome {
        let check = ConformanceCheck("ranged reads");
        let body = test_pattern(100_000);
        let key = self.key("range");
        check.ok(self.put("range", body.clone()).await)?;
        for range in [0..1, 0..100_000, 1..2, 65_535..65_537, 99_999..100_000] {
            let read = check.ok(self.remote.get_range(&key, range.clone()).await)?;
            let part = &body[range.start as usize..range.end as usize];
            check.holds(read == part, || format!("{range:?} came back changed"))?;
        }
        for range in [99_999..100_001, 100_000..100_001, 200_000..200_010] {
            let read = self.remote.get_range(&key, range).await;
            check.fails(read, RemoteErrorKind::Damaged)?;
        }
        Ok(())
    }

    async fn sizes(&self) -> Outcome {
        let check = ConformanceCheck("sizes");
        for (name, size) in [("size/0", 0), ("size/1", 1), ("size/70000", 70_000)] {
            check.ok(self.put(name, test_pattern(size)).await)?;
            let key = self.key(name);
            let head = check.ok(self.remote.head(&key).await)?;
            check.equal((head.key, head.size), (key, size as u64))?;
        }
        let sizes = self
            .list("size/")
            .await?
            .into_iter()
            .map(|(_, size)| size)
            .collect::<Vec<_>>();
        check.equal(sizes, vec![0, 1, 70_000])
    }

    async fn overwrites(&self) -> Outcome {
        let check = ConformanceCheck("overwriting");
        for body in ["the first, longer one", "second", ""] {
            check.ok(self.put("overwritten", body).await)?;
            let read = check.ok(self.remote.get(&self.key("overwritten"), LIMIT).await)?;
            check.equal(&read[..], body.as_bytes())?;
        }
        Ok(())
    }

    async fn conditions(&self) -> Outcome {
        let check = ConformanceCheck("writing if absent");
        let key = self.key("condition");
        let put = |body: &'static str| {
            self.remote
                .put(&key, Bytes::from_static(body.as_bytes()), PutMode::IfAbsent)
        };
        check.ok(put("first").await)?;
        if self.expectations.honours_if_absent {
            check.fails(put("second").await, RemoteErrorKind::Exists)?;
            check.equal(&check.ok(self.remote.get(&key, LIMIT).await)?[..], b"first")?;
            check.ok(self.remote.delete(&key).await)?;
            check.ok(put("third").await)
        } else {
            check.ok(put("second").await)?;
            check.equal(
                &check.ok(self.remote.get(&key, LIMIT).await)?[..],
                b"second",
            )
        }
    }

    async fn races(&self) -> Outcome {
        let check = ConformanceCheck("racing writers");
        let key = self.key("race");
        let racers = (0..self.expectations.racers).map(|racer| {
            let (remote, key) = (self.remote.clone(), key.clone());
            tokio::spawn(async move { remote.put(&key, body_of(racer), PutMode::IfAbsent).await })
        });
        let mut winners = Vec::new();
        for (racer, task) in racers.collect::<Vec<_>>().into_iter().enumerate() {
            match task.await {
                Ok(Ok(())) => winners.push(racer),
                Ok(Err(error)) if error.kind() == RemoteErrorKind::Exists => {}
                Ok(Err(error)) => return check.ok(Err(error)),
                Err(gone) => check.holds(false, || gone.to_string())?,
            }
        }
        let read = check.ok(self.remote.get(&key, LIMIT).await)?;
        let written = winners.iter().any(|winner| body_of(*winner) == read);
        check.holds(written, || {
            "the object is not what any winner wrote".to_owned()
        })?;
        let expected = if self.expectations.honours_if_absent {
            1
        } else {
            self.expectations.racers
        };
        check.equal(winners.len(), expected)
    }

    async fn prefixes(&self) -> Outcome {
        let check = ConformanceCheck("listing by prefix");
        let all = [
            "list/a",
            "list/ab/c",
            "list/ab/d/e",
            "list/abc",
            "list/b",
            "lista",
        ];
        for name in all {
            check.ok(self.put(name, "x").await)?;
        }
        for (prefix, expected) in [
            ("list", &all[..]),
            ("list/", &all[..5]),
            ("list/a", &all[..4]),
            ("list/ab", &all[1..4]),
            ("list/ab/", &all[1..3]),
            ("list/ab/d", &all[2..3]),
            ("list/ab/d/e", &all[2..3]),
            ("list/ab/d/e/", &[]),
            ("list/c", &[]),
            ("list/ab//", &[]),
        ] {
            let names = self.list(prefix).await?.into_iter().map(|(name, _)| name);
            check.equal(
                names.collect::<Vec<_>>(),
                expected.iter().map(|s| s.to_string()).collect(),
            )?;
        }
        Ok(())
    }

    async fn long_listing(&self) -> Outcome {
        let check = ConformanceCheck("a listing of many objects");
        let names = (0..self.expectations.listed_objects).map(|n| format!("many/{}/{n:06}", n % 3));
        let mut names = names.collect::<Vec<_>>();
        for batch in names.chunks(16) {
            let puts = batch.iter().map(|name| {
                let (remote, key) = (self.remote.clone(), self.key(name));
                tokio::spawn(async move {
                    remote
                        .put(&key, Bytes::from_static(b"x"), PutMode::Overwrite)
                        .await
                })
            });
            for put in puts.collect::<Vec<_>>() {
                match put.await {
                    Ok(result) => check.ok(result)?,
                    Err(gone) => check.holds(false, || gone.to_string())?,
                }
            }
        }
        names.sort();
        let listed = self
            .list("many/")
            .await?
            .into_iter()
            .map(|(name, _)| name)
            .collect::<Vec<_>>();
        check.holds(listed == names, || {
            format!("{} of {} objects", listed.len(), names.len())
        })
    }

    async fn deletion(&self) -> Outcome {
        let check = ConformanceCheck("deleting");
        for object in check.ok(self.remote.list(&format!("{}/", self.folder)).await)? {
            check.ok(self.remote.delete(&object.key).await)?;
        }
        check.equal(self.list("").await?, Vec::new())?;
        let key = self.key("present");
        check.fails(
            self.remote.get(&key, LIMIT).await,
            RemoteErrorKind::NotFound,
        )?;
        check.ok(self.remote.delete(&key).await)?;
        check.ok(self.remote.delete(&self.key("never/was/there")).await)
    }
}

/// Bytes that differ from their neighbours, so that a shifted read shows.
fn test_pattern(length: usize) -> Bytes {
    (0..length)
        .map(|at| (at.wrapping_mul(31) ^ (at >> 8)) as u8)
        .collect()
}

fn body_of(racer: usize) -> Bytes {
    Bytes::from(format!("racer {racer}").repeat(1000))
}
