//! Commands: a write is a plain value that is applied in a writer's transaction and answered after the commit.

use crate::fault::Fault;
use crate::tx::Tx;
use async_trait::async_trait;
use model::{Error, Result};
use std::hash::{DefaultHasher, Hash, Hasher};
use tokio::sync::oneshot;

/// A write. It must be repeatable: if a connection breaks, or a group meets a deadlock, the transaction is undone,
/// and `apply` runs again in a new one.
#[async_trait]
pub(crate) trait Command: Send + Sync + 'static {
    /// The result, which the caller gets after the commit.
    type Answer: Send + 'static;

    /// The sort key of the command in its group. Two writers that lock the same rows in the same order cannot
    /// deadlock: commands that lock a row of a transfer or a lane return a key that depends on it.
    fn place(&self) -> u128 {
        0
    }

    /// Makes the change. An error undoes only this command.
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Answer, Fault>;
}

/// The sort key of commands that are ordered by a name; after all that are ordered by an id.
pub(crate) fn place_of(name: &str) -> u128 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    u128::MAX - u128::from(hasher.finish())
}

/// A command in the queue, without its type.
#[async_trait]
pub(crate) trait Queued: Send {
    fn place(&self) -> u128;
    /// Whether the caller still waits for the answer.
    fn wanted(&self) -> bool;
    /// Applies it and keeps the answer.
    async fn apply(&mut self, tx: &mut Tx<'_>) -> Result<(), Fault>;
    /// Sends the answer that was kept.
    fn answer(self: Box<Self>);
    /// Sends an error instead.
    fn fail(self: Box<Self>, error: Error);
}

struct Waiting<C: Command> {
    command: C,
    answer: Option<C::Answer>,
    to: oneshot::Sender<Result<C::Answer>>,
}

/// Wraps a command for the queue.
pub(crate) fn queued<C: Command>(command: C) -> (Box<dyn Queued>, oneshot::Receiver<Result<C::Answer>>) {
    let (to, answer) = oneshot::channel();
    (Box::new(Waiting { command, answer: None, to }), answer)
}

#[async_trait]
impl<C: Command> Queued for Waiting<C> {
    fn place(&self) -> u128 {
        self.command.place()
    }

    fn wanted(&self) -> bool {
        !self.to.is_closed()
    }

    async fn apply(&mut self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        self.answer = None;
        self.answer = Some(self.command.apply(tx).await?);
        Ok(())
    }

    fn answer(self: Box<Self>) {
        if let Some(answer) = self.answer {
            // The caller may have stopped waiting in the meantime.
            let _ = self.to.send(Ok(answer));
        }
    }

    fn fail(self: Box<Self>, error: Error) {
        let _ = self.to.send(Err(error));
    }
}
