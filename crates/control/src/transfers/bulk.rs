//! An action for all transfers that a filter means: counted first, then done batch by batch.

use super::TransferAnswer;
use crate::{Caller, Control};
use futures::future::join_all;
use model::{Error, ErrorKind, Permission, Result, Retry, TransferAction, TransferId};
use serde::{Deserialize, Serialize};
use store::{Act, Cursor, Listing, Selection, TransferFilter, TransferView};
use uuid::Uuid;

/// Transfers of a batch, at most.
const BATCH: u32 = 100;

/// What would be done, and to which transfers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountRequest {
    /// What would be done.
    pub action: TransferAction,
    /// To which transfers; those that the action does not fit are left out.
    pub filter: TransferFilter,
}

/// How many transfers are meant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CountAnswer {
    /// So many.
    pub transfers: u64,
    /// The filter for [`BulkRequest`]: it means none that is recorded later.
    pub filter: TransferFilter,
}

/// One batch of an action in bulk.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BulkRequest {
    /// From the caller, the same for all batches: repeated, it does nothing twice.
    pub request: Uuid,
    /// What is done.
    pub action: TransferAction,
    /// To which transfers, as [`CountAnswer`] gave it.
    pub filter: TransferFilter,
    /// Why, for the audit trail; at most 1,000 characters.
    #[serde(default)]
    pub reason: Option<String>,
    /// Where the batch begins: [`BulkAnswer::next`] of the one before.
    #[serde(default)]
    pub after: Option<Cursor>,
}

/// The result of a batch. Each transfer was changed completely or not at all.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct BulkAnswer {
    /// Those to which it was done, in the order of their recording.
    pub done: Vec<TransferAnswer>,
    /// Those to which it was not done, and why.
    pub refused: Vec<RefusedTransfer>,
    /// Where the next batch begins; none at the end.
    pub next: Option<Cursor>,
}

/// A transfer to which an action was not done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RefusedTransfer {
    /// The transfer; none where its row cannot be read.
    pub transfer: Option<TransferId>,
    /// The kind of the error, such as `rejected`.
    pub kind: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl RefusedTransfer {
    /// Of an error.
    #[must_use]
    pub fn new(transfer: TransferId, error: &Error) -> Self {
        Self { transfer: Some(transfer), kind: error.kind().as_str().to_owned(), message: error.chain() }
    }
}

impl Control {
    /// Counts the transfers that an action in bulk is for.
    ///
    /// # Errors
    /// The caller may not work on transfers; the filter means everything; counting took too long; the database failed.
    pub async fn count_transfers(&self, caller: &Caller, request: &CountRequest) -> Result<CountAnswer> {
        caller.require(Permission::OperateTransfers)?;
        let filter = meant(&request.filter)?;
        let now = (self.0.now)();
        let filter = TransferFilter { to: Some(filter.to.map_or(now, |to| to.min(now))), ..filter.clone() };
        let selection = Selection { action: request.action, filter: filter.clone() };
        Ok(CountAnswer { transfers: self.0.store.count_selected(&selection).await?, filter })
    }

    /// Does it to the next batch of transfers that the filter means, at most 100. Ended in the middle, it has been done to
    /// some and not to others; asked for again, it is done to the others.
    ///
    /// # Errors
    /// The caller may not work on transfers; the filter means everything; the definitions cannot be used; the database
    /// failed: then it may have been done to some of the batch, and can be asked for again.
    pub async fn act_on_transfers(&self, caller: &Caller, request: &BulkRequest) -> Result<BulkAnswer> {
        let act = self.act(caller, request.reason.as_deref(), Some(request.request))?;
        let selection = Selection { action: request.action, filter: meant(&request.filter)?.clone() };
        let batch = self.0.store.selected(&selection, request.after, BATCH).await?;
        if let Some(within) = batch.ended_after {
            return Err(Error::permanent(ErrorKind::Timeout, "look up the transfers that are meant")
                .with("ended after", format_args!("{} s", within.as_secs()))
                .advice("choose a shorter time, or a flow or a partner as well"));
        }
        engine::crash_point("bulk.before");
        let answer = self.act_on(request, &act, batch).await;
        engine::crash_point("bulk.after");
        answer
    }

    async fn act_on(
        &self,
        request: &BulkRequest,
        act: &Act,
        batch: Listing<TransferView>,
    ) -> Result<BulkAnswer> {
        let mut answer = BulkAnswer { next: batch.next, ..BulkAnswer::default() };
        for row in batch.unreadable {
            answer.refused.push(RefusedTransfer {
                transfer: row.id.map(TransferId::new),
                kind: ErrorKind::IntegrityFailed.as_str().to_owned(),
                message: row.error,
            });
        }
        let results = match request.action {
            TransferAction::Resubmit => {
                let (revision, definitions) = self.definitions_in_force().await?;
                let parents: Vec<TransferId> = batch.rows.iter().map(|row| row.id).collect();
                self.resubmit(&parents, request.request, act, (revision, &definitions)).await?
            }
            TransferAction::Retry => {
                let mut in_force = self.retry_in_force().await?;
                for row in &batch.rows {
                    self.read_flow(&mut in_force, &row.flow).await?;
                }
                each(&batch.rows, |row| self.retry(row.id, &row.flow, act, &in_force)).await
            }
            TransferAction::Hold => each(&batch.rows, |row| self.hold(row.id, act)).await,
            TransferAction::Release => each(&batch.rows, |row| self.release(row.id, act)).await,
            TransferAction::Cancel => each(&batch.rows, |row| self.cancel(row.id, act)).await,
        };
        for (transfer, result) in results {
            match result {
                Ok(done) => answer.done.push(done),
                Err(error) if is_refusal(&error) => {
                    answer.refused.push(RefusedTransfer::new(transfer, &error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(answer)
    }
}

/// Does something to each; the store writes what is asked for at once in one commit.
async fn each<'a, F: Future<Output = Result<TransferAnswer>>>(
    rows: &'a [TransferView],
    act: impl Fn(&'a TransferView) -> F,
) -> Vec<(TransferId, Result<TransferAnswer>)> {
    join_all(rows.iter().map(|row| {
        let done = act(row);
        async move { (row.id, done.await) }
    }))
    .await
}

/// The filter of a request, unless it means everything there is.
fn meant(filter: &TransferFilter) -> Result<&TransferFilter> {
    if filter.is_everything() {
        return Err(Error::permanent(ErrorKind::ConfigInvalid, "choose transfers")
            .advice("say which are meant: by state, flow, partner, endpoint, file name or time"));
    }
    Ok(filter)
}

/// Whether an error is about one transfer, so that the others can go on.
fn is_refusal(error: &Error) -> bool {
    use ErrorKind as K;
    error.retry() == Retry::Permanent
        && matches!(
            error.kind(),
            K::Rejected | K::NotFound | K::ConfigInvalid | K::AlreadyExists | K::IntegrityFailed
        )
}
