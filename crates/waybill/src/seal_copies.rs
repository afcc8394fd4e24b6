//! Copies of the seals, sent out as they are made: to an append-only file, and to a syslog server. Each is a
//! place that a hand in the database does not reach; `audit verify --seals` compares with them.
//!
//! How far each copy has come is noted in the state directory, after it was sent: what a crash leaves
//! unnoted is sent twice, which harms nothing. Only seals that this node has found in order are sent,
//! whichever node made them.

use crate::process::Ambient;
use config::Settings;
use model::{Error, ErrorKind, NodeName, Result};
use net::{Net, SyslogTarget, syslog_message};
use serde_json::{Map, Value};
use std::io::Write as _;
use std::path::PathBuf;
use store::{MarkFile, Store};

/// Seals sent in one go.
const BATCH: usize = 200;

/// The copies that the settings ask for.
pub(crate) struct SealCopies {
    file: Option<PathBuf>,
    syslog: Option<SyslogTarget>,
    net: Net,
    ambient: Ambient,
    node: NodeName,
    mark: MarkFile,
    /// How far each has come.
    progress: PathBuf,
}

impl SealCopies {
    pub(crate) fn new(settings: &Settings, net: &Net, ambient: &Ambient) -> Self {
        Self {
            file: settings.audit.seal_file.clone(),
            syslog: settings.audit.seal_syslog.clone(),
            net: net.clone(),
            ambient: ambient.clone(),
            node: settings.node.clone(),
            mark: MarkFile::within(&settings.state_directory),
            progress: settings.state_directory.join("seals-sent.json"),
        }
    }

    /// Sends what was not sent yet; each copy for itself, so that one that is away delays no other.
    ///
    /// # Errors
    /// The first that failed; the next run tries it again.
    pub(crate) async fn send(&self, store: &Store) -> Result<()> {
        if self.file.is_none() && self.syslog.is_none() {
            return Ok(());
        }
        let newest = self.mark.read()?.map_or(0, |mark| mark.newest.seal);
        let to_file = match &self.file {
            Some(_) => self.send_to("file", store, newest).await,
            None => Ok(()),
        };
        let to_syslog = match &self.syslog {
            Some(_) => self.send_to("syslog", store, newest).await,
            None => Ok(()),
        };
        to_file.and(to_syslog)
    }

    async fn send_to(&self, copy: &'static str, store: &Store, newest: i64) -> Result<()> {
        let mut progress = self.read_progress()?;
        // After a restored database was accepted the seals begin anew behind it.
        let sent = progress.get(copy).and_then(Value::as_i64).unwrap_or(0).min(newest);
        let mut next = sent + 1;
        while next <= newest {
            let lines = store.exported_seals(next, newest, BATCH).await?;
            let Some((last, _)) = lines.last() else { break };
            next = last + 1;
            let lines: Vec<String> = lines.into_iter().map(|(_, line)| line).collect();
            match copy {
                "file" => self.append(lines).await?,
                _ => self.send_syslog(&lines).await?,
            }
            progress.insert(copy.to_owned(), (next - 1).into());
            self.write_progress(&progress).await?;
        }
        Ok(())
    }

    async fn append(&self, lines: Vec<String>) -> Result<()> {
        const OPERATION: &str = "append seals to audit.seal_file";
        let Some(path) = self.file.clone() else { return Ok(()) };
        tokio::task::spawn_blocking(move || {
            let failed = |error| Error::local_io(OPERATION, error).with("path", path.display());
            // Opened for appending alone, so that the file may be marked as append-only (chattr +a).
            let mut file =
                std::fs::OpenOptions::new().append(true).create(true).open(&path).map_err(failed)?;
            let mut text = lines.join("\n");
            text.push('\n');
            file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
        })
        .await
        .map_err(|error| Error::transient(ErrorKind::Internal, OPERATION).caused_by(error))?
    }

    async fn send_syslog(&self, lines: &[String]) -> Result<()> {
        let Some(target) = &self.syslog else { return Ok(()) };
        let now = self.ambient.clock.now();
        let messages: Vec<String> =
            lines.iter().map(|line| syslog_message(now, &self.node, "seal", line)).collect();
        self.net.send_syslog(target, &messages).await
    }

    /// A file that cannot be read is as good as none: all seals are sent again.
    fn read_progress(&self) -> Result<Map<String, Value>> {
        match std::fs::read(&self.progress) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).unwrap_or_default()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Map::new()),
            Err(error) => Err(Error::local_io("read how far seals were sent out", error)
                .with("path", self.progress.display())),
        }
    }

    async fn write_progress(&self, progress: &Map<String, Value>) -> Result<()> {
        const OPERATION: &str = "note how far seals were sent out";
        let (path, text) = (self.progress.clone(), Value::Object(progress.clone()).to_string());
        tokio::task::spawn_blocking(move || {
            let failed = |error| Error::local_io(OPERATION, error).with("path", path.display());
            let temporary = path.with_extension("new");
            std::fs::write(&temporary, text).map_err(failed)?;
            std::fs::rename(&temporary, &path).map_err(failed)
        })
        .await
        .map_err(|error| Error::transient(ErrorKind::Internal, OPERATION).caused_by(error))?
    }
}
