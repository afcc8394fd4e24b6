//! `waybill transfer evidence` and `waybill as2 verify`, as clap reads them.

use super::values;
use clap::Args;
use model::{DeliveryId, EvidenceId, TransferId};
use std::path::PathBuf;

#[derive(Args, Debug)]
pub(crate) struct TransferEvidence {
    /// The transfer's id, as `transfer list` shows it.
    #[arg(value_parser = values::id::<TransferId>)]
    pub(crate) id: TransferId,
    /// Which evidence, if there is some of several messages, as `transfer show` lists it.
    #[arg(long, value_name = "ID", value_parser = values::id::<EvidenceId>)]
    pub(crate) evidence: Option<EvidenceId>,
    /// Only of this delivery.
    #[arg(long, value_name = "ID", value_parser = values::id::<DeliveryId>)]
    pub(crate) delivery: Option<DeliveryId>,
    /// The file to write, which must not exist yet. Left out, `evidence-ID.zip` in the present directory.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct VerifyEvidence {
    /// A certificate (PEM) or OpenPGP key (armour) that you know to be the sender's or the receiver's: those in the package must be among them. May
    /// be given several times. `--sender` and `--receiver` say whose it is, and count more.
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: Vec<PathBuf>,
    /// A certificate (PEM) or OpenPGP key (armour) that you know to be the sender's: that which verifies the message must be among them. May be given
    /// several times.
    #[arg(long, value_name = "FILE")]
    pub(crate) sender: Vec<PathBuf>,
    /// A certificate (PEM) or OpenPGP key (armour) that you know to be the receiver's: that which verifies the receipt must be among them. May be
    /// given several times.
    #[arg(long, value_name = "FILE")]
    pub(crate) receiver: Vec<PathBuf>,
    /// A public key of the gateway's audit seals (PEM, as `seal.key.pub` in its state directory) that you know to be its:
    /// the seals in the package must be signed by one of them. May be given several times.
    #[arg(long, value_name = "FILE")]
    pub(crate) trust: Vec<PathBuf>,
    /// The content of the message. It takes the place of the content where the package does not have it; else it is compared with
    /// that.
    #[arg(long, value_name = "FILE")]
    pub(crate) payload: Option<PathBuf>,
    /// The evidence package.
    pub(crate) package: PathBuf,
}
