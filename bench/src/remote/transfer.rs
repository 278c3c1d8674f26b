//! Copies a stream to a remote and back, in concurrent parts, as tools do that store archives in a
//! bucket. It is a subcommand of its own, so that it can be the last program of a pipe.

use std::collections::VecDeque;
use std::env;
use std::io::{self, Read, Write};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use cachefs_store::remote::{ObjectKey, PutMode, RemoteSpec, RetryPolicy, open_remote};
use clap::ValueEnum;
use tokio::runtime;

use super::RemoteOptions;

/// Part size in bytes, the same as the packs of cachefs.
const PART: u64 = 32 << 20;
/// Concurrent parts.
const AT_A_TIME: usize = 4;

/// Direction and remote.
#[derive(Debug, clap::Args)]
pub(crate) struct TransferOptions {
    /// Upload stdin, or download to stdout
    direction: Direction,
    #[command(flatten)]
    remote: RemoteOptions,
}

/// Direction of the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Direction {
    /// Upload to the remote.
    Up,
    /// Download from the remote.
    Down,
}

impl Direction {
    /// The command-line argument for this direction.
    pub(crate) fn argument(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// Runs the subcommand.
pub(crate) fn run_transfer(options: &TransferOptions) -> Result<()> {
    let remote = &options.remote;
    let spec = RemoteSpec {
        url: remote.remote.clone().context("no remote is named")?,
        endpoint: remote.endpoint.clone(),
        region: remote.region.clone(),
        path_style: remote.path_style.then_some(true),
        env: env::vars_os().collect(),
        ..RemoteSpec::default()
    };
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    match options.direction {
        Direction::Up => runtime.block_on(upload_stream(&spec, io::stdin().lock())),
        Direction::Down => runtime.block_on(download_stream(&spec, io::stdout().lock())),
    }
}

/// Uploads a stream to an empty prefix.
async fn upload_stream(spec: &RemoteSpec, mut stream: impl Read) -> Result<()> {
    let remote = open_remote(spec, RetryPolicy::default())?.remote;
    let mut under_way = VecDeque::new();
    for number in 0.. {
        let mut part = Vec::new();
        // Blocking is fine here: uploads run on other threads.
        stream.by_ref().take(PART).read_to_end(&mut part)?;
        let last = (part.len() as u64) < PART;
        let (remote, key) = (Arc::clone(&remote), part_key(number)?);
        under_way.push_back(tokio::spawn(async move {
            remote
                .put(&key, Bytes::from(part), PutMode::Overwrite)
                .await
        }));
        while under_way.len() >= if last { 1 } else { AT_A_TIME } {
            let Some(first) = under_way.pop_front() else {
                break;
            };
            first.await?.context("could not write to the remote")?;
        }
        if last {
            break;
        }
    }
    Ok(())
}

/// Downloads a stream that [`upload_stream`] wrote.
async fn download_stream(spec: &RemoteSpec, mut stream: impl Write) -> Result<()> {
    let remote = open_remote(spec, RetryPolicy::default())?.remote;
    let parts = remote
        .list("")
        .await
        .context("could not list the remote")?
        .len();
    ensure!(parts > 0, "nothing was written to {}", spec.url);
    let mut under_way = VecDeque::new();
    for number in 0..parts {
        let (remote, key) = (Arc::clone(&remote), part_key(number)?);
        under_way.push_back(tokio::spawn(
            async move { remote.get(&key, u64::MAX).await },
        ));
        while under_way.len() >= if number + 1 == parts { 1 } else { AT_A_TIME } {
            let Some(first) = under_way.pop_front() else {
                break;
            };
            let part = first.await?.context("could not read from the remote")?;
            stream.write_all(&part)?;
        }
    }
    Ok(stream.flush()?)
}

fn part_key(number: usize) -> Result<ObjectKey> {
    ObjectKey::from_listing(&format!("part-{number:05}")).context("a name without an equal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_comes_back_as_it_went() {
        let temp = tempfile::tempdir().unwrap();
        let runtime = runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        let sizes = [0, 5, PART as usize, 5 * PART as usize + 1];
        for (place, size) in sizes.into_iter().enumerate() {
            let spec = RemoteSpec {
                url: format!("file://{}/{place}", temp.path().display()),
                ..RemoteSpec::default()
            };
            let stream: Vec<u8> = (0..size).map(|at| (at / 1000) as u8).collect();
            runtime
                .block_on(download_stream(&spec, io::sink()))
                .unwrap_err();
            runtime
                .block_on(upload_stream(&spec, stream.as_slice()))
                .unwrap();
            let mut back = Vec::new();
            runtime.block_on(download_stream(&spec, &mut back)).unwrap();
            assert!(back == stream, "{size} bytes");
        }
    }
}
