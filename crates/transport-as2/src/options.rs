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
        "Messages between trading partners over HTTP, signed, encrypted and confirmed with receipts (RFC \
        4130).",
    )
};

static ENDPOINT: Group = Group::of(&[
    Field::required("partner", Kind::Name(Section::PARTNER), "The partner that the files go to."),
    Field::required("identity", Kind::Name(Section::IDENTITY), "The identity under which we send."),
    Field::optional(
        "media_type",
        Kind::Text,
        "Media type of the files, such as application/edi-x12. Left out: the media type from the source; if \
        there is none, the one for the file's extension; otherwise application/octet-stream.",
    ),
    Field::preset(
        "answer_timeout",
        Kind::Duration,
        "300s",
        "The longest wait for the partner's answer after the last byte was sent. \"0s\" waits for 24 hours.",
    ),
    Field::preset(
        "chunked",
        Kind::Bool,
        "false",
        "Whether messages are sent without Content-Length (chunked). Some partners refuse that; use it only \
        for partners that ask for it.",
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
        "The path that partners send messages to: `http://ADDRESS/PATH`, or the URL that your reverse proxy \
        forwards to it.",
    ),
    Field::optional(
        "host",
        Kind::Text,
        "The host name in the partners' URL; left out, any host name is accepted. Several listeners with \
        different hosts may share a server and path.",
    ),
    Field::optional(
        "certificate",
        Kind::Name(Section::KEY),
        "The name of the [key.NAME] whose certificate TLS clients get when they ask for this listener's \
        host (SNI). Left out, they get the server's own certificate.",
    )
    .login(),
]);

static IDENTITY: Group = Group::of(&[
    Field::required("id", Kind::Text, "Our AS2 name: 1 to 128 printable ASCII characters, compared exactly."),
    Field::required(
        "keys",
        Kind::List(&Kind::Name(Section::KEY)),
        "Our keys. The first one signs; all of them decrypt. Each needs a certificate. To change keys, add \
        the new one at the end, and move it to the first place when the partners have its certificate.",
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
        "The partner's certificates. The first one encrypts; all of them verify signatures. When the \
        partner changes its certificate, put the new one first as soon as the partner uses it.",
    ),
    Field::optional("send", Kind::Table(&SEND), "How messages to the partner are protected."),
    Field::optional("receive", Kind::Table(&RECEIVE), "Which messages from the partner are accepted."),
    Field::optional("mdn", Kind::Table(&MDN), "The receipts that we ask the partner for."),
    Field::preset(
        "accept_expired",
        Kind::Bool,
        "false",
        "Whether the partner's certificates are still used after they have expired. A certificate that is \
        not valid yet is never used.",
    ),
    Field::preset(
        "legacy",
        Kind::Bool,
        "false",
        "Whether MD5, SHA-1 and RSA keys under 2,048 bits are allowed with this partner: its signatures and \
        receipts may use them, and `digest = \"sha1\"` may be set. Each use is recorded as a warning event, \
        `message.legacy_used`.",
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
    Field::preset("security", SECURITY, "signed_encrypted", "How messages to the partner are protected."),
    Field::preset(
        "cipher",
        CIPHER,
        "aes256-cbc",
        "The cipher of messages to the partner. `3des` is for old partners only.",
    )
    .per_environment(),
    Field::preset(
        "digest",
        DIGEST,
        "sha256",
        "The digest of our signatures and of the MIC. `sha1` is for old partners only, and needs `legacy = \
        true`.",
    )
    .per_environment(),
]);

static RECEIVE: Group = Group::of(&[
    Field::preset(
        "security",
        SECURITY,
        "signed_encrypted",
        "How messages from the partner must be protected at least. A message with less protection is \
        refused with `insufficient-message-security`.",
    ),
    Field::preset(
        "largest",
        Kind::Size,
        "64GiB",
        "The largest message that is accepted from the partner, at least one byte; a larger one is refused.",
    ),
    Field::preset(
        "duplicates",
        DUPLICATES,
        "repeat",
        "How a message is answered whose Message-ID was answered before: `repeat` sends the stored reply \
        again, `warn` sends a warning. The payload is processed only once in both cases.",
    ),
]);

static MDN: Group = Group::of(&[Field::preset(
    "ask",
    ASK,
    "signed",
    "Which receipt (MDN) we ask for: `signed`, `unsigned` or `none`. It comes in the answer to the message \
    (synchronous).",
)]);
