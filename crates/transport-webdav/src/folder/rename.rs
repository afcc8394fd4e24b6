//! Renaming and publishing a file: MOVE (RFC 4918, 9.9), whose `Overwrite: F` replaces nothing (10.6).

use super::list::{look, look_at_version};
use super::{WebdavFolder, lock};
use crate::connection::Ask;
use crate::error;
use crate::protocol::answer::Answer;
use model::{Error, ErrorKind, RemotePath, Result, Retry};
use transport::folder::{Entry, EntryKind, Published, RENAME_REFUSED};

const PUBLISH: &str = "publish a file";

/// How often a file is looked at anew that is replaced by another while it is to be replaced by ours.
const REPLACEMENTS: usize = 3;

/// What a MOVE may replace.
#[derive(Clone, Copy)]
enum Overwrite<'a> {
    Never,
    /// The file with this ETag only, where it is known, and locked with this token, where we lock.
    This(Option<&'a str>, Option<&'a str>),
}

/// How a MOVE ended that was not refused.
enum Moved {
    Done,
    /// It may have been carried out; what was heard of the server, if it was not its answer.
    Unknown(Option<Error>),
}

fn is_name_taken(moved: &Result<Moved>) -> bool {
    moved.as_ref().is_err_and(|error| error.kind() == ErrorKind::AlreadyExists)
}

impl WebdavFolder {
    /// Gives a written file its final name.
    pub(super) async fn publish_file(
        &self,
        temporary: &RemotePath,
        name: &RemotePath,
        overwrite: bool,
    ) -> Result<Published> {
        let mut moved = self.move_file(PUBLISH, temporary, name, Overwrite::Never).await;
        if overwrite {
            moved = self.replace(temporary, name, moved).await;
        }
        match moved {
            Ok(Moved::Done) => Ok(Published::Published),
            Ok(Moved::Unknown(_)) => Ok(Published::Unknown),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && overwrite => {
                Err(Error::transient(ErrorKind::Rejected, PUBLISH)
                    .with("host", self.host())
                    .with("path", name)
                    .caused_by(error)
                    .advice("the file of this name is changed all the time; the next attempt looks again"))
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Published::Exists),
            Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => {
                Err(error.advice(RENAME_REFUSED))
            }
            Err(error) => Err(error),
        }
    }

    /// Renames a file, and replaces nothing.
    pub(super) async fn rename_file(&self, from: &RemotePath, to: &RemotePath) -> Result<()> {
        const OPERATION: &str = "rename a file";
        match self.move_file(OPERATION, from, to, Overwrite::Never).await? {
            Moved::Done => Ok(()),
            Moved::Unknown(Some(error)) => Err(error.retry_as(Retry::Ambiguous)),
            Moved::Unknown(None) => Err(Error::ambiguous(ErrorKind::Unreachable, OPERATION)
                .with("host", self.host())
                .with("path", from)
                .with("to", to)
                .advice("the answer was lost; the next attempt checks where the file is")),
        }
    }

