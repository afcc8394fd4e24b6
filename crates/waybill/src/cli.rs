//! The command line, as clap reads it.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Managed file transfer gateway: nothing lost, nothing delivered half, everything on record.
#[derive(Parser, Debug)]
#[command(name = "waybill", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Process settings; without it the defaults and WAYBILL__SECTION__KEY variables.
    #[arg(long, short = 'c', global = true, env = "WAYBILL_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// How results are written.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How results are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run the gateway until it is told to stop (SIGTERM or Ctrl-C).
    Serve(Serve),
    /// Two gateways and an SFTP server on this machine: see files go their way.
    Demo(Demo),
    /// Check a directory of definitions without opening a connection.
    Validate {
        /// The directory.
        #[arg(long, value_name = "DIR", default_value = "definitions")]
        definitions: PathBuf,
    },
    /// Look at transfers, and send failed ones on their way again.
    #[command(subcommand)]
    Transfer(Transfer),
    /// Endpoints.
    #[command(subcommand)]
    Endpoint(Endpoint),
    /// AS2 messages as files.
    #[command(subcommand)]
    As2(As2),
    /// The audit trail.
    #[command(subcommand)]
    Audit(Audit),
}

#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// A directory of definitions, applied at the start as a revision.
    #[arg(long, value_name = "DIR")]
    pub(crate) definitions: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// End when every file has arrived, with a summary; otherwise the gateways go on until Ctrl-C.
    #[arg(long)]
    pub(crate) exit_when_done: bool,
    /// Where keys, databases and folders go; a temporary directory unless given.
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Transfer {
    /// List transfers, newest first.
    List {
        /// Only those in this state, such as `failed`.
        #[arg(long)]
        state: Option<String>,
        /// Only those of this flow.
        #[arg(long)]
        flow: Option<String>,
        /// Only those whose file name holds this.
        #[arg(long)]
        file: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Show one transfer's whole way.
    Show {
        /// Its id.
        id: model::TransferId,
    },
    /// Send the failed deliveries of a transfer on their way again.
    Retry {
        /// Its id.
        id: model::TransferId,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum Endpoint {
    /// Try every step of reaching an endpoint and report each.
    Test {
        /// Its name.
        name: String,
        /// The definitions it is in; without it those in force in the database.
        #[arg(long, value_name = "DIR")]
        definitions: Option<PathBuf>,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum Audit {
    /// Search events, newest first.
    Search {
        /// A kind, or its beginning, such as `delivery.`.
        #[arg(long)]
        kind: Option<String>,
        /// Only of this flow.
        #[arg(long)]
        flow: Option<String>,
        /// Only of this transfer.
        #[arg(long)]
        transfer: Option<model::TransferId>,
        /// Only those that hold this text.
        #[arg(long)]
        text: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Prove that no sealed event was removed or changed.
    Verify {
        /// Public keys (PEM) to trust besides this node's own seal key.
        #[arg(long, value_name = "FILE")]
        trust: Vec<PathBuf>,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum As2 {
    /// Make an AS2 message of a file: signed, encrypted, with its HTTP header block.
    Pack(Pack),
    /// Read an AS2 message: decrypt, verify, write its payloads into a directory.
    Unpack(Unpack),
}

#[derive(Args, Debug)]
pub(crate) struct Pack {
    /// AS2-From.
    #[arg(long)]
    pub(crate) from: String,
    /// AS2-To.
    #[arg(long)]
    pub(crate) to: String,
    /// The private key that signs, PEM; left out: not signed.
    #[arg(long, value_name = "FILE")]
    pub(crate) sign_key: Option<PathBuf>,
    /// Its certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "sign_key")]
    pub(crate) sign_cert: Option<PathBuf>,
    /// The partner's certificate, PEM; left out: not encrypted.
    #[arg(long, value_name = "FILE")]
    pub(crate) encrypt_cert: Option<PathBuf>,
    /// Content encryption.
    #[arg(long, default_value = "aes256-cbc")]
    pub(crate) cipher: String,
    /// Digest of signature and MIC.
    #[arg(long, default_value = "sha256")]
    pub(crate) digest: String,
    /// The receipt asked for.
    #[arg(long, default_value = "signed", value_parser = ["signed", "unsigned", "none"])]
    pub(crate) mdn: String,
    /// Media type of the payload.
    #[arg(long, default_value = "application/octet-stream")]
    pub(crate) media_type: String,
    /// The payload.
    pub(crate) file: PathBuf,
    /// Where the message goes.
    #[arg(long, value_name = "MSG")]
    pub(crate) out: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct Unpack {
    /// Our private key, PEM.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: PathBuf,
    /// Our certificate, PEM.
    #[arg(long, value_name = "FILE")]
    pub(crate) cert: PathBuf,
    /// The partner's certificate, PEM; any of several verifies.
    #[arg(long, value_name = "FILE", required = true)]
    pub(crate) partner_cert: Vec<PathBuf>,
    /// The message: HTTP header block, empty line, body.
    pub(crate) message: PathBuf,
    /// Directory for the payloads; made when missing.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}
