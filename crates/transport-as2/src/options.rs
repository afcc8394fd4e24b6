//! What may be said to AS2, declared.

use crate::agreement::{Cipher, DigestName, DuplicatePolicy, MdnRequest, NAME, SendSecurity};
use model::schema::{Field, Group, Kind, Paths, Roles, Scheme, Section, TransportSpec};

const fn scheme(name: &'static str, port: u16) -> Scheme {
    Scheme { name, port: Some(port), paths: Paths::None, connects_per_poll: false }
}

/// `transport = "as2"`, declared.
pub static SPEC: TransportSpec = TransportSpec {
    schemes: &[scheme("http", 80), scheme("https", 443)],
    roles: Roles { source: false, destination: true, listener: true },
    endpoint: &[&ENDPOINT, &net::CONNECTION, &net::TLS],
    listener: &[&LISTENER],
    partner: Some(&PARTNER),
    identity: Some(&IDENTITY),
    ..TransportSpec::new(
        NAME,
        "Messages between trading partners over HTTP, signed, encrypted and receipted (RFC 4130).",
    )
};

static ENDPOINT: Group = Group::of(&[
    Field::required("partner", Kind::Name(Section::PARTNER), "The partner on the other side."),
    Field::required("identity", Kind::Name(Section::IDENTITY), "Our own side."),
    Field::optional(
        "media_type",
        Kind::Text,
        "Media type of what is sent, such as application/edi-x12. Left out: the one the source told, else by the file's extension, else application/octet-stream.",
    ),
    Field::preset(
        "answer_timeout",
        Kind::Duration,
        "300s",
        "Longest wait for the partner's answer after the last byte was sent. \"0s\" waits for 24 hours.",
    ),
    Field::preset(
        "chunked",
        Kind::Bool,
        "false",
        "Send without Content-Length. Some partners refuse that; needed only for those that ask for it.",
    ),
]);

static LISTENER: Group = Group::of(&[
    Field::required(
        "server",
        Kind::Server,
        "The HTTP server, `[listen.http.NAME]` in `waybill.toml`, at which partners post their messages.",
    ),
    Field::preset(
        "path",
        Kind::Text,
        "/as2",
        "The path at which messages are taken: partners post to `http://ADDRESS/PATH`, or to the URL at which your reverse proxy passes on to it.",
    ),
    Field::optional(
        "host",
        Kind::Text,
        "The host name that requests must be for; left out, any. Several listeners with different hosts may share a server and path.",
    ),
    Field::optional(
        "certificate",
        Kind::Name(Section::KEY),
        "The key whose certificate clients are shown that ask for this listener's host (SNI), where the server does TLS. Left out, they are shown the server's own.",
    )
    .login(),
]);

static IDENTITY: Group = Group::of(&[
    Field::required("id", Kind::Text, "Our AS2 name: 1 to 128 printable ASCII characters, compared exactly."),
    Field::required(
        "keys",
        Kind::List(&Kind::Name(Section::KEY)),
        "Our keys: the first signs, any decrypts. Each needs a certificate. To change keys, add the new one behind the old, and put it first once the partners have its certificate.",
    )
    .login(),
]);

static PARTNER: Group = Group::of(&[
    Field::required(
        "id",
        Kind::Text,
        "The partner's AS2 name: 1 to 128 printable ASCII characters, compared exactly.",
    ),
    Field::optional(
        "certificates",
        Kind::List(&Kind::Name(Section::CERTIFICATE)),
        "Its certificates: the first encrypts, any verifies. For a rollover, put the new one first once the partner has it.",
    ),
    Field::optional("send", Kind::Table(&SEND), "How messages to it are protected."),
    Field::optional("receive", Kind::Table(&RECEIVE), "What is taken from it."),
    Field::optional("mdn", Kind::Table(&MDN), "The receipts of messages to it."),
    Field::preset(
        "accept_expired",
        Kind::Bool,
        "false",
        "Whether its certificates are used after they expired. One that is not valid yet never is.",
    ),
    Field::preset(
        "legacy",
        Kind::Bool,
        "false",
        "Whether MD5, SHA-1 and RSA keys under 2,048 bits are used with it: its signatures and receipts by them count, `digest = \"sha1\"` may be sent. Each use is a warning event, `message.legacy_used`.",
    ),
]);

model::choice_of! {
    SECURITY = SendSecurity;
    CIPHER = Cipher;
    DIGEST = DigestName;
    ASK = MdnRequest;
    DUPLICATES = DuplicatePolicy;
}

static SEND: Group = Group::of(&[
    Field::preset("security", SECURITY, "signed_encrypted", "How messages to it are protected."),
    Field::preset(
        "cipher",
        CIPHER,
        "aes256-cbc",
        "The cipher of messages to it. `3des` is for old partners only.",
    )
    .per_environment(),
    Field::preset(
        "digest",
        DIGEST,
        "sha256",
        "The digest of signatures to it, and of the MIC. `sha1` is for old partners only, and needs `legacy = true`.",
    )
    .per_environment(),
]);

static RECEIVE: Group = Group::of(&[
    Field::preset(
        "security",
        SECURITY,
        "signed_encrypted",
        "The least protection of messages from it; one with less is answered `insufficient-message-security`.",
    ),
    Field::preset(
        "largest",
        Kind::Size,
        "64GiB",
        "Largest message taken from it, at least one byte; more is refused.",
    ),
    Field::preset(
        "duplicates",
        DUPLICATES,
        "repeat",
        "How a Message-ID that was answered before is answered: the stored reply again, or a warning. The payload is processed once either way.",
    ),
]);

static MDN: Group = Group::of(&[Field::preset(
    "ask",
    ASK,
    "signed",
    "The receipt that is asked for, in the answer to the message itself.",
)]);
