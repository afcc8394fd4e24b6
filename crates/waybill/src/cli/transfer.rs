//! `waybill transfer`, as clap reads it.

use super::{Span, TransferEvidence, values};
use clap::{Args, Subcommand, ValueEnum};
use model::{DeliveryId, TransferId, TransferState};
use std::path::PathBuf;
use uuid::Uuid;

#[derive(Subcommand, Debug)]
pub(crate) enum Transfer {
    /// List transfers, newest first.
    List(ListTransfers),
    /// Show one transfer with its source, deliveries, attempts and events.
    Show {
        /// Its id, as `transfer list` shows it.
        #[arg(value_parser = values::id::<TransferId>)]
        id: TransferId,
    },
    /// Save a transfer's receipt (MDN) exactly as it was received or sent: a complete MIME entity, as
    /// `openssl smime -verify` accepts it.
    Receipt(TransferReceipt),
    /// Save all that proves a transfer's AS2 message in one file: what was signed, signature, receipt, certificates, and
    /// the audit trail of it. `as2 verify` checks it offline; the file says how OpenSSL alone does.
    Evidence(TransferEvidence),
    /// Retry the deliveries that failed, expired or wait for their next attempt; of a cancelled transfer, the cancelled ones.
    ///
    /// They go through the flow as it is defined now, if it still has a destination with the same name and endpoint:
    /// correct and apply the flow's definition first, then retry. Otherwise they go through the flow as it was, and the
    /// answer says so. Each keeps its file name and its endpoint.
    ///
    /// Exit code: 0 when it was done to all transfers that are meant, 2 when one or more were refused, 1 when the command
    /// could not run.
    Retry(ActOnTransfers),
    /// Hold transfers: no delivery of them begins until they are released. Deliveries that are being sent are not interrupted.
    ///
    /// Exit code: as for `retry`.
    Hold(ActOnTransfers),
    /// Release held transfers, whoever held them.
    ///
    /// Exit code: as for `retry`.
    Release(ActOnTransfers),
    /// Cancel the deliveries of transfers that are not delivered. One that is being sent is not interrupted, and not retried if
    /// it fails. Of a failed transfer, the failed deliveries are cancelled: later files of an ordered flow are then delivered.
    ///
    /// Exit code: as for `retry`.
    Cancel(ActOnTransfers),
    /// Send files of transfers that have ended once more, also of completed ones: as new transfers, to the destinations that
    /// their flow has now.
    ///
    /// Exit code: as for `retry`.
    Resubmit {
        #[command(flatten)]
        act: ActOnTransfers,
        /// An id of this request, a UUID. Repeated with the same id after it was interrupted, nothing is sent twice. Made
        /// and shown unless given.
        #[arg(long, value_name = "ID", value_parser = values::id::<Uuid>)]
        request: Option<Uuid>,
    },
}

#[derive(Args, Debug)]
pub(crate) struct TransferReceipt {
    /// The transfer's id, as `transfer list` shows it.
    #[arg(value_parser = values::id::<TransferId>)]
    pub(crate) id: TransferId,
    /// Which MDN, if there are several: the one that proves a delivery, the last one that did not
    /// prove it (it is negative, or its signature or MIC is not valid), the one that proved it before a
    /// later one contradicted it, or the one that we sent.
    #[arg(long, value_enum)]
    pub(crate) which: Option<MdnKind>,
    /// Only of this delivery.
    #[arg(long, value_name = "ID", value_parser = values::id::<DeliveryId>)]
    pub(crate) delivery: Option<DeliveryId>,
    /// The file to write, which must not exist yet. Left out, standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// Which MDN of a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum MdnKind {
    Accepted,
    NotAccepted,
    Contradicted,
    Sent,
}

/// Which transfers: what lists and actions have in common.
#[derive(Args, Debug)]
pub(crate) struct WhichTransfers {
    /// Only those in this state: staged, processing, delivering, held, completed, partly_failed, failed or
    /// cancelled.
    #[arg(long, value_parser = values::transfer_state)]
    pub(crate) state: Option<TransferState>,
    /// Only those that failed or partly failed.
    #[arg(long, conflicts_with = "state")]
    pub(crate) any_failed: bool,
    /// Only those of this flow.
    #[arg(long, value_name = "NAME")]
    pub(crate) flow: Option<String>,
    /// Only those of this partner.
    #[arg(long, value_name = "NAME")]
    pub(crate) partner: Option<String>,
    /// Only those with a delivery to this endpoint. A list shows the last day, unless --from says otherwise; an action
    /// needs --from.
    #[arg(long, value_name = "NAME")]
    pub(crate) endpoint: Option<String>,
    /// Only those whose file name contains this text, in capitals or not. A list shows the last day, unless
    /// --from says otherwise; an action needs --from.
    #[arg(long, value_name = "TEXT")]
    pub(crate) file: Option<String>,
    /// Only those whose file name matches this mask, such as '*.edi'. A list shows the last day, unless --from
    /// says otherwise; an action needs --from.
    #[arg(long, value_name = "MASK", value_parser = values::file_mask)]
    pub(crate) mask: Option<String>,
    #[command(flatten)]
    pub(crate) span: Span,
}

#[derive(Args, Debug)]
pub(crate) struct ListTransfers {
    #[command(flatten)]
    pub(crate) which: WhichTransfers,
    /// At most this many.
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
}

/// Transfers by their ids, or all that a filter means.
#[derive(Args, Debug)]
pub(crate) struct ActOnTransfers {
    /// The transfers' ids, as `transfer list` shows them. Without any, the options say which transfers are meant: their
    /// number is shown, and a question asked, before anything is done.
    #[arg(value_name = "ID", value_parser = values::id::<TransferId>)]
    pub(crate) ids: Vec<TransferId>,
    #[command(flatten)]
    pub(crate) which: WhichTransfers,
    /// Why, for the audit trail.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Do it without a question.
    #[arg(long, short)]
    pub(crate) yes: bool,
}
