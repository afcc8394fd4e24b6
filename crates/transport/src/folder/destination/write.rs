//! Writing a payload under a temporary name.

use super::copying::CHUNK;
use super::resume::Transmitted;
use super::{FolderDestination, Overwrite, Publishing, is_not_shown};
use crate::Deliver;
use crate::folder::{EntryKind, Evidence, ServerChecksum, Upload, Written};
use model::{Error, ErrorKind, RemotePath, Result};
use tokio::io::AsyncReadExt;

/// The number of earlier attempts whose temporary files are removed. Each attempt removes those before it, so more
/// than one remains only if removing failed.
const OLDER_LIMIT: u32 = 16;

impl FolderDestination {
    /// Writes the complete payload under its temporary name and verifies its size on the server.
    pub(super) async fn write(
        &self,
        delivery: &Deliver,
        path: RemotePath,
        temporary: RemotePath,
    ) -> Result<Publishing> {
        let length = delivery.payload.length();
        // A streamed file takes a connection to its source first: whoever holds one may wait for buffers and for a
        // connection to a destination, and nobody waits the other way round.
        let opened = match delivery.payload.is_streamed() {
            true => Some(delivery.payload.open(0..length).await?),
            false => None,
        };
        let buffers = 2 * CHUNK + delivery.payload.reader_buffers();
        let mut lease = Some(self.services.budget.take(buffers).await);
        if self.options.temporary_directory.is_some() {
            self.make_way_apart(&path).await?;
        }
        let Transmitted { written, identity, connection, resumptions } =
            self.transmit(delivery, opened, &path, &temporary).await?;
        let verified = async {
            // The source of a streamed file is asked when the upload has ended, without buffers and connections.
            if delivery.payload.is_streamed() {
                lease = None;
            }
            let sha256 = delivery.payload.confirm().await?;
            if lease.is_none() {
                lease = Some(self.services.budget.take(buffers).await);
            }
            let written = self.checked(delivery, sha256, &temporary, written).await?;
            let time = if written.gone { None } else { self.keep_time(delivery, &temporary).await? };
            let temporary_identity = match &self.options.temporary_directory {
                Some(directory) => self.folder.identity(directory).await?,
                None => None,
            };
            Ok::<_, Error>((written, sha256, time, temporary_identity))
        };
        let (written, sha256, time, temporary_identity) = match verified.await {
            Ok(written) => written,
            Err(error) => {
                // The file was not noted, so no attempt would use it, but it would take space.
                let _ = self.folder.remove(&temporary).await;
                return Err(error.on_connection(connection));
            }
        };
        drop(lease);
        let replaced = (self.options.overwrite == Overwrite::Replace)
            .then(|| self.folder.replaced_path(&temporary, &path))
            .flatten();
        let publishing = Publishing {
            may_remain: std::iter::once(temporary.clone()).chain(replaced).collect(),
            temporary,
            base: path.clone(),
            name: path,
            number: 1,
            attempt: delivery.claim.attempt,
            size: length,
            sha256,
            address: self.options.address.clone(),
            directory: self.options.directory.clone(),
            identity,
            temporary_identity,
            evidence: written.evidence,
            connection,
            refused: false,
            time,
            resumptions,
            not_set: written.not_set,
        };
        if written.gone { Err(self.taken(&publishing)) } else { Ok(publishing) }
    }

    /// Checks the reported size of a written file. If it differs from the number of bytes written, checks the file
    /// more closely.
    ///
    /// # Errors
    /// `IntegrityFailed`, transient: the file is incomplete on the server.
    pub(super) async fn confirmed(
        &self,
        path: &RemotePath,
        length: u64,
        written: Written,
    ) -> Result<Written> {
        let Some(stated) = written.size.filter(|size| !written.gone && *size != length) else {
            return Ok(written);
        };
        if self.ends_at(path, length).await {
            tracing::warn!(endpoint = %self.options.endpoint, %path, stated, written = length, "the server reports a wrong size; the end of the file was read, and the file is complete");
            return Ok(Written { evidence: Evidence::End(stated), ..written });
        }
        // The size was reported while the file was closed. Since then the server may have updated it, or the file may
        // have been collected.
        match self.folder.stat(path).await {
            Ok(entry) if entry.size == Some(length) => {
                Ok(Written { not_set: written.not_set, ..Written::there(length) })
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let evidence = Evidence::AcknowledgedAgainst(stated);
                Ok(Written { size: None, evidence, gone: true, not_set: written.not_set })
            }
            _ => Err(Error::transient(ErrorKind::IntegrityFailed, "write a file completely")
                .with("endpoint", &self.options.endpoint)
                .with("path", path)
                .with("expected bytes", length)
                .with("bytes there", stated)
                .advice("check whether a disk or quota is full at the destination")),
        }
    }

