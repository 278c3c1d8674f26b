//! The remote that caches are saved to, with a separate prefix for each run.

mod server;
mod transfer;

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cachefs_store::remote::{
    DynRemote, ObjectInfo, ObjectKey, RemoteErrorKind, RemoteSpec, RetryPolicy, open_remote,
};
use tokio::runtime::{self, Runtime};

pub(crate) use server::{ServerOptions, serve_s3};
pub(crate) use transfer::{Direction, TransferOptions, run_transfer};

use crate::measure::Unit;
use crate::tools::cachefs::CachefsProgram;
use crate::workspace::{self, Workspace};
use server::LocalServer;

/// Options that select the remote.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct RemoteOptions {
    /// `file:///DIR`, `s3://BUCKET/PREFIX`, or `s3-local` for a local S3 server that runs during
    /// the measurement [default: a directory in the work directory]
    #[arg(long, value_name = "URL")]
    remote: Option<String>,
    /// The endpoint of an S3-compatible server, for example `http://localhost:9000`
    #[arg(long, value_name = "URL")]
    endpoint: Option<String>,
    /// The region of the bucket, for example `eu-central-1`
    #[arg(long)]
    region: Option<String>,
    /// Use path-style requests, with the bucket name in the path
    #[arg(long)]
    path_style: bool,
    #[command(flatten)]
    server: ServerOptions,
}

impl RemoteOptions {
    /// Remotes to measure if `--remote` is not given: a directory, and a local S3 server with
    /// simulated latency and bandwidth.
    pub(crate) fn or_near_and_far(&self) -> Vec<Self> {
        if self.remote.is_some() {
            return vec![self.clone()];
        }
        let far = Self {
            remote: Some("s3-local".to_owned()),
            server: ServerOptions {
                latency_ms: 30,
                bandwidth: Some(100),
            },
            ..self.clone()
        };
        vec![self.clone(), far]
    }
}

/// An open remote.
#[derive(Debug)]
pub(crate) struct BenchRemote {
    spec: RemoteSpec,
    description: String,
    /// Whether the remote uses credentials other than those of this process.
    own_credentials: bool,
    server: Option<LocalServer>,
}

impl BenchRemote {
    /// Opens the remote, and starts the local server for `s3-local`.
    pub(crate) fn open(options: &RemoteOptions, workspace: &Workspace) -> Result<Self> {
        let RemoteOptions { remote, server, .. } = options;
        if remote.as_deref() == Some("s3-local") {
            let local = LocalServer::start(server, workspace.path())?;
            return Ok(Self {
                spec: local.spec(),
                description: format!(
                    "an S3 server on this machine{}",
                    describe_simulation(server)
                ),
                own_credentials: true,
                server: Some(local),
            });
        }
        if *server != ServerOptions::default() {
            bail!("--latency-ms and --bandwidth are for `--remote s3-local` only");
        }
        let base = match remote {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("file://{}", workspace.fresh("remote")?.display()),
        };
        Ok(Self {
            spec: RemoteSpec {
                // A random prefix isolates us from other objects: we neither count nor delete
                // those.
                url: format!("{base}/cachefs-bench-{:08x}", fastrand::u32(..)),
                endpoint: options.endpoint.clone(),
                region: options.region.clone(),
                path_style: options.path_style.then_some(true),
                env: env::vars_os().collect(),
                ..RemoteSpec::default()
            },
            description: base,
            own_credentials: false,
            server: None,
        })
    }

    /// A one-line description for the report.
    pub(crate) fn description(&self) -> &str {
        &self.description
    }

    /// The directory of the remote, or `None` for a bucket.
    pub(crate) fn directory(&self) -> Option<&Path> {
        self.spec.url.strip_prefix("file://").map(Path::new)
    }

    /// Whether the remote is a bucket rather than a directory.
    pub(crate) fn is_bucket(&self) -> bool {
        self.directory().is_none()
    }

    /// An empty prefix of the remote.
    pub(crate) fn place(&self, name: &str) -> Result<RemotePrefix<'_>> {
        self.place_at(format!("{}/{name}", self.spec.url))
    }

    fn place_at(&self, url: String) -> Result<RemotePrefix<'_>> {
        let spec = RemoteSpec {
            url,
            ..self.spec.clone()
        };
        let opened = open_remote(&spec, RetryPolicy::default())?;
        Ok(RemotePrefix {
            target: self,
            spec,
            remote: opened.remote,
            runtime: runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
        })
    }
}

