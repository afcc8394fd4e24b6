//! `waybill cert …`, as clap reads it.

use super::values;
use clap::{Args, Subcommand, ValueEnum};
use model::{CertificateUsage, Timestamp};
use std::path::PathBuf;
use uuid::Uuid;

#[derive(Subcommand, Debug)]
pub(crate) enum Cert {
    /// Make a private key and a self-signed certificate for it: NAME.key.pem, which only its owner can read, and
    /// NAME.cert.pem. Writes the definition of the key to standard output. Never replaces a file.
    Make(MakeCertificate),
    /// Make a private key and a certificate request (CSR) for an authority: NAME.key.pem and NAME.csr.pem. When the authority
    /// has answered, give its file to `cert import` with --key. Never replaces a file.
    Request(RequestCertificate),
    /// List the certificates that are defined, or show one: its dates, fingerprints and uses, and what uses it.
    Show(ShowCertificate),
    /// Write a certificate that is defined in the form that a partner wants. The private key stays here.
    Export(ExportCertificate),
    /// Read certificates, with their private key if there is one, from a file in PEM form, in DER, PKCS #7 or PKCS #12. Writes
    /// them as PEM files, and their definitions to standard output. Never replaces a file.
    Import(ImportCertificates),
    /// List the certificates that partners propose in messages, and what to write to accept them; and those of ours that were
    /// announced to partners, with their answers.
    Proposals,
    /// Accept what a partner proposes. Where the partner comes from a directory of definitions, it says what to write there;
    /// else the partner's list gets the certificates. A running gateway answers the partner once they are in force.
    Accept(DecideProposal),
    /// Reject what a partner proposes. A running gateway tells the partner the reason.
    Reject(DecideProposal),
    /// Announce the certificate of a key of ours to a partner (Certificate Exchange Messaging).
    Announce(AnnounceCertificate),
}

/// The types of keys that `cert make` and `cert request` make.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum KeyType {
    /// RSA, 2,048 bits.
    Rsa2048,
    /// RSA, 3,072 bits: every partner can use it.
    Rsa3072,
    /// RSA, 4,096 bits.
    Rsa4096,
    /// The elliptic curve P-256.
    #[value(name = "ec-p256")]
    EcP256,
    /// The elliptic curve P-384.
    #[value(name = "ec-p384")]
    EcP384,
    /// The elliptic curve P-521.
    #[value(name = "ec-p521")]
    EcP521,
    /// Ed25519. It signs; nothing can be encrypted for it.
    Ed25519,
}

/// A private key that is made, or one that is there.
#[derive(Args, Debug)]
pub(crate) struct WhichKey {
    /// The name of the definition that the key is for, and of the files: lower-case letters, digits, '.', '-' and '_'.
    #[arg(value_parser = values::definition_name)]
    pub(crate) name: String,
    /// The type of the new key.
    #[arg(long = "type", value_name = "TYPE", value_enum, default_value_t = KeyType::Rsa3072)]
    pub(crate) key_type: KeyType,
    /// Use the private key in this file (PEM) instead of a new one: partners go on with the public key that they have.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["key_type", "ask_key_passphrase"])]
    pub(crate) key: Option<PathBuf>,
    /// A file with the passphrase of the private key: a new key is encrypted with it, that of --key is decrypted. "-" reads
    /// standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_passphrase_file: Option<PathBuf>,
    /// Ask at the terminal for a passphrase, and encrypt the new private key with it.
    #[arg(long, conflicts_with = "key_passphrase_file")]
    pub(crate) ask_key_passphrase: bool,
    /// The directory for the files. It is created if it is missing.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) out: PathBuf,
}

/// Whose certificate it is to be.
#[derive(Args, Debug)]
pub(crate) struct SubjectOptions {
    /// The subject, such as "CN=Acme AS2,O=Acme Ltd,C=DE". A comma within a value is written as "\,". Left out, CN=NAME.
    #[arg(long, value_name = "SUBJECT")]
    pub(crate) subject: Option<String>,
    /// A host name or IP address of the subject, for TLS. Can be given several times.
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Vec<String>,
    /// An e-mail address of the subject. Can be given several times.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) email: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct MakeCertificate {
    #[command(flatten)]
    pub(crate) key: WhichKey,
    #[command(flatten)]
    pub(crate) subject: SubjectOptions,
    /// For how many days the certificate is valid. It begins an hour ago, for partners whose clocks are slow.
    #[arg(long, value_name = "COUNT", default_value_t = 825, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) days: u32,
}

