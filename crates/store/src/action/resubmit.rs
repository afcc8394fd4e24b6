//! Sending a payload again, as a new transfer whose parent is the original one.

use super::{Act, no_such, payload_is_kept, refused};
use crate::command::Command;
use crate::delivery::change;
use crate::delivery::{NewTransfer, described, insert_transfers};
use crate::either::on;
use crate::fault::Fault;
use crate::open::Store;
use crate::tx::Tx;
use async_trait::async_trait;
use model::{
    Error, ErrorKind, EventKind, PeerText, Result, TransferAction, TransferEvent, TransferId, transition,
};
use uuid::Uuid;

/// The result of one resubmission.
#[derive(Debug)]
pub struct Resubmitted {
    /// The transfer that was resubmitted.
    pub parent: TransferId,
    /// The new transfer.
    pub child: TransferId,
    /// Whether this request created it, or it existed before; or why it was refused.
    pub made: Result<bool>,
}

/// The id of the transfer that a request creates from another: the same for the same request and parent, so that a
/// repeated request creates no second one.
#[must_use]
pub fn child_id(request: Uuid, parent: TransferId) -> TransferId {
    let both = [*request.as_bytes(), *parent.uuid().as_bytes()].concat();
    let digest = openssl::sha::sha256(&both);
    let bytes = std::array::from_fn(|at| digest[at]);
    TransferId::new(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

impl Store {
    /// Records transfers that send payloads again, in order; this is their order in their lanes. Each has a parent
    /// that has ended and whose payload still exists; both then need the payload. A transfer that already exists is
    /// not changed. If one is refused, the others are still recorded.
    ///
    /// # Errors
    /// The database failed; nothing was recorded.
    pub async fn resubmit(&self, children: Vec<NewTransfer>, act: &Act) -> Result<Vec<Resubmitted>> {
        self.write(Resubmit { children, act: act.clone() }).await
    }
}

struct Resubmit {
    children: Vec<NewTransfer>,
    act: Act,
}

#[async_trait]
impl Command for Resubmit {
    type Answer = Vec<Resubmitted>;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<Resubmitted>, Fault> {
        let mut answers = Vec::with_capacity(self.children.len());
        for new in &self.children {
            let child = new.transfer.id;
            let Some(parent) = new.transfer.parent else {
                return Err(Error::permanent(ErrorKind::Internal, "resubmit a transfer without a parent")
                    .with("transfer", child)
                    .into());
            };
            // All refusals happen before anything is written.
            let made = match self.resubmit(tx, parent, new).await {
                Ok(made) => Ok(made),
                Err(Fault::Told(error)) => Err(error),
                Err(fault) => return Err(fault),
            };
            answers.push(Resubmitted { parent, child, made });
        }
        Ok(answers)
    }
}

impl Resubmit {
    async fn resubmit(&self, tx: &mut Tx<'_>, parent: TransferId, new: &NewTransfer) -> Result<bool, Fault> {
        let child = &new.transfer;
        let head =
            change::lock_transfer(tx, parent.uuid()).await?.ok_or_else(|| no_such("transfer", parent))?;
        let there: Option<Option<Uuid>> = on!(tx, c => sqlx::query_scalar("SELECT parent_id FROM transfers WHERE id = $1")
            .bind(child.id.uuid()).fetch_optional(c).await)?;
        match there {
            Some(of) if of == Some(parent.uuid()) => return Ok(false),
            Some(_) => {
                return Err(Error::permanent(ErrorKind::AlreadyExists, "resubmit a transfer")
                    .with("transfer", parent)
                    .with("new id", child.id)
                    .advice("another transfer has this id: choose another one")
                    .into());
            }
            None => {}
        }
        let state = head.state()?;
        transition(state, TransferEvent::Resubmit)
            .map_err(|_| refused(TransferAction::Resubmit, &head, state))?;
        payload_is_kept(tx, TransferAction::Resubmit, &head, &self.act).await?;
        let inserted = insert_transfers(tx, std::slice::from_ref(new), self.act.at).await?;
        let named = PeerText::from(child.payload.file_name.to_text().as_str()).as_str().to_owned();
        let recorded = self
            .act
            .event(tx, EventKind::TransferRecorded)
            .transfer(child.id)
            .detail("file_name", named)
            .detail("resubmission", true);
        tx.events(&described(&[recorded], &inserted));
        let event = self.act.event(tx, EventKind::TransferResubmitted).detail("child", child.id.to_string());
        tx.event(head.named_in(event));
        Ok(true)
    }
}
