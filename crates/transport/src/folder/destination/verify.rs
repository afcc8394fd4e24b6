//! Verifying that a written file is whole.

use super::{FolderDestination, Verify, is_not_shown, known_sha256};
use crate::Deliver;
use crate::folder::checksum::checksum_of;
use crate::folder::{ChecksumKind, Evidence, ServerChecksum, Written, sum};
use model::{Error, ErrorKind, RemotePath, Result, Sha256};

impl FolderDestination {
    /// Verifies a written file as the flow asks for. The caller holds a lease for the buffers.
    ///
    /// # Errors
    /// As [`Self::confirmed_as_asked`] and [`Self::checked`].
    pub(super) async fn verified(
        &self,
        delivery: &Deliver,
        path: &RemotePath,
        written: Written,
    ) -> Result<Written> {
        let written = self.confirmed_as_asked(path, delivery.payload.length(), written).await?;
        let sha256 = delivery.payload.confirm().await?;
        self.checked(delivery, sha256, path, written).await
    }

    /// Verifies the size of a written file, unless the flow asks for no verification.
    ///
    /// # Errors
    /// `IntegrityFailed`, transient: the file is not whole on the server.
    pub(super) async fn confirmed_as_asked(
        &self,
        path: &RemotePath,
        length: u64,
        written: Written,
    ) -> Result<Written> {
        if self.options.verify == Verify::None {
            return Ok(Written { evidence: Evidence::NotVerified, ..written });
        }
        self.confirmed(path, length, written).await
    }

    /// Verifies the checksum of a written file of the right size, if the flow asks for it.
    ///
    /// # Errors
    /// `IntegrityFailed`, transient: it has other content. `Unsupported`, permanent: it cannot be read back there.
    pub(super) async fn checked(
        &self,
        delivery: &Deliver,
        sha256: Sha256,
        path: &RemotePath,
        written: Written,
    ) -> Result<Written> {
        if self.options.verify != Verify::Checksum || written.gone {
            return Ok(written);
        }
        if matches!(written.evidence, Evidence::ServerChecksum(_)) {
            return Ok(written);
        }
        // A streamed file cannot be read again for another sum than the one that is known.
        let is_usable =
            |there: &ServerChecksum| !delivery.payload.is_streamed() || there.kind == ChecksumKind::Sha256;
        match self.checksum_there(path).await.filter(is_usable) {
            None => {}
            Some(there) => {
                let sent = checksum_of(&*delivery.payload, sha256, there.kind).await?;
                if sent == there.value {
                    return Ok(Written { evidence: Evidence::ServerChecksum(there.kind), ..written });
                }
                return Err(Error::transient(ErrorKind::IntegrityFailed, "verify a file that was written")
                    .with("endpoint", &self.options.endpoint)
                    .with("path", path)
                    .with("checksum", there.kind.name())
                    .advice(
                        "the checksum that the server computed is not that of what was sent; the file is sent again",
                    ));
            }
        }
        let read_back = async {
            let there = self.folder.read(path, 0).await?;
            sum(delivery.payload.read_back(Box::new(there))).await
        };
        match read_back.await {
            Ok(sum) if sum == (delivery.payload.length(), sha256) => {
                Ok(Written { evidence: Evidence::ReadBack, ..written })
            }
            Ok((bytes, there)) => {
                Err(Error::transient(ErrorKind::IntegrityFailed, "read back a file that was written")
                    .with("endpoint", &self.options.endpoint)
                    .with("path", path)
                    .with("expected sha256", sha256)
                    .with("sha256 there", there)
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

    /// The checksum of a payload that goes with it, where the flow asks for checksums and the server takes one. The caller
    /// holds a lease for the buffers.
    ///
    /// # Errors
    /// The payload cannot be read.
    pub(super) async fn checksum_to_send(&self, delivery: &Deliver) -> Result<Option<ServerChecksum>> {
        // A streamed file is read once, and its sum is known afterwards.
        let is_asked = self.options.verify == Verify::Checksum && !delivery.payload.is_streamed();
        let Some(kind) = self.folder.checksum_with_upload().filter(|_| is_asked) else { return Ok(None) };
        let value = checksum_of(&*delivery.payload, known_sha256(&*delivery.payload)?, kind).await?;
        Ok(Some(ServerChecksum { kind, value }))
    }

    /// The checksum that the server computes of a file; `None` if it does not, or not now: then the file is read back.
    async fn checksum_there(&self, path: &RemotePath) -> Option<ServerChecksum> {
        self.folder.checksum(path).await.unwrap_or_else(|error| {
            tracing::debug!(%path, error = %error.chain(), "the server did not compute a checksum");
            None
        })
    }
}
