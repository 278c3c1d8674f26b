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

/// The policy of who may do anything.
const ANYTHING: &str = r#"{"Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}"#;

/// How a server differs from an ordinary one.
#[derive(Debug, Clone, Copy, Default)]
pub struct S3Options {
    /// Conditional writes are accepted and the condition ignored, as some stores do.
    pub ignore_conditions: bool,
    /// Speaks the dialect of Google Cloud Storage, with [`TOKEN`] for credentials.
    pub google: bool,
}

/// An S3 server on a free port of the loopback interface, with one bucket in a temporary
/// directory. It has threads of its own; dropping it stops it and removes the data.
#[derive(Debug)]
pub struct S3Server {
    address: SocketAddr,
    faults: Faults,
    data: TempDir,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl S3Server {
    /// Starts an ordinary server.
    pub fn start() -> Result<Self> {
        Self::start_with(S3Options::default())
    }

    /// Starts a server that knows these users too, and lets them do what their policies allow.
    /// The one with [`ACCESS_KEY`] may do anything.
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
                    // Also when the sender is dropped.
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
                // Drops the connections that are left, also those that hang on purpose.
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

    /// The server's address, as `http://host:port`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The handle that makes requests go wrong and counts them.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The directory that holds the bucket's objects as files of the same names.
    pub fn bucket_dir(&self) -> PathBuf {
        self.data.path().join(BUCKET)
    }

    /// How to reach a prefix of the bucket.
    pub fn spec(&self, prefix: &str) -> RemoteSpec {
        spec(&self.endpoint(), prefix)
    }

    /// How to reach a prefix of the bucket as one of Google.
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

/// How to reach a prefix of [`BUCKET`] at an endpoint with the test credentials.
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
        // Otherwise small answers on a kept connection wait 40 ms for an acknowledgement.
        socket.set_nodelay(true)?;
        let (service, faults) = (service.clone(), faults.clone());
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                layer::answer(service.clone(), faults.clone(), google, request)
            });
            let connection = Builder::new(TokioExecutor::new());
            // A connection that ends early is the client's matter, or a fault on purpose.
            let _ = connection
                .serve_connection(TokioIo::new(socket), answer)
                .await;
        });
    }
}
