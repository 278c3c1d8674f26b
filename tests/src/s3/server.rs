//! An S3 server in this process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use cachefs_store::remote::RemoteSpec;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::oneshot;

use super::fault::Faults;
use super::policy::{Guard, User};
use super::store::Store;
use super::{ACCESS_KEY, BUCKET, SECRET_KEY, TOKEN, layer};

/// A policy that allows every request.
const ANYTHING: &str = r#"{"Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}"#;

/// Deviations from a standard S3 server.
#[derive(Debug, Clone, Copy, Default)]
pub struct S3Options {
    /// Ignore the condition of conditional writes, as some stores do.
    pub ignore_conditions: bool,
    /// Speak the Google Cloud Storage dialect, with [`TOKEN`] as the credential.
    pub google: bool,
}

/// An S3 server on a free loopback port, with one bucket in a temporary directory. It runs on
/// threads of its own; dropping it stops the server and removes the data.
#[derive(Debug)]
pub struct S3Server {
    address: SocketAddr,
    faults: Faults,
    data: TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl S3Server {
    /// Starts a server with default options.
    pub fn start() -> Result<Self> {
        Self::start_with(S3Options::default())
    }

    /// Starts a server with additional users and enforces their policies. [`ACCESS_KEY`] may do
    /// anything.
    pub fn start_guarded(mut users: Vec<User>) -> Result<Self> {
        let mut all = User::new(ACCESS_KEY, [ANYTHING])?;
        all.secret_key = SECRET_KEY.to_owned();
        users.push(all);
        Self::start_for(S3Options::default(), Some(users))
    }

    /// Starts a server.
    pub fn start_with(options: S3Options) -> Result<Self> {
        Self::start_for(options, None)
    }

    fn start_for(options: S3Options, users: Option<Vec<User>>) -> Result<Self> {
        let data = tempfile::tempdir().context("no directory for the server's data")?;
        std::fs::create_dir(data.path().join(BUCKET))?;
        let files = FileSystem::new(data.path())
            .map_err(|error| anyhow::anyhow!("could not open the data: {error:?}"))?;
        let store = Store::new(files, data.path().to_owned(), options.ignore_conditions);
        let mut service = S3ServiceBuilder::new(store);
        let mut known = SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY);
        if let Some(users) = users {
            for user in &users {
                known.register(user.access_key.clone(), user.secret_key.clone().into());
            }
            service.set_access(Guard(users));
        }
        if !options.google {
            service.set_auth(known);
        }
        let service = service.build();

        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let faults = Faults::default();
        let (stop, stopped) = oneshot::channel();
        let serving = {
            let faults = faults.clone();
            async move {
                let listener = TcpListener::from_std(listener)?;
                tokio::select! {
                    result = serve(listener, service, faults, options.google) => result,
                    // Resolves on a message, and also if the sender is dropped.
                    _ = stopped => Ok(()),
                }
            }
        };
        let thread = thread::Builder::new()
            .name("s3-server".into())
            .spawn(move || {
                if let Err(error) = runtime.block_on(serving) {
                    panic!("the S3 test server failed: {error:?}");
                }
                // Drops the remaining connections, including those that hang on purpose.
                runtime.shutdown_background();
            })?;
        Ok(Self {
            address,
            faults,
            data,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The server's address as `http://host:port`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The handle for fault injection and request counters.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The directory that stores the bucket's objects as files with the same names.
    pub fn bucket_dir(&self) -> PathBuf {
        self.data.path().join(BUCKET)
    }

    /// A remote at a prefix of the bucket.
    pub fn spec(&self, prefix: &str) -> RemoteSpec {
        spec(&self.endpoint(), prefix)
    }

    /// A remote at a prefix of the bucket, accessed as Google Cloud Storage.
    pub fn google_spec(&self, prefix: &str) -> RemoteSpec {
        let token = ("GOOGLE_OAUTH_ACCESS_TOKEN".to_owned(), TOKEN.to_owned());
        RemoteSpec {
            url: format!("gs://{BUCKET}/{prefix}"),
            endpoint: Some(self.endpoint()),
            env: [token].into_iter().collect(),
            ..RemoteSpec::default()
        }
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !thread::panicking()
        {
            panic!("the S3 test server had failed");
        }
    }
}

/// A remote at a prefix of [`BUCKET`] at an endpoint, with the test credentials.
pub(super) fn spec(endpoint: &str, prefix: &str) -> RemoteSpec {
    let variables = [
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    RemoteSpec {
        url: format!("s3://{BUCKET}/{prefix}"),
        endpoint: Some(endpoint.to_owned()),
        env: variables.into_iter().collect(),
        ..RemoteSpec::default()
    }
}

async fn serve(
    listener: TcpListener,
    service: S3Service,
    faults: Faults,
    google: bool,
) -> Result<()> {
    loop {
        let (socket, _) = listener.accept().await?;
        // Disable Nagle's algorithm. Otherwise small responses on a reused connection wait 40 ms
        // for the peer's delayed ACK.
        socket.set_nodelay(true)?;
        let (service, faults) = (service.clone(), faults.clone());
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                layer::answer(service.clone(), faults.clone(), google, request)
            });
            let connection = Builder::new(TokioExecutor::new());
            // Ignore errors: the client may disconnect, and faults close connections on purpose.
            let _ = connection
                .serve_connection(TokioIo::new(socket), answer)
                .await;
        });
    }
}
