//! Deleting a file: DELETE (RFC 4918, 9.6), on condition of its version where that is known.

use super::list::look;
use super::{WebdavFolder, lock};
use crate::connection::Ask;
use crate::error;
use http::StatusCode;
use model::{Error, ErrorKind, RemotePath, Result};
use transport::folder::Folder;

const OPERATION: &str = "delete a file";

impl WebdavFolder {
    /// Deletes a file; with an ETag only the file that has it, else the error is `AlreadyExists` (412).
    pub(super) async fn delete(&self, path: &RemotePath, etag: Option<&str>) -> Result<()> {
        let Some(token) = self.remote.lock_of(path) else { return self.delete_once(path, etag, None).await };
        match self.delete_once(path, etag, Some(&token)).await {
            // 412 also says that the lock is gone: its time ended, or only the answer to its UNLOCK was lost.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                self.remote.forget_lock(path, &token);
                self.delete_once(path, etag, None).await
            }
            ended => ended,
        }
    }

    /// Deletes a file, under the lock with this token. Where the server knows no such lock the error is `AlreadyExists` (412), too.
    pub(super) async fn delete_once(
        &self,
        path: &RemotePath,
        etag: Option<&str>,
        token: Option<&str>,
    ) -> Result<()> {
        // With this depth a directory that took the file's name is refused instead of deleted (RFC 4918, 9.6.1).
        let mut ask = Ask::new("DELETE", path).header("depth", "0");
        if let Some(etag) = etag {
            ask = ask.header("if-match", etag);
        }
        let mut alone = None;
        if let Some(token) = token {
            ask = ask.header("if", format!("(<{token}>)"));
            alone = Some(self.remote.locking().await);
        }
        let answer = self.remote.ask(OPERATION, ask).await?;
        match answer.status {
            status @ (StatusCode::OK | StatusCode::NO_CONTENT | StatusCode::ACCEPTED) => {
                drop(error::discard(answer).await);
                // The lock goes with its file.
                self.remote.take_lock(path);
                drop(alone);
                if status == StatusCode::ACCEPTED { self.is_removed(path).await } else { Ok(()) }
            }
            _ => {
                let error = self.refused(OPERATION, path, answer).await;
                if error.kind() == ErrorKind::NotFound {
                    // Apache lists a lock of a file that was never written as if it were one.
                    drop(alone);
                    lock::unlock(&self.remote, path).await;
                }
                Err(error)
            }
        }
    }

    /// 202 means that the server will delete the file, perhaps later (RFC 9110, 9.3.5): it counts when it is gone.
    async fn is_removed(&self, path: &RemotePath) -> Result<()> {
        match self.stat(path).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(Error::transient(ErrorKind::Busy, OPERATION)
                .with("path", path)
                .said("202 Accepted")
                .advice("the server deletes the file later; it is looked for again")),
        }
    }

    /// Deletes a file that has this version; `false` if another one is there now.
    pub(super) async fn delete_version(&self, path: &RemotePath, version: Option<&str>) -> Result<bool> {
        // Of a long ETag only its digest is kept.
        let is_etag = |version: &&str| {
            !version.starts_with("sha256:")
                && version.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"')
        };
        let Some(version) = version.filter(is_etag) else {
            return self.delete(path, None).await.map(|()| true);
        };
        match self.delete(path, Some(&format!("\"{version}\""))).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let found = look(&self.remote, path).await?;
                if found.version.is_some_and(|shown| shown != version) {
                    return Ok(false);
                }
                // A weak one, which no condition holds for, or a condition that the server does not understand. Where it shows no
                // version, as where it has none, the caller's last look decides.
                self.delete(path, None).await.map(|()| true)
            }
            Err(error) => Err(error),
        }
    }
}
