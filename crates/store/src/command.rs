//! What a write is: a plain value, applied within a writer's transaction, answered after its commit.

use crate::fault::Fault;
use crate::tx::Tx;
use async_trait::async_trait;
use model::{Error, Result};
use std::hash::{DefaultHasher, Hash, Hasher};
use tokio::sync::oneshot;

/// A write. It must be repeatable: when a connection breaks, or a group meets a deadlock, `apply` runs
/// again in a new transaction, after the first was undone.
#[async_trait]
pub(crate) trait Command: Send + Sync + 'static {
    /// What its caller learns after the commit.
    type Answer: Send + 'static;

    /// Where it stands in its group. Two writers that lock the same rows in the same order cannot
    /// wait for each other for ever: commands that lock a row of a transfer or a lane give a place
    /// that goes with it.
    fn place(&self) -> u128 {
        0
    }

    /// Makes the change. An error undoes this command alone.
    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Self::Answer, Fault>;
}

/// A place for commands that are ordered by a name; behind all that are ordered by an id.
pub(crate) fn place_of(name: &str) -> u128 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    u128::MAX - u128::from(hasher.finish())
}

/// A command in the queue, its kind forgotten.
#[async_trait]
pub(crate) trait Queued: Send {
    fn place(&self) -> u128;
    /// Whether anyone still waits for the answer.
    fn wanted(&self) -> bool;
    /// Applies it and keeps the answer back.
    async fn apply(&mut self, tx: &mut Tx<'_>) -> Result<(), Fault>;
    /// Gives the answer that was kept back.
    fn answer(self: Box<Self>);
    /// Gives an error in its place.
    fn fail(self: Box<Self>, error: Error);
}

struct Waiting<C: Command> {
    command: C,
    answer: Option<C::Answer>,
    to: oneshot::Sender<Result<C::Answer>>,
}

/// Puts a command into the queue's form.
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
            // A caller who went away in the meantime no longer wants to know.
            let _ = self.to.send(Ok(answer));
        }
    }

    fn fail(self: Box<Self>, error: Error) {
        let _ = self.to.send(Err(error));
    }
}
