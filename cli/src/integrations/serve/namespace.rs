//! A tree of files that clients of a server read and add to.
//!
//! A namespace is a key. Accepted files are in the [`Spool`] until a flush saves them as a layer of
//! the key, like any save. So several servers can share a bucket without coordination: their saves
//! are united, and `list`, `check`, `promote` and `gc` work on the key.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cachefs::save::{SpoolSource, save_spool};
use cachefs::{Error, StoreDir};
use cachefs_store::layer::mode;
use cachefs_store::progress::Silent;
use cachefs_store::refs::{KeyQuery, LayerInfo, RefName, Scope, resolve_key};
use cachefs_store::remote::RemoteSpec;
use cachefs_store::save::SaveRequest;
use cachefs_store::session::Session;
use parking_lot::RwLock;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::archive::{archive_name, contents_name, find_archives, take_apart};
use super::content::Content;
use super::snapshot::Snapshot;
use super::spool::{Spool, SpooledUpload};

/// After a name is not found, the server looks for saves of other servers, but at most this often.
const REFRESH_EVERY: Duration = Duration::from_secs(1);

/// Configuration of a namespace.
pub(crate) struct NamespaceOptions {
    /// The local store, which also has the spool.
    pub(crate) store: StoreDir,
    /// The remote.
    pub(crate) remote: RemoteSpec,
    /// Timeout of a single request to the remote.
    pub(crate) deadline: Option<Duration>,
    /// The key, in the scope for writes.
    pub(crate) request: SaveRequest,
}

/// The state of a key in one scope, at the last refresh.
struct ScopeState {
    query: KeyQuery,
    layers: Vec<LayerInfo>,
    snapshot: Arc<Snapshot>,
}

/// A namespace. Futures of its methods can run on any task of [`Session::handle`].
pub(crate) struct Namespace {
    store: StoreDir,
    session: Session,
    request: SaveRequest,
    spool: Spool,
    /// The scopes to read, the one for writes first.
    scopes: RwLock<Vec<ScopeState>>,
    refreshed: Mutex<Option<Instant>>,
    flushes: mpsc::UnboundedSender<oneshot::Sender<FlushResult>>,
}

/// The result of a flush, for every caller that waits for it.
type FlushResult = Result<(), Arc<Error>>;

impl Namespace {
    /// Opens a namespace. Sends no request yet.
    ///
    /// # Errors
    ///
    /// A usage error if another server has its spool open.
    pub(crate) fn open(options: NamespaceOptions) -> Result<Arc<Self>, Error> {
        let NamespaceOptions {
            store,
            remote,
            deadline,
            request,
        } = options;
        let session = Session::open(store.local(), &remote, deadline)?;
        let name = &request.name;
        let spool = Spool::open(&spool_directory(&store, name))?;
        let scopes = [&name.scope].into_iter().chain(&request.fallback);
        let scopes = scopes
            .map(|scope| ScopeState::new(&session, scope, name))
            .collect::<Result<_, Error>>()?;
        let (flushes, requested) = mpsc::unbounded_channel();
        let namespace = Arc::new(Self {
            store,
            session,
            request,
            spool,
            scopes: RwLock::new(scopes),
            refreshed: Mutex::new(None),
            flushes,
        });
        let handle = namespace.session.handle().clone();
        handle.spawn(run_flushes(Arc::downgrade(&namespace), requested));
        Ok(namespace)
    }

    /// The session, whose runtime serves requests.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Creates an empty file to receive content.
    pub(super) fn begin_upload(&self) -> Result<SpooledUpload, Error> {
        self.spool.begin_upload()
    }

    /// Accepts received content under a name. It survives a crash from then on, and is in the
    /// remote after the next [`Namespace::flush`]. A tar archive is split into its parts.
    pub(super) fn accept(&self, upload: SpooledUpload, name: &str) -> Result<(), Error> {
        self.spool.accept(take_apart(&self.spool, upload, name)?)
    }

    /// Accepts small files, in this order.
    pub(super) fn write(&self, files: Vec<(String, Vec<u8>)>) -> Result<(), Error> {
        let files = files.into_iter().map(|(name, bytes)| {
            let upload = self.spool.write_upload(&bytes)?;
            Ok((name, upload))
        });
        self.spool.accept(files.collect::<Result<_, Error>>()?)
    }

    /// The content of a name; `None` if neither the spool nor the remote has it.
    pub(super) async fn find(&self, name: &str) -> Result<Option<Content>, Error> {
        if let Some(found) = self.find_known(name).await? {
            return Ok(Some(found));
        }
        self.refresh(false).await?;
        self.find_known(name).await
    }

