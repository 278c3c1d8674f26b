//! Writing the tree of a key as a tar archive.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::archive::{self, Compression, WriteOptions, Written};
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::refs::{self, KeyQuery, Resolved};
use crate::remote::RemoteTraffic;
use crate::session::Session;

/// The key to export, and the form of its archive.
#[derive(Debug, Clone)]
pub struct ExportRequest {
    /// The key, and the scopes to look in.
    pub wanted: KeyQuery,
    /// The compression of the archive.
    pub compression: Compression,
    /// The prefix of all names in the archive.
    pub write: WriteOptions,
    /// Whether device nodes, setuid bits and file capabilities are written; see
    /// [`Stack::without_privileges`](crate::stack::Stack::without_privileges).
    pub privileged: bool,
}

/// The result of an export.
#[derive(Debug)]
pub struct ExportReport {
    /// The key that was found.
    pub matched: Resolved,
    /// Counts of the archive.
    pub written: Written,
    /// The traffic of the export.
    pub traffic: RemoteTraffic,
    /// The time that the export took.
    pub elapsed: Duration,
}

impl Session {
    /// Writes the tree of a key to the output that `begin` opens. Returns `None` if the key does
    /// not exist. `begin` is not called in this case, so no empty file is created.
    ///
    /// Needs no index. The same tree gives the same bytes.
    ///
    /// # Errors
    ///
    /// Those of the remote, of `begin`, and of writing to its output.
    ///
    /// # Examples
    ///
    /// Looks in `feature`, then in `main`: for the key itself, then for the newest key that starts
    /// with `npm-`. This remote is empty, so no archive is created:
    ///
    /// ```
    /// use std::error::Error;
    /// use std::fs::File;
    ///
    /// use cachefs_store::archive::{Compression, WriteOptions};
    /// use cachefs_store::export::ExportRequest;
    /// use cachefs_store::progress::Silent;
    /// use cachefs_store::refs::{Key, KeyQuery, Scope};
    /// # use cachefs_store::remote::RemoteSpec;
    /// # use cachefs_store::session::{LocalStore, Session};
    ///
    /// # let dir = tempfile::tempdir()?;
    /// # let local = LocalStore { path: dir.path().join("store"), cache_limit: 1 << 30 };
    /// # let url = format!("file://{}", dir.path().display());
    /// # let session = Session::open(local, &RemoteSpec { url, ..RemoteSpec::default() }, None)?;
    /// let request = ExportRequest {
    ///     wanted: KeyQuery {
    ///         scopes: vec![Scope::new("feature")?, Scope::new("main")?],
    ///         key: Key::new("npm-linux")?,
    ///         prefixes: vec!["npm-".to_owned()],
    ///         chosen: None,
    ///         role: None,
    ///     },
    ///     compression: Compression::Zstd,
    ///     write: WriteOptions::default(),
    ///     privileged: false,
    /// };
    /// let file = dir.path().join("cache.tar.zst");
    /// let begin = || Ok(Box::new(File::create(&file)?) as _);
    /// let report = session.export::<Box<dyn Error>>(&request, begin, &Silent)?;
    /// assert!(report.is_none() && !file.exists());
    /// # Ok::<(), Box<dyn Error>>(())
    /// ```
    pub fn export<E: From<Error>>(
        &self,
        request: &ExportRequest,
        begin: impl FnOnce() -> Result<Box<dyn Write>, E>,
        progress: &dyn Progress,
    ) -> Result<Option<ExportReport>, E> {
        let started = Instant::now();
        let found = self.block_on(refs::resolve_key(self.remote(), &request.wanted))?;
        let Some(matched) = found else {
            return Ok(None);
        };
        let mut stack = self.open_stack(&matched.layers)?;
        let reader = self.frame_reader(&stack)?;
        if !request.privileged {
            stack = stack.without_privileges();
        }
        let written = archive::compress_stream(request.compression, begin()?, |out| {
            archive::write_archive(
                &stack,
                &reader,
                self.handle(),
                out,
                &request.write,
                progress,
            )
            .map_err(ExportError::Store)
        })
        .map_err(|error| match error {
            ExportError::Store(error) => error,
            ExportError::Output(error) => Error::io("write", "the archive")(error),
        })?;
        Ok(Some(ExportReport {
            matched,
            written,
            traffic: self.traffic(),
            elapsed: started.elapsed(),
        }))
    }
}

/// A failure to read the tree, or to write to the output.
enum ExportError {
    Store(Error),
    Output(std::io::Error),
}

impl From<std::io::Error> for ExportError {
    fn from(error: std::io::Error) -> Self {
        Self::Output(error)
    }
}
