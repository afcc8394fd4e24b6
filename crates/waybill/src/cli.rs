//! The command line, as clap reads it.

mod endpoint;
mod flow;
mod user;
pub(crate) mod values;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
pub(crate) use endpoint::Endpoint;
pub(crate) use flow::Flow;
use model::{ConnectionId, DeliveryId, Severity, Sha256, Timestamp, TransferId, TransferState};
use std::path::PathBuf;
use transport_as2::agreement::{Cipher, DigestName};
pub(crate) use user::User;

/// The heading over the options that every command takes.
const EVERYWHERE: &str = "Options of every command";

/// Managed file transfer gateway: nothing lost, nothing delivered half, everything on record.
#[derive(Parser, Debug)]
#[command(name = "waybill", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// The process settings. Without it waybill.toml, config/waybill.toml or /etc/waybill/waybill.toml, the first
    /// that exists; variables WAYBILL__SECTION__KEY go before the file.
    #[arg(
        long,
        short = 'c',
        global = true,
        env = "WAYBILL_CONFIG",
        value_name = "FILE",
        hide_env_values = true
    )]
    #[arg(help_heading = EVERYWHERE)]
    pub(crate) config: Option<PathBuf>,
    /// How results are written: text for people, json for programs.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text, value_name = "FORM")]
    #[arg(help_heading = EVERYWHERE, hide_possible_values = true)]
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
    /// Show files on their way between two gateways and an SFTP server on this machine.
    Demo(Demo),
    /// Check a directory of definitions without opening a connection.
    Validate {
        /// The directory: its *.toml files are checked, those of directories below are not.
        #[arg(long, value_name = "DIR", default_value = "definitions")]
        definitions: PathBuf,
    },
    /// Show what would change if a directory of definitions were applied.
    ///
    /// Exit code: 0 when nothing would change, 3 when something would, 2 when the definitions have errors or
    /// conflicts, 1 when the command could not run.
    Plan(Planned),
    /// Put a directory of definitions in force as a new revision. A running gateway follows within seconds.
    ///
    /// Exit code: 0 when the definitions are in force, 2 when they have errors or conflicts or somebody else made a
    /// revision meanwhile (nothing changed then), 1 when the command could not run.
    Apply {
        #[command(flatten)]
        planned: Planned,
        /// Refuse when another revision than this one, which `plan` named, is in force by now.
        #[arg(long, value_name = "NUMBER")]
        base: Option<i64>,
    },
    /// List the revisions of the definitions, newest first; or show what one changed.
    Revisions {
        /// Show what this revision changed.
        number: Option<i64>,
        /// At most this many.
        #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Put the definitions of an earlier revision in force again, as a new revision. A directory that is applied
    /// afterwards, also by the next start with --definitions, changes them again.
    ///
    /// Exit code: as for `apply`.
    Rollback {
        /// The revision to go back to.
        number: i64,
        /// Refuse when another revision than this one is in force by now.
        #[arg(long, value_name = "NUMBER")]
        base: Option<i64>,
    },
    /// Write the definitions in force as documents: files that came from a directory as they were, others in one
    /// form. Secrets are written as references or as { kept = true }.
    Export {
        /// The directory to write into; made when missing. It must not hold *.toml files.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Only this definition, such as flow.orders, and all that it refers to.
        #[arg(long, value_name = "SECTION.NAME")]
        object: Option<String>,
        /// The definitions of this revision instead of those in force.
        #[arg(long, value_name = "NUMBER")]
        revision: Option<i64>,
    },
    /// Make, rotate and forget master keys, which encrypt secrets of definitions.
    #[command(subcommand)]
    Key(Key),
    /// Find transfers, show them whole, send failed ones again.
    #[command(subcommand)]
    Transfer(Transfer),
    /// List flows, run them now, pause and resume them.
    #[command(subcommand)]
    Flow(Flow),
    /// List endpoints, test them, set them offline and online.
    #[command(subcommand)]
    Endpoint(Endpoint),
    /// Make and read AS2 messages as files.
    #[command(subcommand)]
    As2(As2),
    /// Search the audit trail, prove it, export its seals.
    #[command(subcommand)]
    Audit(Audit),
    /// Add users of the console, disable them, set their passwords and roles.
    #[command(subcommand)]
    User(User),
    /// Write the reference of settings, definitions and transports as Markdown.
    Reference {
        /// A JSON Schema of definitions instead, for editors: name it with `#:schema PATH` in the first line of a document.
        #[arg(long)]
        schema: bool,
    },
    /// Write the completion script of a shell to standard output.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual pages: waybill.1, and a page for each command.
    Man {
        /// The directory they are written into; made when missing.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Serve {
    /// A directory of definitions, applied at the start as a revision, and again on SIGHUP. If it cannot be applied at
    /// the start, the newest stored revision goes on, and the node says on /readyz that it is not ready.
    #[arg(long, value_name = "DIR")]
    pub(crate) definitions: Option<PathBuf>,
    /// As for `apply`: what the definitions are said to come from.
    #[arg(long, value_name = "TEXT", requires = "definitions")]
    pub(crate) origin: Option<String>,
    /// As for `apply`: definitions that are here already keep their user names, credentials and keys.
    #[arg(long, requires = "definitions")]
    pub(crate) keep_credentials: bool,
    /// As for `apply`: a document whose fields take the place of the directory's.
    #[arg(long, value_name = "FILE", requires = "definitions")]
    pub(crate) overlay: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Key {
    /// Write a new master key to standard output: 32 random bytes in base64. Keep it in a file that only the gateway can
    /// read, and name the file in secrets.master_key of waybill.toml.
    Generate,
    /// Encrypt all stored secrets with the first key of secrets.master_key. First give every node both keys and restart it;
    /// afterwards the old key can be taken out. May be stopped and run again.
    Rotate,
    /// Give up a master key that is lost, with every secret that is encrypted with it: lists their fields, and removes
    /// them with --yes. Then apply the definitions again with these secrets written in them.
    ///
    /// Exit code: 0 when they are removed, 3 when they are only listed, 1 when the command could not run.
    Forget {
        /// The key's id.
        id: String,
        /// Remove them.
        #[arg(long)]
        yes: bool,
    },
}

/// A directory to be compared with what is in force.
#[derive(Args, Debug)]
pub(crate) struct Planned {
    /// The directory: its *.toml files are read, those of directories below are not.
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// What the definitions are said to come from, such as the name of a repository; the directory's absolute path
    /// unless given. Only definitions of the same origin are changed and removed.
    #[arg(long, value_name = "TEXT")]
    pub(crate) origin: Option<String>,
    /// Make definitions that belong to another origin belong to this one.
    #[arg(long)]
    pub(crate) take_over: bool,
    /// For definitions from another gateway: those that are here already keep their user names, credentials and keys.
    #[arg(long)]
    pub(crate) keep_credentials: bool,
    /// Let stored secrets be shown to addresses that they were not given for, such as an endpoint that is new or whose
    /// URL, proxy, host key or trust changes. The plan lists them.
    #[arg(long)]
    pub(crate) reuse_secrets: bool,
    /// Let a directory without definitions remove all that came from it.
    #[arg(long)]
    pub(crate) allow_empty: bool,
    /// A document whose fields take the place of the directory's. It may set what differs between environments: directories
    /// for archived and failed files, nodes, preferred algorithms.
    #[arg(long, value_name = "FILE")]
    pub(crate) overlay: Option<PathBuf>,
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
    List(ListTransfers),
    /// Show one transfer's whole way.
    Show {
        /// Its id, as `transfer list` shows it.
        #[arg(value_parser = values::id::<TransferId>)]
        id: TransferId,
    },
    /// Write a transfer's receipt (MDN) as it came or was sent: a whole MIME entity, byte for byte, as
    /// `openssl smime -verify` takes it.
    Receipt(TransferReceipt),
    /// Send the failed deliveries of a transfer on their way again.
    Retry {
        /// Its id, as `transfer list` shows it.
        #[arg(value_parser = values::id::<TransferId>)]
        id: TransferId,
    },
}

#[derive(Args, Debug)]
pub(crate) struct TransferReceipt {
    /// The transfer's id, as `transfer list` shows it.
    #[arg(value_parser = values::id::<TransferId>)]
    pub(crate) id: TransferId,
    /// Which MDN, where there are several: the one that proves a delivery, the last one that did not
    /// prove it (it says no, or its signature or MIC proves nothing), or the one that we sent.
    #[arg(long, value_enum)]
    pub(crate) which: Option<MdnKind>,
    /// Only of this delivery.
    #[arg(long, value_name = "ID", value_parser = values::id::<DeliveryId>)]
    pub(crate) delivery: Option<DeliveryId>,
    /// Where it goes, a file that is not there yet; standard output unless given.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// Which MDN of a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum MdnKind {
    Accepted,
    NotAccepted,
    Sent,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Audit {
    /// Search events, newest first.
    Search(SearchEvents),
    /// List the kinds of events, for `audit search --kind`.
    Kinds,
    /// Prove that no sealed event was removed or changed, against what this node has noted outside the
    /// database.
    Verify(Verify),
    /// Accept the audit trail of a restored database, after `audit verify` or the overview has raised an
    /// alarm: the decision is put on record, signed, and this node and the others seal again. Seals by keys that
    /// are lost are accepted too, and named.
    AcceptRestored {
        /// Why, for the record: which backup was restored, by whom, what for.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Trust the seals of a node that does not share this one's staging directory.
    Trust {
        /// The public half of its seal key, `seal.key.pub` of its state directory.
        #[arg(value_name = "FILE")]
        key: PathBuf,
    },
    /// Write the seals to standard output, a JSON object on each line: a copy to be kept elsewhere, for
    /// `audit verify --seals`.
    ExportSeals {
        /// The first seal to write.
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        from: i64,
    },
}

#[derive(Args, Debug)]
pub(crate) struct ListTransfers {
    /// Only those in this state: staged, processing, delivering, held, completed, partly_failed, failed or
    /// cancelled.
    #[arg(long, value_parser = values::transfer_state)]
    pub(crate) state: Option<TransferState>,
    /// Only those of this flow.
    #[arg(long, value_name = "NAME")]
    pub(crate) flow: Option<String>,
    /// Only those whose file name contains this text, in capitals or not; of the last day, unless --from says
    /// otherwise.
    #[arg(long, value_name = "TEXT")]
    pub(crate) file: Option<String>,
    #[command(flatten)]
    pub(crate) span: Span,
    /// At most this many.
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
}

#[derive(Args, Debug)]
pub(crate) struct SearchEvents {
    /// A kind, such as `delivery.failed`, or what several begin with, such as `delivery`; `audit kinds` lists
    /// them.
    #[arg(long, value_parser = values::event_kind)]
    pub(crate) kind: Option<String>,
    /// Only of this severity: info, warning or error.
    #[arg(long, value_parser = severity)]
    pub(crate) severity: Option<Severity>,
    /// Only of this flow.
    #[arg(long, value_name = "NAME")]
    pub(crate) flow: Option<String>,
    /// Only of this endpoint.
    #[arg(long, value_name = "NAME")]
    pub(crate) endpoint: Option<String>,
    /// Only of this transfer.
    #[arg(long, value_name = "ID", value_parser = values::id::<TransferId>)]
    pub(crate) transfer: Option<TransferId>,
    /// Only of this connection.
    #[arg(long, value_name = "ID", value_parser = values::id::<ConnectionId>)]
    pub(crate) connection: Option<ConnectionId>,
    /// Only by this actor: system, peer, user:NAME, cli:NAME.
    #[arg(long, value_parser = values::actor)]
    pub(crate) actor: Option<String>,
    /// Only those that contain this text in their detail or peer address; of the last day, unless --from says
    /// otherwise.
    #[arg(long, value_name = "TEXT")]
    pub(crate) text: Option<String>,
    #[command(flatten)]
    pub(crate) span: Span,
    /// At most this many.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
}

/// A stretch of time.
#[derive(Args, Debug)]
pub(crate) struct Span {
    /// Only at or after this moment, such as 2027-01-31 or "2027-01-31 17:30" (UTC).
    #[arg(long, value_name = "MOMENT", value_parser = values::moment)]
    pub(crate) from: Option<Timestamp>,
    /// Only before this moment.
    #[arg(long, value_name = "MOMENT", value_parser = values::moment)]
    pub(crate) to: Option<Timestamp>,
}

fn severity(text: &str) -> Result<Severity, String> {
    Severity::parse(text).ok_or_else(|| "there are info, warning and error".to_owned())
}

#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// Public keys (PEM) to trust besides the one beside this node's own seal key.
    #[arg(long, value_name = "FILE")]
    pub(crate) trust: Vec<PathBuf>,
    /// A seal that must be there, as an earlier `audit verify` named it: a trail that was cut off before
    /// it does not pass.
    #[arg(long, value_name = "NUMBER:DIGEST", value_parser = values::seal)]
    pub(crate) expect: Vec<(i64, Sha256)>,
    /// Seals that must all be there, as `audit export-seals` wrote them.
    #[arg(long, value_name = "FILE")]
    pub(crate) seals: Vec<PathBuf>,
    /// Certificates (PEM) of the authority that time-stamped the seals; left out: those of the setting
    /// audit.timestamp_certificates.
    #[arg(long, value_name = "FILE")]
    pub(crate) timestamp_certificates: Option<PathBuf>,
    /// Compare the rows that pages and lists show (connections, transfers, deliveries, attempts, receipts,
    /// payloads, users, definitions) with the sealed events that made them as well.
    #[arg(long)]
    pub(crate) records: bool,
    /// With --records: only rows of this time. Users and definitions are not compared then.
    #[command(flatten)]
    pub(crate) span: Span,
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
    #[arg(long, default_value = "aes256-cbc", value_parser = values::words(Cipher::ALL.iter().map(|word| word.as_str())))]
    pub(crate) cipher: String,
    /// Digest of signature and MIC.
    #[arg(long, default_value = "sha256", value_parser = values::words(DigestName::ALL.iter().map(|word| word.as_str())))]
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
    /// Our private key, PEM. With it only an encrypted message is taken, unless --require says otherwise.
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Our certificate, PEM.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// The partner's certificate, PEM; any of several verifies. With it only a signed message is taken,
    /// unless --require says otherwise.
    #[arg(long, value_name = "FILE")]
    pub(crate) partner_cert: Vec<PathBuf>,
    /// What the message must be: signed, encrypted, both with a comma between, or none. Left out: what the
    /// given keys are for.
    #[arg(long, value_name = "PROTECTIONS", value_parser = values::protections)]
    pub(crate) require: Option<values::Protections>,
    /// Verify also by a partner's certificate that has expired.
    #[arg(long)]
    pub(crate) accept_expired: bool,
    /// Verify also signatures by MD5, SHA-1 and keys under 2,048 bits.
    #[arg(long)]
    pub(crate) legacy: bool,
    /// The message: HTTP header block, empty line, body.
    pub(crate) message: PathBuf,
    /// Directory for the payloads; made when missing.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}
