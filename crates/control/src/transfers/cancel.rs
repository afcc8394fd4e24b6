//! Giving up what of a transfer is not delivered.

use super::{TransferAnswer, TransferRequest};
use crate::{Caller, Control};
use model::{Result, TransferAction, TransferId};
use store::Act;

impl Control {
    /// Gives up what of a transfer is not delivered. What is being sent ends as it will: arrived, it counts as delivered;
    /// not arrived, it is not tried again. Of a failed transfer, what failed is given up and its lanes go on.
    ///
    /// # Errors
    /// The caller may not work on transfers; there is no such transfer; all of it was delivered; the database failed.
    pub async fn cancel_transfer(
        &self,
        caller: &Caller,
        request: &TransferRequest,
    ) -> Result<TransferAnswer> {
        let act = self.act(caller, request.reason.as_deref(), None)?;
        self.cancel(request.transfer, &act).await
    }

    pub(super) async fn cancel(&self, transfer: TransferId, act: &Act) -> Result<TransferAnswer> {
        let acted = self.0.store.cancel_transfer(transfer, act).await?;
        Ok(TransferAnswer::new(transfer, TransferAction::Cancel, acted))
    }
}
