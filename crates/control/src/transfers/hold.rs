//! Keeping a transfer from going on.

use super::{TransferAnswer, TransferRequest};
use crate::{Caller, Control};
use model::{Result, TransferAction, TransferId};
use store::Act;

impl Control {
    /// Holds a transfer: none of its deliveries is begun until it is released. One that is being sent ends as it will, and
    /// is not tried again meanwhile.
    ///
    /// # Errors
    /// The caller may not work on transfers; there is no such transfer; it has ended, or goes nowhere; the database failed.
    pub async fn hold_transfer(&self, caller: &Caller, request: &TransferRequest) -> Result<TransferAnswer> {
        let act = self.act(caller, request.reason.as_deref(), None)?;
        self.hold(request.transfer, &act).await
    }

    pub(super) async fn hold(&self, transfer: TransferId, act: &Act) -> Result<TransferAnswer> {
        let acted = self.0.store.hold_transfer(transfer, act).await?;
        Ok(TransferAnswer::new(transfer, TransferAction::Hold, acted))
    }
}