    /// Goes on with a MOVE until its name was free, or the file of that name was replaced.
    async fn replace(
        &self,
        temporary: &RemotePath,
        name: &RemotePath,
        mut moved: Result<Moved>,
    ) -> Result<Moved> {
        let mut refused = None;
        for _ in 0..REPLACEMENTS {
            if !is_name_taken(&moved) {
                break;
            }
            // `Overwrite: T` deletes what has the name first, a directory with all that is in it (RFC 4918, 9.9.3). Where
            // the server tells versions, only the file that was seen is replaced.
            let found = look_at_version(&self.remote, name).await;
            let etag = match found {
                Ok((Entry { kind: EntryKind::Directory, .. }, _)) => {
                    return Err(Error::permanent(ErrorKind::Rejected, PUBLISH)
                        .with("host", self.host())
                        .with("path", name)
                        .advice("a directory has this name, and Waybill replaces files only"));
                }
                // It went meanwhile. A free name must not be locked: the server would make an empty file for the lock.
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    moved = self.move_file(PUBLISH, temporary, name, Overwrite::Never).await;
                    continue;
                }
                // A version that stands and is refused is a condition that the server does not understand.
                Ok((_, strong)) => strong.filter(|etag| refused.as_ref() != Some(etag)),
                Err(_) => None,
            };
            moved = self.move_over(temporary, name, etag.as_deref()).await;
            refused = etag;
        }
        moved
    }

    /// Moves a file over another one. Where the endpoint locks, that one is locked meanwhile: nobody who edits it loses
    /// what they have. A free name needs no lock, as the MOVE itself replaces nothing then.
    async fn move_over(
        &self,
        temporary: &RemotePath,
        name: &RemotePath,
        etag: Option<&str>,
    ) -> Result<Moved> {
        if !self.remote.settings.locks {
            return self.move_file(PUBLISH, temporary, name, Overwrite::This(etag, None)).await;
        }
        let lock = self
            .lock(name, false, lock::MOVE_TIME)
            .await
            .map_err(|error| error.with("to publish", temporary))?;
        // The file went before the lock was taken. The empty one that the server made for it is no delivery: nobody may find it.
        if lock.made_file && self.give_up(name, &lock).await {
            return self.move_file(PUBLISH, temporary, name, Overwrite::Never).await;
        }
        let moved = self.move_file(PUBLISH, temporary, name, Overwrite::This(etag, Some(&lock.token))).await;
        lock::unlock(&self.remote, name).await;
        moved
    }

    /// Moves a file.
    async fn move_file(
        &self,
        operation: &'static str,
        from: &RemotePath,
        to: &RemotePath,
        overwrite: Overwrite<'_>,
    ) -> Result<Moved> {
        // The answer to its UNLOCK was lost: it is asked for once more.
        lock::unlock(&self.remote, from).await;
        let Some(token) = self.remote.lock_of(from) else {
            return self.move_once(operation, from, to, overwrite, None).await;
        };
        let moved = self.move_once(operation, from, to, overwrite, Some(&token)).await;
        if !is_name_taken(&moved) {
            return moved;
        }
        // 412 also says that the lock is gone, of whose UNLOCK no answer came.
        self.remote.forget_lock(from, &token);
        self.move_once(operation, from, to, overwrite, None).await
    }

    /// Moves a file, under its own lock with this token.
    async fn move_once(
        &self,
        operation: &'static str,
        from: &RemotePath,
        to: &RemotePath,
        overwrite: Overwrite<'_>,
        token: Option<&str>,
    ) -> Result<Moved> {
        let target = self.remote.url(to, false);
        let mut ask = Ask::new("MOVE", from)
            .header("destination", &target)
            .header("overwrite", if matches!(overwrite, Overwrite::Never) { "F" } else { "T" });
        let source = token.map(|token| format!("<{}> (<{token}>)", self.remote.url(from, false)));
        let conditions = conditions(source, &target, overwrite);
        if !conditions.is_empty() {
            ask = ask.header("if", conditions);
        }
        let answer = match self.remote.ask(operation, ask).await.map_err(|error| error.with("to", to)) {
            Ok(answer) => answer,
            Err(error) if error.retry() == Retry::Ambiguous => {
                tracing::debug!(%from, %to, error = %error.chain(), "the answer to a MOVE was lost");
                return Ok(Moved::Unknown(Some(error)));
            }
            Err(error) => return Err(error),
        };
        match answer.status.as_u16() {
            200 | 201 | 204 => {
                drop(error::discard(answer).await);
                // A lock that was not given back goes with its file.
                self.remote.take_lock(from);
                Ok(Moved::Done)
            }
            // A gateway does not know what the server behind it did.
            408 | 502 | 504 => {
                drop(error::discard(answer).await);
                Ok(Moved::Unknown(None))
            }
            _ => self.not_moved(operation, from, to, answer).await,
        }
    }

    /// What a refused MOVE did.
    async fn not_moved(
        &self,
        operation: &'static str,
        from: &RemotePath,
        to: &RemotePath,
        answer: Answer,
    ) -> Result<Moved> {
        let status = answer.status.as_u16();
        let error = lock::refused(&self.remote, operation, &[from, to], answer).await.with("to", to);
        let error = match status {
            207 => error.advice("the server moved only a part: look at both paths there"),
            _ => error,
        };
        let failed_on_the_way = status >= 500 && !matches!(status, 501 | 503 | 507) || status == 207;
        if !failed_on_the_way {
            return Err(error);
        }
        // Only a file that still has its name was surely not moved.
        if look(&self.remote, from).await.is_err() {
            tracing::debug!(%from, %to, error = %error.chain(), "a MOVE failed, and its file is gone");
            return Ok(Moved::Unknown(Some(error)));
        }
        // Apache says no more than this of a missing directory.
        let parent = to.parent().unwrap_or_default();
        Err(match look(&self.remote, &parent).await {
            Err(missing) if missing.kind() == ErrorKind::NotFound => missing.caused_by(error),
            _ => error.retry_as(Retry::Transient),
        })
    }
}

/// The conditions of a MOVE, with the tokens of the locks that we hold (RFC 4918, 10.4).
fn conditions(source: Option<String>, target: &str, overwrite: Overwrite<'_>) -> String {
    let Overwrite::This(etag, token) = overwrite else { return source.unwrap_or_default() };
    let token = token.map(|token| format!("<{token}>"));
    let etag = etag.map(|etag| format!("[{etag}]"));
    let of_target: Vec<String> = token.into_iter().chain(etag).collect();
    let of_target = (!of_target.is_empty()).then(|| format!("<{target}> ({})", of_target.join(" ")));
    source.into_iter().chain(of_target).collect::<Vec<_>>().join(" ")
}
