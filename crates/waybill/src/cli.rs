//! The command line, as clap reads it.

mod as2;
mod cert;
mod endpoint;
mod evidence;
mod flow;
mod known_host;
mod transfer;
mod user;
pub(crate) mod values;

pub(crate) use as2::{PingPartner, SendFile, ShowPreset};
pub(crate) use cert::{
    AnnounceCertificate, Cert, CertificateForm, DecideProposal, ExportCertificate, ImportCertificates,
    KeyType, MakeCertificate, RequestCertificate, ShowCertificate, SubjectOptions, WhichKey,
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
pub(crate) use endpoint::Endpoint;
pub(crate) use evidence::{TransferEvidence, VerifyEvidence};
pub(crate) use flow::Flow;
pub(crate) use known_host::{AddKnownHost, KnownHost};
use model::{ConnectionId, Severity, Sha256, Timestamp, TransferId};
use std::path::PathBuf;
pub(crate) use transfer::{
    ActOnTransfers, ListTransfers, MdnKind, Transfer, TransferReceipt, WhichTransfers,
};
use transport_as2::agreement::{
    Cipher, Compression, DigestName, KeyTransport, Order, RsaSignature, SignatureForm,
};
pub(crate) use user::User;

/// The heading over the options that every command takes.
const EVERYWHERE: &str = "Options of every command";

/// Managed file transfer gateway: nothing lost, nothing delivered half, everything on record.
#[derive(Parser, Debug)]
#[command(name = "waybill", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// The settings file. Left out, the first of waybill.toml, config/waybill.toml and
    /// /etc/waybill/waybill.toml
    /// that exists. Environment variables WAYBILL__SECTION__KEY override the file.
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
    /// The form of the results: text for people, json for programs.
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
    /// Run the gateway until SIGTERM or Ctrl-C.
    Serve(Serve),
    /// Run a demonstration on this machine: files move between two gateways and an SFTP server.
    Demo(Demo),
    /// Check a directory of definitions. Opens no connections.
    Validate {
        /// The directory. Its *.toml files are checked; subdirectories are ignored.
        #[arg(long, value_name = "DIR", default_value = "definitions")]
        definitions: PathBuf,
    },
    /// Show what `apply` would change, and change nothing.
    ///
    /// Exit code: 0 when nothing would change, 3 when something would, 2 when the definitions have errors or
    /// conflicts, 1 when the command could not run.
    Plan(DirectoryArgs),
    /// Put a directory of definitions in force as a new revision. A running gateway follows within seconds.
    ///
    /// Exit code: 0 when the definitions are in force, 2 when they have errors or conflicts or somebody else made a
    /// revision meanwhile (nothing changed then), 1 when the command could not run.
    Apply {
        #[command(flatten)]
        planned: DirectoryArgs,
        /// Change nothing unless this revision, which `plan` showed, is still in force.
        #[arg(long, value_name = "NUMBER")]
        base: Option<i64>,
    },
    /// List the revisions of the definitions, newest first, or show what one of them changed.
    Revisions {
        /// Show what this revision changed.
        number: Option<i64>,
        /// Show at most this many.
        #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
        limit: u32,
    },
    /// Put the definitions of an earlier revision in force again, as a new revision. A directory that is applied
    /// afterwards, also by the next start with --definitions, changes them again.
    ///
    /// Exit code: as for `apply`.
    Rollback {
        /// The revision to roll back to.
        number: i64,
        /// Change nothing unless this revision is still in force.
        #[arg(long, value_name = "NUMBER")]
        base: Option<i64>,
    },
    /// Write the definitions in force to files. Files that were applied from a directory are written
    /// unchanged, other
    /// definitions in a standard form. Secrets are written as references or as { kept = true }.
    Export {
        /// The directory to write to. It is created if it is missing, and must not contain *.toml files.
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        /// Only this definition, such as flow.orders, and all definitions that it refers to.
        #[arg(long, value_name = "SECTION.NAME")]
        object: Option<String>,
        /// The definitions of this revision instead of those in force.
        #[arg(long, value_name = "NUMBER")]
        revision: Option<i64>,
    },
    /// Make, rotate and forget master keys, which encrypt secrets of definitions.
    #[command(subcommand)]
    Key(Key),
    /// Make, request, import, show and export certificates.
    #[command(subcommand)]
    Cert(Cert),
    /// List and show transfers, save receipts; retry, hold, release, cancel and resubmit transfers.
    #[command(subcommand)]
    Transfer(Transfer),
    /// List flows, run them now, pause and resume them.
    #[command(subcommand)]
    Flow(Flow),
    /// List endpoints, test them, set them offline and online.
    #[command(subcommand)]
    Endpoint(Endpoint),
    /// List, add and remove the host keys of SSH servers that every node trusts, and ask servers for theirs.
    #[command(subcommand)]
    KnownHost(KnownHost),
    /// Create and read AS2 messages as files.
    #[command(subcommand)]
    As2(As2),
    /// Search and verify the audit trail, and export its seals.
    #[command(subcommand)]
    Audit(Audit),
    /// Manage the users of the console: add, disable, set passwords and roles.
    #[command(subcommand)]
    User(User),
    /// Write the reference of settings, definitions and transports as Markdown.
    Reference {
        /// Write a JSON Schema of definitions for editors instead. Refer to it with `#:schema PATH` in the
        /// first line of a document.
        #[arg(long)]
        schema: bool,
    },
    /// Write the completion script of a shell to standard output.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Write the manual pages: waybill.1 and a page for each command.
    Man {
        /// The directory to write to. It is created if it is missing.
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
    /// read, and refer to that file in secrets.master_key of waybill.toml.
    Generate,
    /// Encrypt all stored secrets with the first key of secrets.master_key. Before that, give every node both
    /// keys and restart it;
    /// afterwards the old key can be removed. The command can be interrupted and run again.
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
    /// List the keys that are defined ([key.NAME]), with the fingerprints of their public halves.
    List {
        /// Of a directory of definitions instead of those in force.
        #[arg(long, value_name = "DIR")]
        definitions: Option<PathBuf>,
    },
    /// Show the public half of a key that is defined, in OpenSSH's form.
    Show {
        /// The key's name.
        name: String,
        /// Of a directory of definitions instead of those in force.
        #[arg(long, value_name = "DIR")]
        definitions: Option<PathBuf>,
    },
    /// Write the public half of a key that is defined as the line that a partner's server wants: a line of authorized_keys, or
    /// with --host a line of known_hosts.
    Export {
        /// The key's name.
        name: String,
        /// The names and addresses of the host whose key it is, separated by commas.
        #[arg(long, value_name = "HOSTS")]
        host: Option<String>,
        /// Of a directory of definitions instead of those in force.
        #[arg(long, value_name = "DIR")]
        definitions: Option<PathBuf>,
    },
}

/// A directory that is compared with the definitions in force.
#[derive(Args, Debug)]
pub(crate) struct DirectoryArgs {
    /// The directory. Its *.toml files are read; subdirectories are ignored.
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// A name for where the definitions come from, such as the name of a repository. Left out, the
    /// directory's absolute
    /// path. Only definitions of the same origin are changed and removed.
    #[arg(long, value_name = "TEXT")]
    pub(crate) origin: Option<String>,
    /// Take over definitions that belong to another origin.
    #[arg(long)]
    pub(crate) take_over: bool,
    /// For definitions from another gateway: definitions that exist here keep their user names, credentials
    /// and keys.
    #[arg(long)]
    pub(crate) keep_credentials: bool,
    /// Let stored secrets be shown to addresses that they were not given for, such as an endpoint that is new or whose
    /// URL, proxy, host key or trust changes. The plan lists them.
    #[arg(long)]
    pub(crate) reuse_secrets: bool,
    /// Let a directory without definitions remove all that came from it.
    #[arg(long)]
    pub(crate) allow_empty: bool,
    /// A document that overrides fields of the directory's documents. It may set only what differs between
    /// environments: directories
    /// for archived and failed files, nodes, preferred algorithms.
    #[arg(long, value_name = "FILE")]
    pub(crate) overlay: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// Stop with a summary when every file has arrived. Otherwise the gateways run until Ctrl-C.
    #[arg(long)]
    pub(crate) exit_when_done: bool,
    /// The directory for keys, databases and folders. Left out, a temporary directory.
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Audit {
    /// Search events, newest first.
    Search(SearchEvents),
    /// List the kinds of events, for `audit search --kind`.
    Kinds,
    /// Verify that no sealed event was removed or changed, using what this node has noted outside the
    /// database.
    Verify(Verify),
    /// Accept the audit trail of a restored database, after `audit verify` or the overview has raised an
    /// alarm. The decision is recorded and signed, and all nodes seal again. Seals with lost keys
    /// are accepted as well, and listed.
    AcceptRestored {
        /// The reason, which is recorded: which backup was restored, by whom, and why.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Trust the seals of a node that does not share this one's staging directory.
    Trust {
        /// The public half of that node's seal key: `seal.key.pub` in its state directory.
        #[arg(value_name = "FILE")]
        key: PathBuf,
    },
    /// Write the seals to standard output, one JSON object per line: a copy to keep elsewhere, for
    /// `audit verify --seals`.
    ExportSeals {
        /// The first seal to write.
        #[arg(long, value_name = "NUMBER", default_value_t = 1)]
        from: i64,
    },
}

#[derive(Args, Debug)]
pub(crate) struct SearchEvents {
    /// A kind, such as `delivery.failed`, or a group of kinds, such as `delivery`; `audit kinds` lists
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
    /// Only events that contain this text in their detail or peer address. Searches the last day, unless
    /// --from says
    /// otherwise.
    #[arg(long, value_name = "TEXT")]
    pub(crate) text: Option<String>,
    #[command(flatten)]
    pub(crate) span: Span,
    /// Show at most this many.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
}

/// A time range.
#[derive(Args, Debug)]
pub(crate) struct Span {
    /// Only from this time on, such as 2027-01-31 or "2027-01-31 17:30" (UTC).
    #[arg(long, value_name = "MOMENT", value_parser = values::moment)]
    pub(crate) from: Option<Timestamp>,
    /// Only before this time.
    #[arg(long, value_name = "MOMENT", value_parser = values::moment)]
    pub(crate) to: Option<Timestamp>,
}

fn severity(text: &str) -> Result<Severity, String> {
    Severity::parse(text).ok_or_else(|| "use info, warning or error".to_owned())
}

#[derive(Args, Debug)]
pub(crate) struct Verify {
    /// Public seal keys (PEM) to trust in addition to this node's own.
    #[arg(long, value_name = "FILE")]
    pub(crate) trust: Vec<PathBuf>,
    /// A seal that must exist, as an earlier `audit verify` printed it. If the end of the trail was removed
    /// before
    /// this seal, the verification fails.
    #[arg(long, value_name = "NUMBER:DIGEST", value_parser = values::seal)]
    pub(crate) expect: Vec<(i64, Sha256)>,
    /// A copy of seals that must all exist, as `audit export-seals` wrote it.
    #[arg(long, value_name = "FILE")]
    pub(crate) seals: Vec<PathBuf>,
    /// Certificates (PEM) of the authority that time-stamped the seals. Left out, those of the setting
    /// audit.timestamp_certificates.
    #[arg(long, value_name = "FILE")]
    pub(crate) timestamp_certificates: Option<PathBuf>,
    /// Compare the rows that pages and lists show (connections, transfers, deliveries, attempts, receipts,
    /// payloads, users, definitions) with the sealed events about them as well.
    #[arg(long)]
    pub(crate) records: bool,
    /// With --records: only rows of this time range. Users and definitions are not compared then.
    #[command(flatten)]
    pub(crate) span: Span,
}

#[derive(Subcommand, Debug)]
pub(crate) enum As2 {
    /// Create an AS2 message from a file: signed and encrypted, with its HTTP headers.
    Pack(Box<Pack>),
    /// Read an AS2 message: decrypt it, verify it, and write its payloads to a directory.
    Unpack(Unpack),
    /// Send a file to a partner: the gateway delivers it as any other, and this command follows it until the receipt.
    ///
    /// Exit code: 0 when it is delivered (with --no-wait, recorded), 2 when it is not, or not by the end of the wait, 1 when
    /// the command could not run.
    Send(Box<SendFile>),
    /// Send a small test message to a partner, and explain its way step by step. Its name, its subject and its content say that
    /// it is a test. It is tried once.
    ///
    /// Exit code: 0 when every step passed, 2 when one failed or did not end in time, 1 when the command could not run.
    Ping(PingPartner),
    /// Write the definition of a partner with a known product: what differs from the defaults, and why.
    Preset(ShowPreset),
    /// Check a file that `transfer evidence` saved, offline: who sent what and when, and that it was received.
    ///
    /// Exit code: 0 when all that is in it holds, 2 when something does not, 1 when it cannot be read.
    Verify(VerifyEvidence),
}

#[derive(Args, Debug)]
pub(crate) struct Pack {
    /// AS2-From.
    #[arg(long)]
    pub(crate) from: String,
    /// AS2-To.
    #[arg(long)]
    pub(crate) to: String,
    /// The private key that signs (PEM). Left out, the message is not signed.
    #[arg(long, value_name = "FILE")]
    pub(crate) sign_key: Option<PathBuf>,
    /// The certificate of the signing key (PEM).
    #[arg(long, value_name = "FILE", requires = "sign_key")]
    pub(crate) sign_cert: Option<PathBuf>,
    /// The partner's certificate (PEM). Left out, the message is not encrypted; given several times, each one decrypts it.
    #[arg(long, value_name = "FILE")]
    pub(crate) encrypt_cert: Vec<PathBuf>,
    /// The cipher.
    #[arg(long, default_value = "aes256-cbc", value_parser = values::words(Cipher::ALL.iter().map(|word| word.as_str())))]
    pub(crate) cipher: String,
    /// Whether the message is compressed, and when.
    #[arg(long, default_value = "no", value_parser = values::words(Compression::ALL.iter().map(|word| word.as_str())))]
    pub(crate) compress: String,
    /// What is done first to a message that is both signed and encrypted.
    #[arg(long, default_value = "sign_then_encrypt", value_parser = values::words(Order::ALL.iter().map(|word| word.as_str())))]
    pub(crate) order: String,
    /// Where the signature is.
    #[arg(long, default_value = "detached", value_parser = values::words(SignatureForm::ALL.iter().map(|word| word.as_str())))]
    pub(crate) signature_form: String,
    /// How an RSA key signs.
    #[arg(long, default_value = "pkcs1", value_parser = values::words(RsaSignature::ALL.iter().map(|word| word.as_str())))]
    pub(crate) rsa_signature: String,
    /// How the content key is encrypted for an RSA key.
    #[arg(long, default_value = "pkcs1", value_parser = values::words(KeyTransport::ALL.iter().map(|word| word.as_str())))]
    pub(crate) key_transport: String,
    /// The digest of signature and MIC.
    #[arg(long, default_value = "sha256", value_parser = values::words(DigestName::ALL.iter().map(|word| word.as_str())))]
    pub(crate) digest: String,
    /// The receipt to ask for.
    #[arg(long, default_value = "signed", value_parser = ["signed", "unsigned", "none"])]
    pub(crate) mdn: String,
    /// The payload's media type.
    #[arg(long, default_value = "application/octet-stream")]
    pub(crate) media_type: String,
    /// The payload file.
    pub(crate) file: PathBuf,
    /// The file to write the message to.
    #[arg(long, value_name = "MSG")]
    pub(crate) out: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct Unpack {
    /// Our private key (PEM). With it, the message must be encrypted, unless --require says otherwise.
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
    /// Our certificate (PEM).
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,
    /// The partner's certificate (PEM); can be given several times. With it, the message must be signed,
    /// unless --require says otherwise.
    #[arg(long, value_name = "FILE")]
    pub(crate) partner_cert: Vec<PathBuf>,
    /// What the message must be: signed, encrypted, both with a comma between, or none. Left out, what the
    /// given keys are for.
    #[arg(long, value_name = "PROTECTIONS", value_parser = values::protections)]
    pub(crate) require: Option<values::Protections>,
    /// Accept certificates of the partner that have expired.
    #[arg(long)]
    pub(crate) accept_expired: bool,
    /// Accept signatures with MD5, SHA-1 and keys under 2,048 bits.
    #[arg(long)]
    pub(crate) legacy: bool,
    /// The message file: HTTP headers, an empty line, and the body.
    pub(crate) message: PathBuf,
    /// The directory for the payloads. It is created if it is missing.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}