impl Drop for BenchRemote {
    fn drop(&mut self) {
        // The prefixes are already cleared, so only empty directories remain.
        if let Some(dir) = self.directory()
            && let Err(error) = workspace::remove_directory(dir)
        {
            eprintln!("cachefs-bench: could not clean up: {error:#}");
        }
    }
}

fn describe_simulation(options: &ServerOptions) -> String {
    let mut text = String::new();
    if options.latency_ms > 0 {
        let latency = Duration::from_millis(options.latency_ms);
        text += &format!(", {latency:?} to every answer");
    }
    if let Some(bandwidth) = options.bytes_per_second() {
        text += &format!(", {} a second", Unit::Bytes.show(bandwidth as f64));
    }
    text
}

/// A prefix of a remote; its objects are deleted on drop.
#[derive(Debug)]
pub(crate) struct RemotePrefix<'a> {
    target: &'a BenchRemote,
    spec: RemoteSpec,
    remote: DynRemote,
    runtime: Runtime,
}

/// The location of a prefix, in a form from which we build the options of other tools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// A directory, which may not exist yet.
    Directory(PathBuf),
    /// A prefix of a bucket.
    Bucket {
        /// The endpoint; `None` for AWS.
        endpoint: Option<String>,
        /// The region, if known.
        region: Option<String>,
        /// The bucket name.
        bucket: String,
        /// The prefix of the object names, without a trailing slash.
        prefix: String,
    },
}

impl<'a> RemotePrefix<'a> {
    /// A prefix below this one, cleared independently.
    pub(crate) fn below(&self, name: &str) -> Result<RemotePrefix<'a>> {
        self.target.place_at(format!("{}/{name}", self.spec.url))
    }

    /// A prefix at the root of the same bucket or directory.
    pub(crate) fn at_root(&self, prefix: &str) -> Result<RemotePrefix<'a>> {
        let bucket = match self.location() {
            Location::Directory(dir) => format!("file://{}", dir.display()),
            Location::Bucket { bucket, .. } => format!("s3://{bucket}"),
        };
        self.target.place_at(format!("{bucket}/{prefix}"))
    }

    /// Splits the URL into its parts.
    pub(crate) fn location(&self) -> Location {
        let url = &self.spec.url;
        if let Some(dir) = url.strip_prefix("file://") {
            return Location::Directory(dir.into());
        }
        let path = url.split_once("://").map_or(&**url, |(_, path)| path);
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        Location::Bucket {
            endpoint: self.spec.endpoint.clone(),
            region: self.spec.region.clone(),
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        }
    }

    /// The options that select this prefix, for cachefs and for [`run_transfer`].
    pub(crate) fn options(&self) -> Vec<OsString> {
        let RemoteSpec {
            url,
            endpoint,
            region,
            path_style,
            ..
        } = &self.spec;
        let mut options: Vec<OsString> = vec!["--remote".into(), url.into()];
        for (flag, value) in [("--endpoint", endpoint), ("--region", region)] {
            if let Some(value) = value {
                options.extend([flag.into(), value.into()]);
            }
        }
        if *path_style == Some(true) {
            options.push("--path-style".into());
        }
        options
    }

    /// Environment variables with the credentials for this prefix; empty if those of this process
    /// apply.
    pub(crate) fn variables(&self) -> Vec<(String, String)> {
        let names = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
        let names = names.into_iter().filter(|_| self.target.own_credentials);
        let named = |name: &str| Some((name.to_owned(), self.spec.env.get(name)?.to_owned()));
        names.filter_map(named).collect()
    }

    /// The `cachefs` program, configured for this prefix.
    pub(crate) fn cachefs(&self, program: &Path) -> CachefsProgram {
        CachefsProgram {
            program: program.to_owned(),
            remote: self.options(),
            variables: self.variables(),
        }
    }

    /// The objects under this prefix and their total size in bytes.
    pub(crate) fn contents(&self) -> Result<(BTreeSet<ObjectKey>, u64)> {
        let objects = self.list()?;
        let bytes = objects.iter().map(|object| object.size).sum();
        Ok((
            objects.into_iter().map(|object| object.key).collect(),
            bytes,
        ))
    }

    /// Total size in bytes of the objects that are not in `known`.
    pub(crate) fn size_without(&self, known: &BTreeSet<ObjectKey>) -> Result<u64> {
        let objects = self.list()?;
        let new = objects.iter().filter(|object| !known.contains(&object.key));
        Ok(new.map(|object| object.size).sum())
    }

    /// Deletes all objects that are not in `kept`.
    pub(crate) fn keep_only(&self, kept: &BTreeSet<ObjectKey>) -> Result<()> {
        for object in self.list()? {
            if !kept.contains(&object.key) {
                self.runtime
                    .block_on(self.remote.delete(&object.key))
                    .context("could not delete from the remote")?;
            }
        }
        Ok(())
    }

    /// Requests that our server received since the last call, or `None` if we do not run the
    /// server.
    pub(crate) fn requests_served(&self) -> Result<Option<u64>> {
        let server = self.target.server.as_ref();
        server.map(LocalServer::requests).transpose()
    }

    fn list(&self) -> Result<Vec<ObjectInfo>> {
        match self.runtime.block_on(self.remote.list("")) {
            // Nothing has been saved under this prefix yet.
            Err(error) if error.kind() == RemoteErrorKind::NoRemote => Ok(Vec::new()),
            listed => listed.context("could not list the remote"),
        }
    }
}

