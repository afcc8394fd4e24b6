//! Locks of files while they are written (RFC 4918, 9.10 and 9.11).

use super::WebdavFolder;
use crate::connection::{Ask, Remote};
use crate::error;
use crate::folder::list::{lock_owner, look};
use crate::protocol::answer::Answer;
use http::StatusCode;
use model::{Error, ErrorKind, PeerText, RemotePath, Result, Retry};
use std::sync::Arc;
use std::time::Duration;
use transport::folder::Entry;

const LOCK: &str = "lock a file";

/// How long the server keeps a lock that is not given back.
pub(super) const WRITE_TIME: &str = "Second-3600";

/// The same for the file that is replaced: for as long as a MOVE takes.
pub(super) const MOVE_TIME: &str = "Second-120";

/// After how long the lock of a file that is still being written is taken for [`WRITE_TIME`] anew.
pub(super) const REFRESH: Duration = Duration::from_secs(300);

/// The longest wait for the answer to that: the file waits too, and its lock still has most of its time.
const REFRESH_WAIT: Duration = Duration::from_secs(3);

/// The most characters of a lock's owner that are told.
const OWNER: usize = 200;

/// A LOCK or UNLOCK that failed in the server is made again after these times.
const AGAIN_AFTER: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_millis(100), Duration::from_millis(500)];

const LOCK_INFO: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:lockinfo xmlns:D=\"DAV:\"><D:lockscope><D:exclusive/>\
    </D:lockscope><D:locktype><D:write/></D:locktype><D:owner>Waybill</D:owner></D:lockinfo>";

/// A lock that was taken.
pub(super) struct Lock {
    pub(super) token: String,
    /// Whether the server made an empty file for it, because nothing had the name (RFC 4918, 7.3). Apache makes none.
    pub(super) made_file: bool,
}

impl WebdavFolder {
    /// Locks a path; the token is kept with the server until it is given back.
    pub(super) async fn lock(&self, path: &RemotePath, is_new: bool, time: &str) -> Result<Lock> {
        let alone = self.remote.locking().await;
        let ask = || Ask::new("LOCK", path).header("depth", "0").header("timeout", time).xml(LOCK_INFO);
        let answer = ask_about_lock(&self.remote, LOCK, ask).await?;
        let token = answer.headers.get("lock-token").and_then(|value| value.to_str().ok());
        let token = token.map(|token| token.trim().trim_start_matches('<').trim_end_matches('>').to_owned());
        match (answer.status.as_u16(), token) {
            (200 | 201, Some(token)) => {
                let made_file = answer.status.as_u16() == 201;
                drop(error::discard(answer).await);
                self.remote.keep_lock(path, &token);
                // Apache answers 200 also where nothing was. What is not empty was written since it was looked for. Of a lock
                // without a file Apache tells neither size nor time.
                if is_new
                    && !made_file
                    && matches!(look(&self.remote, path).await, Ok(entry) if is_written(&entry))
                {
                    drop(alone);
                    unlock(&self.remote, path).await;
                    return Err(Error::permanent(ErrorKind::AlreadyExists, LOCK).with("path", path));
                }
                Ok(Lock { token, made_file })
            }
            (200 | 201, None) => Err(Error::permanent(ErrorKind::Protocol, LOCK)
                .with("host", self.host())
                .with("path", path)
                .on_connection(answer.connection)
                .advice("the server gave no lock token: set lock = false on the endpoint")),
            _ => {
                let error = refused(&self.remote, LOCK, &[path], answer).await;
                Err(match error.kind() {
                    ErrorKind::Unsupported => {
                        error.advice("the server does not offer locks here: set lock = false on the endpoint")
                    }
                    _ => error,
                })
            }
        }
    }

    /// Gives up a lock under which nothing was written, with the empty file that the server made for it. Only under the lock's
    /// token: without it the file may be somebody else's by now. Whether that file is gone, if there was one.
    pub(super) async fn give_up(&self, path: &RemotePath, lock: &Lock) -> bool {
        // The lock goes with its file.
        if lock.made_file && self.delete_once(path, None, Some(&lock.token)).await.is_ok() {
            return true;
        }
        unlock(&self.remote, path).await;
        !lock.made_file
    }
}

/// Makes a request about a lock. Apache answers 500 where another of its processes is writing its database of locks, for a
/// request of another client or for one that reads them: it is asked again, a few times.
async fn ask_about_lock(remote: &Remote, operation: &'static str, ask: impl Fn() -> Ask) -> Result<Answer> {
    for wait in AGAIN_AFTER {
        let answer = remote.ask_again(operation, ask(), remote.slot().await?).await?;
        if answer.status != StatusCode::INTERNAL_SERVER_ERROR {
            return Ok(answer);
        }
        drop(error::discard(answer).await);
        tokio::time::sleep(wait).await;
    }
    remote.ask_again(operation, ask(), remote.slot().await?).await
}

/// Whether a file was written to, as far as the server tells.
fn is_written(entry: &Entry) -> bool {
    entry.size.map_or(entry.modified.is_some() || entry.version.is_some(), |size| size > 0)
}

