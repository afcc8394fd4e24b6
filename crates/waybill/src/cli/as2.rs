//! `waybill as2 send|ping|preset`, as clap reads it.

use clap::Args;
use std::path::PathBuf;
use std::time::Duration;
use uuid::Uuid;

#[derive(Args, Debug)]
pub(crate) struct SendFile {
    /// The file.
    pub(crate) file: PathBuf,
    /// The partner that it goes to.
    #[arg(long, value_name = "NAME", required_unless_present = "endpoint")]
    pub(crate) partner: Option<String>,
    /// The endpoint that it goes to, where the partner has several.
    #[arg(long, value_name = "NAME")]
    pub(crate) endpoint: Option<String>,
    /// The identity under which it is sent: chooses among the endpoints of the partner.
    #[arg(long, value_name = "NAME")]
    pub(crate) identity: Option<String>,
    /// The name that the partner gets. Left out, the file's own.
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The Subject of the message. Left out, as was agreed with the partner.
    #[arg(long, value_name = "TEXT")]
    pub(crate) subject: Option<String>,
    /// The media type, such as application/edi-x12. Left out, that of the endpoint, else by the file's extension.
    #[arg(long, value_name = "TYPE")]
    pub(crate) media_type: Option<String>,
    /// The reason, for the audit trail.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// The id of the transfer that it becomes. With the same id the same file is not sent twice: repeat a command whose end
    /// you do not know with it.
    #[arg(long, value_name = "UUID")]
    pub(crate) request: Option<Uuid>,
    /// End when the transfer is recorded: the gateway delivers it all the same.
    #[arg(long, conflicts_with = "wait")]
    pub(crate) no_wait: bool,
    /// How long to follow it.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = model::parse_duration)]
    pub(crate) wait: Duration,
}

#[derive(Args, Debug)]
pub(crate) struct PingPartner {
    /// The partner.
    #[arg(value_name = "PARTNER", required_unless_present = "endpoint")]
    pub(crate) partner: Option<String>,
    /// The endpoint, where the partner has several.
    #[arg(long, value_name = "NAME")]
    pub(crate) endpoint: Option<String>,
    /// The identity under which the message is sent: chooses among the endpoints of the partner.
    #[arg(long, value_name = "NAME")]
    pub(crate) identity: Option<String>,
    /// How long to wait for the end.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = model::parse_duration)]
    pub(crate) wait: Duration,
}

#[derive(Args, Debug)]
pub(crate) struct ShowPreset {
    /// The product. Left out, all are listed.
    pub(crate) product: Option<String>,
    /// The name of the partner in the document.
    #[arg(long, value_name = "NAME", default_value = "partner")]
    pub(crate) name: String,
}