impl Drop for RemotePrefix<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.keep_only(&BTreeSet::new()) {
            eprintln!("cachefs-bench: could not clean up: {error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use cachefs_store::remote::PutMode;

    use super::*;

    fn options(remote: &str) -> RemoteOptions {
        RemoteOptions {
            remote: (!remote.is_empty()).then(|| remote.to_owned()),
            endpoint: None,
            region: None,
            path_style: false,
            server: ServerOptions::default(),
        }
    }

    fn put(place: &RemotePrefix<'_>, name: &str, size: usize) {
        let key = ObjectKey::from_listing(name).unwrap();
        let body = Bytes::from(vec![0; size]);
        let put = place.remote.put(&key, body, PutMode::Overwrite);
        place.runtime.block_on(put).unwrap();
    }

    #[test]
    fn a_place_can_be_measured_brought_back_and_is_left_empty() {
        let workspace = Workspace::create(None).unwrap();
        let target = BenchRemote::open(&options(""), &workspace).unwrap();
        let dir = target.directory().unwrap().to_owned();
        let place = target.place("run-1").unwrap();
        assert_eq!(place.contents().unwrap(), (BTreeSet::new(), 0));
        put(&place, "packs/a", 100);
        let (first, bytes) = place.contents().unwrap();
        assert_eq!((first.len(), bytes), (1, 100));
        put(&place, "packs/b", 23);
        assert_eq!(place.contents().unwrap().1, 123);
        assert_eq!(place.size_without(&first).unwrap(), 23);
        place.keep_only(&first).unwrap();
        assert_eq!(place.contents().unwrap(), (first, 100));
        assert_eq!(place.requests_served().unwrap(), None);
        drop(place);
        assert_eq!(target.place("run-1").unwrap().contents().unwrap().1, 0);
        drop(target);
        assert!(!dir.exists());
    }

    #[test]
    fn the_program_is_told_where_to_go() {
        let workspace = Workspace::create(None).unwrap();
        let mut options = options("s3://bucket/prefix/");
        options.endpoint = Some("http://127.0.0.1:1".into());
        options.path_style = true;
        let mut target = BenchRemote::open(&options, &workspace).unwrap();
        target.spec.url = "s3://bucket/prefix/x".into();
        let place = std::mem::ManuallyDrop::new(target.place("run-1").unwrap());
        let cachefs = place.cachefs(Path::new("cachefs"));
        let wanted = ["--remote", "s3://bucket/prefix/x/run-1", "--endpoint"];
        assert_eq!(cachefs.remote[..3], wanted.map(OsString::from));
        assert_eq!(cachefs.remote[4], "--path-style");
        assert!(cachefs.variables.is_empty());
        let wanted = Location::Bucket {
            endpoint: Some("http://127.0.0.1:1".into()),
            region: None,
            bucket: "bucket".into(),
            prefix: "prefix/x/run-1".into(),
        };
        assert_eq!(place.location(), wanted);
        options.server.latency_ms = 1;
        BenchRemote::open(&options, &workspace).unwrap_err();
    }
}