    /// Whether a file ends after this number of bytes. Checked by reading, because the reported size may be wrong.
    /// Also false if the file cannot be read.
    pub(super) async fn ends_at(&self, path: &RemotePath, length: u64) -> bool {
        matches!(self.is_end(path, length).await, Ok(Some(true)))
    }

    /// Like [`Self::ends_at`], but `None` if the server refuses to read.
    ///
    /// # Errors
    /// The server did not answer.
    pub(super) async fn is_end(&self, path: &RemotePath, length: u64) -> Result<Option<bool>> {
        // The last byte exists, and no byte follows it.
        let (offset, expected) = (length.saturating_sub(1), usize::from(length > 0));
        let mut last = [0_u8; 2];
        let read = async {
            let mut reader = self.folder.read(path, offset).await?;
            let mut count = 0;
            while count < last.len() {
                match reader.read(&mut last[count..]).await {
                    Ok(0) => break,
                    Ok(more) => count += more,
                    Err(error) => {
                        return Err(error.downcast::<Error>().unwrap_or_else(|error| {
                            Error::local_io("read the end of a written file", error)
                        }));
                    }
                }
            }
            Ok(count)
        };
        match read.await {
            Ok(count) => Ok(Some(count == expected)),
            Err(error) if is_not_shown(&error) || error.kind() == ErrorKind::NotFound => {
                tracing::debug!(%path, error = %error.chain(), "the end of a written file could not be read");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Begins the temporary file, and creates the directories of its name if they are missing.
    pub(super) async fn begin(
        &self,
        temporary: &RemotePath,
        path: &RemotePath,
        length: Option<u64>,
        checksum: Option<&ServerChecksum>,
    ) -> Result<Box<dyn Upload>> {
        let begin = || async {
            match checksum {
                Some(checksum) => self.folder.begin_write_with(temporary, length, checksum).await,
                None => self.folder.begin_write(temporary, length).await,
            }
        };
        match begin().await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.make_way(path, error).await?;
                if let Some(directory) = &self.options.temporary_directory {
                    self.folder.make_directory(directory).await?;
                }
            }
            Err(error) if self.was_made_meanwhile(temporary, &error).await => {}
            other => return other,
        }
        begin().await
    }

    /// Whether a file may have been refused because its directory was missing, and another delivery has created that
    /// directory since. Many servers give no reason for a refusal, and looking for the reason comes too late then.
    pub(super) async fn was_made_meanwhile(&self, file: &RemotePath, refused: &Error) -> bool {
        let Some(parent) = file.parent().filter(|parent| !parent.is_empty()) else { return false };
        let may_be_missing = self.options.create_directories || parent != self.options.directory;
        may_be_missing
            && refused.kind() == ErrorKind::Rejected
            && matches!(self.folder.stat(&parent).await, Ok(entry) if entry.kind == EntryKind::Directory)
    }

    /// Creates the directories of a file name, after writing failed because they were missing.
    pub(super) async fn make_way(&self, path: &RemotePath, missing: Error) -> Result<()> {
        let directory = &self.options.directory;
        let base_is_missing = !directory.is_empty()
            && matches!(self.folder.stat(directory).await, Err(e) if e.kind() == ErrorKind::NotFound);
        if base_is_missing && !self.options.create_directories {
            // Not permanent: a file system may not be mounted, or the partner may still be setting up the directory.
            return Err(Error::transient(ErrorKind::NotFound, "write to a directory")
                .with("endpoint", &self.options.endpoint)
                .with("directory", directory)
                .advice("create it, or set create_directories on the flow's destination")
                .caused_by(missing));
        }
        let Some(parent) = path.parent() else { return Err(missing) };
        self.folder.make_directory(&parent).await
    }

    /// Creates the directories of a file name whose temporary file is written elsewhere: only the publication would show
    /// that they are missing.
    async fn make_way_apart(&self, path: &RemotePath) -> Result<()> {
        let Some(parent) = path.parent() else { return Ok(()) };
        match self.folder.stat(&parent).await {
            Err(error) if error.kind() == ErrorKind::NotFound => self.make_way(path, error).await,
            // Where the server does not tell, the publication shows it.
            _ => Ok(()),
        }
    }

    /// Removes the temporary files of earlier attempts of this delivery. A failure does not stop the delivery.
    pub(super) async fn remove_older(&self, delivery: &Deliver, path: &RemotePath) {
        let attempt = delivery.claim.attempt;
        for older in attempt.saturating_sub(OLDER_LIMIT).max(1)..attempt {
            let temporary = self.temporary_path(path, delivery, older);
            match self.folder.remove(&temporary).await {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    tracing::warn!(path = %temporary, error = %error.chain(), "older temporary file not removed");
                }
                _ => {}
            }
        }
    }
}