    /// Like [`Namespace::find`], but only in the spool and in saves that are known already.
    async fn find_known(&self, name: &str) -> Result<Option<Content>, Error> {
        for name in [name, &contents_name(name)] {
            if let Some(file) = self.spool.find(name)? {
                let size = file.metadata().map_err(Error::io("read", name))?.len();
                return Ok(Some(Content::Spooled { file, size }));
            }
        }
        for snapshot in self.snapshots() {
            let found = match snapshot.find_file(name)? {
                Some(content) => Some(content),
                None => snapshot.find_archive(&archive_name(name)).await?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The trees of all scopes, the one for writes first.
    fn snapshots(&self) -> Vec<Arc<Snapshot>> {
        let scopes = self.scopes.read();
        scopes
            .iter()
            .map(|scope| Arc::clone(&scope.snapshot))
            .collect()
    }

    /// The names in a directory, sorted.
    pub(super) async fn list(&self, directory: &str) -> Result<Vec<String>, Error> {
        self.refresh(false).await?;
        let mut names = self.spool.list(directory)?;
        for snapshot in self.snapshots() {
            let stack = &snapshot.stack;
            let Some(ino) = stack.find(directory.as_bytes())? else {
                continue;
            };
            if stack.attr(ino)?.kind() != mode::DIRECTORY {
                continue;
            }
            stack.list(ino, 0, |_, name, _| {
                names.extend(String::from_utf8(name.to_vec()));
                Ok(true)
            })?;
        }
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Looks for new saves of the key, unless we did so recently.
    async fn refresh(&self, always: bool) -> Result<(), Error> {
        let mut refreshed = self.refreshed.lock().await;
        let is_recent = |at: Instant| at.elapsed() < REFRESH_EVERY;
        if !always && refreshed.is_some_and(is_recent) {
            return Ok(());
        }
        let queries: Vec<_> = self
            .scopes
            .read()
            .iter()
            .map(|it| it.query.clone())
            .collect();
        for (number, query) in queries.iter().enumerate() {
            let found = match resolve_key(self.session.remote(), query).await {
                // A directory that does not exist yet has no keys: the first save creates it.
                Err(cachefs_store::Error::Remote(error))
                    if error.kind() == cachefs_store::remote::RemoteErrorKind::NoRemote =>
                {
                    None
                }
                found => found?,
            };
            let layers = found.map(|found| found.layers).unwrap_or_default();
            let is_same = {
                let scopes = self.scopes.read();
                let known = scopes[number].layers.iter().map(|layer| layer.id);
                known.eq(layers.iter().map(|layer| layer.id))
            };
            if !is_same {
                let opened = self
                    .session
                    .layers()
                    .open(self.session.remote(), &layers)
                    .await?;
                let snapshot = Arc::new(Snapshot::new(&self.session, opened)?);
                let mut scopes = self.scopes.write();
                (scopes[number].layers, scopes[number].snapshot) = (layers, snapshot);
            }
        }
        *refreshed = Some(Instant::now());
        Ok(())
    }

    /// Saves all files that were accepted before the call. Concurrent calls share a save.
    pub(super) async fn flush(&self) -> FlushResult {
        let (done, saved) = oneshot::channel();
        let ended = || Arc::new(Error::from(cachefs_store::Error::Cancelled));
        self.flushes.send(done).map_err(|_| ended())?;
        saved.await.map_err(|_| ended())?
    }

    /// Saves all accepted files on the current thread.
    ///
    /// # Errors
    ///
    /// Errors of the save. The files stay in the spool, and the next flush saves them.
    pub(crate) fn flush_now(&self) -> Result<(), Error> {
        // At most two rounds: the files of a failed flush, and those accepted since.
        for _ in 0..2 {
            let Some(sealed) = self.spool.seal()? else {
                return Ok(());
            };
            let spool = SpoolSource {
                gathered: find_archives(&sealed)?,
                directory: sealed,
            };
            let request = self.request.clone();
            let report = save_spool(&self.store, &self.session, request, spool, &Silent)?;
            tracing::info!(
                "saved {} files of {} as layer {}",
                report.scanned.0,
                self.request.name,
                report.layers.len()
            );
            // Readers must find the files in the remote before we remove them from the spool.
            self.session.block_on(self.refresh(true))?;
            self.spool.remove_sealed()?;
        }
        Ok(())
    }
}

/// Runs the requested flushes one after another. Requests that arrive during a flush share the next
/// one, which starts after all of their files were accepted.
async fn run_flushes(
    namespace: std::sync::Weak<Namespace>,
    mut requested: mpsc::UnboundedReceiver<oneshot::Sender<FlushResult>>,
) {
    while let Some(first) = requested.recv().await {
        let mut waiting = vec![first];
        while let Ok(another) = requested.try_recv() {
            waiting.push(another);
        }
        let Some(namespace) = namespace.upgrade() else {
            return;
        };
        let flush = tokio::task::spawn_blocking(move || namespace.flush_now().map_err(Arc::new));
        let result = flush
            .await
            .unwrap_or_else(|_| Err(Arc::new(Error::from(cachefs_store::Error::Cancelled))));
        for waiter in waiting {
            // The client may have disconnected.
            let _ = waiter.send(result.clone());
        }
    }
}

impl ScopeState {
    fn new(session: &Session, scope: &Scope, name: &RefName) -> Result<Self, Error> {
        Ok(Self {
            query: KeyQuery {
                scopes: vec![scope.clone()],
                key: name.key.clone(),
                prefixes: Vec::new(),
                chosen: None,
                role: None,
            },
            layers: Vec::new(),
            snapshot: Arc::new(Snapshot::new(session, Vec::new())?),
        })
    }
}

/// Each key has its own spool. Keys may contain any character, so the directory's name is a hash.
fn spool_directory(store: &StoreDir, name: &RefName) -> std::path::PathBuf {
    let id = blake3::hash(format!("{}\0{}", name.scope, name.key).as_bytes()).to_hex();
    store.path().join("spool").join(&id[..32])
}
