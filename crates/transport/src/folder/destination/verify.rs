//! Verifying that a written file is whole.

use super::{FolderDestination, Verify, is_not_shown};
use crate::Deliver;
use crate::folder::{Evidence, Written};
use bytes::BytesMut;
use model::{Error, ErrorKind, RemotePath, Result, Sha256};
use tokio::io::AsyncReadExt;

/// The number of bytes that are read at a time.
pub(super) const CHUNK: usize = 128 * 1024;

impl FolderDestination {
    /// Verifies a written file as the flow asks for. The caller holds a lease for the buffers.
    ///
    /// # Errors
    /// `IntegrityFailed`, transient: the file is not whole on the server. `Unsupported`, permanent: it cannot be read
    /// back there.
    pub(super) async fn verified(
        &self,
        delivery: &Deliver,
        path: &RemotePath,
        written: Written,
    ) -> Result<Written> {
        if self.options.verify == Verify::None {
            return Ok(Written { evidence: Evidence::NotVerified, ..written });
        }
        let written = self.confirmed(path, delivery.payload.length(), written).await?;
        if self.options.verify == Verify::Size || written.gone {
            return Ok(written);
        }
        match self.sum(path).await {
            Ok(sum) if sum == (delivery.payload.length(), delivery.payload.sha256()) => {
                Ok(Written { evidence: Evidence::ReadBack, ..written })
            }
            Ok((bytes, sha256)) => {
                Err(Error::transient(ErrorKind::IntegrityFailed, "read back a file that was written")
                    .with("endpoint", &self.options.endpoint)
                    .with("path", path)
                    .with("expected sha256", delivery.payload.sha256())
                    .with("sha256 there", sha256)
                    .with("bytes there", bytes)
                    .advice("what the server stored is not what was sent; the file is sent again"))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Written { gone: true, ..written }),
            Err(error) if is_not_shown(&error) => {
                Err(Error::permanent(ErrorKind::Unsupported, "read back a file that was written")
                    .with("endpoint", &self.options.endpoint)
                    .with("path", path)
                    .advice(
                        "this user may not read files there; set verify = \"size\" on the flow's destination",
                    )
                    .caused_by(error))
            }
            Err(error) => Err(error),
        }
    }

    /// The length in bytes and the SHA-256 of a file on the server, which is read to its end. The caller holds a lease
    /// for [`CHUNK`] bytes and the reader's buffers.
    pub(super) async fn sum(&self, path: &RemotePath) -> Result<(u64, Sha256)> {
        let mut reader = self.folder.read(path, 0).await?;
        let mut chunk = BytesMut::with_capacity(CHUNK);
        let (mut bytes, mut hash) = (0, openssl::sha::Sha256::new());
        loop {
            chunk.clear();
            let read = reader.read_buf(&mut chunk).await.map_err(|error| {
                let local = |error| Error::local_io("read back a file that was written", error);
                error.downcast::<Error>().unwrap_or_else(local)
            })?;
            if read == 0 {
                return Ok((bytes, Sha256(hash.finish())));
            }
            bytes += read as u64;
            hash.update(&chunk);
        }
    }
}