/// The error of an answer about paths; of a locked one it tells who holds the lock, where the server shows it.
pub(super) async fn refused(
    remote: &Arc<Remote>,
    operation: &'static str,
    paths: &[&RemotePath],
    answer: Answer,
) -> Error {
    let is_locked = answer.status == StatusCode::LOCKED;
    let path = paths.first().copied().cloned().unwrap_or_default();
    let mut error = error::refused(operation, &remote.settings.target(), &path, answer).await;
    for path in paths.iter().filter(|_| is_locked) {
        // The error stands without it.
        if let Ok(Some(owner)) = lock_owner(remote, path).await {
            error = error.with("locked", path).with("locked by", shown_owner(&owner));
        }
    }
    error
}

/// A lock's owner as an error shows it: bounded and printable, as the client that locked the file wrote it.
fn shown_owner(owner: &str) -> String {
    PeerText::from(owner).as_str().chars().take(OWNER).collect()
}

/// Keeps a lock for its time from now on (RFC 4918, 9.10.2), where a connection is free beside the one that carries the file. A
/// failure is only logged: the answer to the file itself says whether it was written.
pub(super) async fn refresh(remote: &Arc<Remote>, path: &RemotePath, token: &str) {
    const OPERATION: &str = "keep a lock";
    // Whoever takes a lock may wait for the connection that carries this file: nothing is waited for here.
    let (Some(_alone), Some(slot)) = (remote.locking_now(), remote.free_slot()) else { return };
    let ask = Ask::new("LOCK", path).header("timeout", WRITE_TIME).header("if", format!("(<{token}>)"));
    let kept = async {
        let answer = remote.ask_again(OPERATION, ask, slot).await?;
        if !answer.status.is_success() {
            return Err(error::refused(OPERATION, &remote.settings.target(), path, answer).await);
        }
        drop(error::discard(answer).await);
        Ok(())
    };
    let kept = tokio::time::timeout(REFRESH_WAIT, kept).await.unwrap_or_else(|_| {
        Err(Error::transient(ErrorKind::Timeout, OPERATION)
            .with("host", remote.settings.target())
            .with("waited seconds", REFRESH_WAIT.as_secs()))
    });
    if let Err(error) = kept {
        tracing::warn!(%path, error = %error.chain(), "the lock of a file that is being written could not be kept for longer");
    }
}

/// Asks the server to give a lock back. The caller has the right to ([`Remote::locking`]).
async fn ask_to_unlock(
    remote: &Remote,
    operation: &'static str,
    path: &RemotePath,
    token: &str,
) -> Result<Answer> {
    let ask = || Ask::new("UNLOCK", path).header("lock-token", format!("<{token}>"));
    ask_about_lock(remote, operation, ask).await
}

/// Gives back a lock that an earlier attempt left, by its token. Where the endpoint does not lock any more, a refusal is no error.
///
/// # Errors
/// It may still be held.
pub(super) async fn release(remote: &Arc<Remote>, path: &RemotePath, token: &str) -> Result<()> {
    const OPERATION: &str = "give back the lock of an earlier attempt";
    let _alone = remote.locking().await;
    let answer = ask_to_unlock(remote, OPERATION, path, token).await?;
    if is_given_back(answer.status) {
        drop(error::discard(answer).await);
        // It may be in memory too, if this process left it.
        remote.forget_lock(path, token);
        return Ok(());
    }
    let error = error::refused(OPERATION, &remote.settings.target(), path, answer).await;
    // What is done to the file next names it: a server that does not give locks back may know this one all the same.
    remote.keep_lock(path, token);
    if !remote.settings.locks && error.retry() == Retry::Permanent && is_refusal(error.kind()) {
        tracing::debug!(%path, error = %error.chain(), "an endpoint that does not lock any more did not give back a lock");
        return Ok(());
    }
    Err(error)
}

/// Whether a lock is not held any more, by the answer to UNLOCK (RFC 4918, 9.11.1). The server may know no such lock: its time
/// ended, or it went with a file that was replaced (9.9.3).
fn is_given_back(status: StatusCode) -> bool {
    status.is_success() || matches!(status.as_u16(), 400 | 404 | 409 | 410 | 412 | 423)
}

/// Whether the server refused what was asked, and nothing else is wrong.
const fn is_refusal(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::PermissionDenied | ErrorKind::Rejected | ErrorKind::Unsupported)
}

/// Gives a lock back. That it fails is no reason to fail: it ends by itself.
pub(super) async fn unlock(remote: &Arc<Remote>, path: &RemotePath) {
    const OPERATION: &str = "unlock a file";
    let Some(token) = remote.take_lock(path) else { return };
    let _alone = remote.locking().await;
    let error = match ask_to_unlock(remote, OPERATION, path, &token).await {
        Ok(answer) if is_given_back(answer.status) => {
            drop(error::discard(answer).await);
            return;
        }
        Ok(answer) => error::refused(OPERATION, &remote.settings.target(), path, answer).await,
        Err(error) => error,
    };
    // It may still be held: what is done to the file next names it.
    remote.keep_lock(path, &token);
    tracing::warn!(%path, error = %error.chain(), "a lock was not given back; it ends within an hour");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_of_a_lock_is_text_of_a_peer() {
        assert_eq!(shown_owner("anna\u{202e}\u{1b}[2J\r\nx"), "anna\\u{202e}\\u{1b}[2J\\u{d}\\u{a}x");
        assert_eq!(shown_owner(&"a".repeat(1_000)).len(), OWNER);
    }
}
