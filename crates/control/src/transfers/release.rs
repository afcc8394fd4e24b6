//! Letting a held transfer go on.

use super::{TransferAnswer, TransferRequest};
use crate::{Caller, Control};
use model::{Result, TransferAction, TransferId};
use store::Act;

impl Control {
    /// Lets a held transfer go on, whoever held it.
    ///
    /// # Errors
    /// The caller may not work on transfers; there is no such transfer; it has ended, or goes nowhere; the database failed.
    pub async fn release_transfer(
        &self,
        caller: &Caller,
        request: &TransferRequest,
    ) -> Result<TransferAnswer> {
        let act = self.act(caller, request.reason.as_deref(), None)?;
        self.release(request.transfer, &act).await
    }

    pub(super) async fn release(&self, transfer: TransferId, act: &Act) -> Result<TransferAnswer> {
        let acted = self.0.store.release_transfer(transfer, act).await?;
        Ok(TransferAnswer::new(transfer, TransferAction::Release, acted))
    }
}
