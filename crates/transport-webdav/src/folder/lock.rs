//! Locks of files while they are written (RFC 4918, 9.10 and 9.11).

use super::WebdavFolder;
use crate::connection::{Ask, Remote};
use crate::error;
use crate::folder::list::look;
use crate::protocol::answer::Answer;
use model::{Error, ErrorKind, RemotePath, Result};
use std::sync::Arc;
use std::time::Duration;

const LOCK: &str = "lock a file";

/// How long the server keeps a lock that is not given back.
const LOCK_TIME: &str = "Second-3600";

/// A LOCK that failed in the server is made again after these times.
const AGAIN_AFTER: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_millis(100), Duration::from_millis(500)];

const LOCK_INFO: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:lockinfo xmlns:D=\"DAV:\"><D:lockscope><D:exclusive/>\
    </D:lockscope><D:locktype><D:write/></D:locktype><D:owner>Waybill</D:owner></D:lockinfo>";

impl WebdavFolder {
    /// The answer to a LOCK. Apache answers 500 where another of its processes is writing its database of locks, for a
    /// request of another client or for one that reads them: it is asked again, a few times.
    async fn ask_for_lock(&self, path: &RemotePath) -> Result<Answer> {
        for wait in AGAIN_AFTER {
            let answer = self.ask_for_lock_once(path).await?;
            if answer.status.as_u16() != 500 {
                return Ok(answer);
            }
            drop(error::discard(answer).await);
            tokio::time::sleep(wait).await;
        }
        self.ask_for_lock_once(path).await
    }

    async fn ask_for_lock_once(&self, path: &RemotePath) -> Result<Answer> {
        let ask = Ask::new("LOCK", path).header("depth", "0").header("timeout", LOCK_TIME).xml(LOCK_INFO);
        self.remote.ask_again(LOCK, ask, self.remote.slot().await?).await
    }

    /// Locks a path; the token is kept with the server until it is given back.
    pub(super) async fn lock(&self, path: &RemotePath, is_new: bool) -> Result<String> {
        let alone = self.remote.locking().await;
        let answer = self.ask_for_lock(path).await?;
        let token = answer.headers.get("lock-token").and_then(|value| value.to_str().ok());
        let token = token.map(|token| token.trim().trim_start_matches('<').trim_end_matches('>').to_owned());
        match (answer.status.as_u16(), token) {
            (200 | 201, Some(token)) => {
                let is_made = answer.status.as_u16() == 201;
                drop(error::discard(answer).await);
                self.remote.keep_lock(path, &token);
                // Apache answers 200 also where nothing was. What is not empty was written since it was looked for.
                if is_new
                    && !is_made
                    && matches!(look(&self.remote, path).await, Ok(entry) if entry.size != Some(0))
                {
                    drop(alone);
                    unlock(&self.remote, path).await;
                    return Err(Error::permanent(ErrorKind::AlreadyExists, LOCK).with("path", path));
                }
                Ok(token)
            }
            (200 | 201, None) => Err(Error::permanent(ErrorKind::Protocol, LOCK)
                .with("host", self.host())
                .with("path", path)
                .on_connection(answer.connection)
                .advice("the server gave no lock token: set lock = false on the endpoint")),
            _ => {
                let error = error::refused(LOCK, &self.host(), path, answer).await;
                Err(match error.kind() {
                    ErrorKind::Unsupported => {
                        error.advice("the server does not offer locks here: set lock = false on the endpoint")
                    }
                    _ => error,
                })
            }
        }
    }
}

/// Gives a lock back. That it fails is no reason to fail: it ends by itself.
pub(super) async fn unlock(remote: &Arc<Remote>, path: &RemotePath) {
    let Some(token) = remote.take_lock(path) else { return };
    let _alone = remote.locking().await;
    let ask = Ask::new("UNLOCK", path).header("lock-token", format!("<{token}>"));
    let error = match remote.ask("unlock a file", ask).await {
        Ok(answer) if answer.status.is_success() => {
            drop(error::discard(answer).await);
            return;
        }
        Ok(answer) => error::refused("unlock a file", &remote.settings.target(), path, answer).await,
        Err(error) => error,
    };
    tracing::warn!(%path, error = %error.chain(), "a lock was not given back; it ends within an hour");
}
