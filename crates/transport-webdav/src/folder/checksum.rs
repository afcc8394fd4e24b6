//! Checksums of ownCloud and Nextcloud, which go with a file or are asked for.
//!
//! ownCloud compares the one that comes with a file (`OC-Checksum`) with what it received, and lists those that it computed
//! (the property `oc:checksums`). Nextcloud stores the one that comes, unverified, and computes one of what it received
//! where it is asked for that (`X-Hash`, answered by `X-Hash-SHA256`).

use super::WebdavFolder;
use super::list::checksums;
use crate::options::Cloud;
use crate::protocol::answer::Answer;
use model::{Error, ErrorKind, RemotePath, Result};
use transport::folder::{ChecksumKind, ServerChecksum};

/// The header of Nextcloud's answer to a PUT.
const COMPUTED: &str = "x-hash-sha256";

impl Cloud {
    /// The kind of checksum that goes with a file.
    pub(super) const fn kind(self) -> ChecksumKind {
        match self {
            // It knows no better one.
            Self::OwnCloud => ChecksumKind::Sha1,
            Self::Nextcloud => ChecksumKind::Sha256,
        }
    }
}

/// The name of a checksum in headers and properties.
const fn name(kind: ChecksumKind) -> &'static str {
    match kind {
        ChecksumKind::Sha256 => "SHA256",
        ChecksumKind::Sha512 => "SHA512",
        ChecksumKind::Sha1 => "SHA1",
        ChecksumKind::Md5 => "MD5",
    }
}

/// The value of `OC-Checksum`.
pub(super) fn header(checksum: &ServerChecksum) -> String {
    let digits: String = checksum.value.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}:{digits}", name(checksum.kind))
}

/// What Nextcloud computed of what it received; `None` if it did not say.
pub(super) fn computed(answer: &Answer) -> Option<ServerChecksum> {
    let value = answer.headers.get(COMPUTED)?;
    ServerChecksum::from_hex(ChecksumKind::Sha256, value.as_bytes())
}

/// The error for a file that did not arrive as it was sent.
pub(super) fn differs(host: &str, path: &RemotePath) -> Error {
    Error::transient(ErrorKind::IntegrityFailed, "verify a file that was written")
        .with("host", host)
        .with("path", path)
        .advice("the checksum that the server computed is not that of what was sent; the file is sent again")
}

impl WebdavFolder {
    /// The checksum that ownCloud computed of a file. A list that has the kind alone that goes with files may be what came
    /// with this one.
    pub(super) async fn listed_checksum(&self, path: &RemotePath) -> Result<Option<ServerChecksum>> {
        if self.remote.settings.cloud != Some(Cloud::OwnCloud) {
            return Ok(None);
        }
        let listed = checksums(&self.remote, path).await?.unwrap_or_default();
        let given = Cloud::OwnCloud.kind();
        let is_computed = listed.split_whitespace().any(|one| {
            one.split_once(':')
                .is_some_and(|(kind, digits)| !kind.eq_ignore_ascii_case(name(given)) && !digits.is_empty())
        });
        let of = |kind: ChecksumKind| {
            let digits = listed.split_whitespace().find_map(|one| {
                let (told, digits) = one.split_once(':')?;
                told.eq_ignore_ascii_case(name(kind)).then_some(digits)
            });
            ServerChecksum::from_hex(kind, digits?.as_bytes())
        };
        Ok(ChecksumKind::BY_PREFERENCE.into_iter().filter(|_| is_computed).find_map(of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_written_as_its_header_has_it() {
        let digits = b"da39a3ee5e6b4b0d3255bfef95601890afd80709";
        let checksum = ServerChecksum::from_hex(ChecksumKind::Sha1, digits).unwrap();
        assert_eq!(header(&checksum), "SHA1:da39a3ee5e6b4b0d3255bfef95601890afd80709");
    }
}