#[derive(Args, Debug)]
pub(crate) struct RequestCertificate {
    #[command(flatten)]
    pub(crate) key: WhichKey,
    #[command(flatten)]
    pub(crate) subject: SubjectOptions,
}

#[derive(Args, Debug)]
pub(crate) struct ShowCertificate {
    /// The name of a [certificate.NAME] or [key.NAME], with its kind before it where both are defined (key.NAME); or a file in
    /// any form that `cert import` reads. Left out, all certificates are listed.
    #[arg(value_name = "NAME|FILE")]
    pub(crate) which: Option<String>,
    /// A file with the passphrase of the PKCS #12 file; left out, it is asked for at the terminal.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Of a directory of definitions instead of those in force.
    #[arg(long, value_name = "DIR")]
    pub(crate) definitions: Option<PathBuf>,
}

/// A form of certificates.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum CertificateForm {
    /// PEM, text (.pem, .crt).
    Pem,
    /// DER (.der, .cer).
    Der,
    /// PKCS #7 in DER (.p7b, .p7c).
    Pkcs7,
    /// PKCS #7 as text (.p7b).
    Pkcs7Pem,
}

#[derive(Args, Debug)]
pub(crate) struct ExportCertificate {
    /// The name of the [certificate.NAME] or [key.NAME], with its kind before it where both are defined (key.NAME).
    pub(crate) name: String,
    /// The form.
    #[arg(long, value_enum, default_value_t = CertificateForm::Pem)]
    pub(crate) form: CertificateForm,
    /// Write the certificates of authorities that belong to a key as well.
    #[arg(long)]
    pub(crate) chain: bool,
    /// The file to write to. It must not exist. Left out, standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Of a directory of definitions instead of those in force.
    #[arg(long, value_name = "DIR")]
    pub(crate) definitions: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct ImportCertificates {
    /// The file to read.
    pub(crate) file: PathBuf,
    /// The name of the definition, and of the files: lower-case letters, digits, '.', '-' and '_'. Further certificates of the
    /// file that belong to no key get a number after it.
    #[arg(long, value_parser = values::definition_name)]
    pub(crate) name: String,
    /// The directory for the files. It is created if it is missing.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) out: PathBuf,
    /// A file with the passphrase of what is read; "-" reads standard input. Left out, a passphrase that is needed is asked for
    /// at the terminal.
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// The private key (PEM) that the certificate belongs to, such as the one that `cert request` made. It stays where it is.
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// A file with the passphrase of the private key: that of --key is decrypted, one that is written is encrypted with it. "-"
    /// reads standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) key_passphrase_file: Option<PathBuf>,
    /// Ask at the terminal for a passphrase, and encrypt the private key that is written with it.
    #[arg(long, conflicts_with_all = ["key_passphrase_file", "key"])]
    pub(crate) ask_key_passphrase: bool,
}

#[derive(Args, Debug)]
pub(crate) struct DecideProposal {
    /// The id of the proposal, as `cert proposals` shows it.
    pub(crate) id: Uuid,
    /// Why, for the audit trail. The partner gets it with a rejection.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct AnnounceCertificate {
    /// The name of the [key.NAME] whose certificate is announced.
    pub(crate) key: String,
    /// The partner.
    #[arg(long, value_name = "NAME")]
    pub(crate) partner: String,
    /// The endpoint that it goes to, where the partner has several.
    #[arg(long, value_name = "NAME")]
    pub(crate) endpoint: Option<String>,
    /// What the certificate is for: digitalSignature, keyEncipherment, tlsServer or tlsClient. Can be given several times. Left
    /// out, digitalSignature and keyEncipherment.
    #[arg(long, value_name = "USAGE", value_parser = certificate_usage)]
    pub(crate) usage: Vec<CertificateUsage>,
    /// Until when the partner is to answer, such as 2027-01-31T12:00:00Z. Left out, in 14 days.
    #[arg(long, value_name = "TIME", value_parser = values::moment)]
    pub(crate) respond_by: Option<Timestamp>,
    /// The URL of our listener, which the partner sends its answer to. Left out, the one that it sends receipts to.
    #[arg(long, value_name = "URL")]
    pub(crate) response_url: Option<String>,
}

fn certificate_usage(text: &str) -> Result<CertificateUsage, String> {
    CertificateUsage::parse(text).ok_or_else(|| {
        let words: Vec<&str> = CertificateUsage::ALL.iter().map(|usage| usage.as_str()).collect();
        format!("use one of {}", words.join(", "))
    })
}
