//! What may be said to AS2, declared.

mod certificates;
mod forms;
mod kept;
mod replies;
mod restart;

use crate::agreement::{
    Cipher, Compression, DigestName, DuplicatePolicy, KeyTransport, MdnRequest, NAME, Order, Packaging,
    RsaSignature, SendSecurity, SignatureForm,
};
use crate::file_names::FileNameForm;
use crate::header_options::ContentCoding;
use crate::unknown::UnknownAnswer;
use model::schema::{Field, Group, Kind, Paths, Roles, Rule, Scheme, Section, TEXTS, TransportSpec};

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
    destination: &[&replies::DESTINATION, &forms::DESTINATION],
    sends_attachments: true,
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
    Field::optional(
        "credential",
        Kind::Name(Section::CREDENTIAL),
        "The name of a [credential.NAME] with the user name and password for a server that asks for a login (401).",
    )
    .login(),
    Field::optional(
        "authentication",
        Kind::Choice(&["basic", "digest"]),
        "How to log in. Left out: the message is sent without a login, and once more with one when the server asks for it: \
        by digest, or by basic where it takes no digest; after that, with every message. `basic` sends user name and \
        password with the first message already. `digest` never sends the password, and refuses servers that want it.",
    )
    .login(),
])
.with(&[Rule::Needs("authentication", "credential")]);

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
    Field::optional(
        "credential",
        Kind::Name(Section::CREDENTIAL),
        "The name of a [credential.NAME] by which partners must log in to this listener (basic authentication), with messages \
        and with receipts. Left out: no login, and nothing but signatures says who sends. Use it over HTTPS.",
    )
    .login(),
    Field::preset(
        "unknown",
        UNKNOWN,
        "receipt",
        "How a message is answered whose AS2 names are not defined here; it is recorded, and never accepted. `receipt`: with \
        an unsigned receipt (`unknown-trading-partner`) where the sender asked for one, else as `answer_with_reason`. \
        `answer`: with status 200 and nothing else. `answer_with_reason`: with status 200 and the reason as text. `refuse`: \
        with status 422 and the reason. `drop`: the connection is closed before the message is read.",
    ),
    Field::optional(
        "largest",
        Kind::Size,
        "The largest message that is accepted at this listener, at least one byte; a larger one is refused, also where the \
        partner's `receive.largest` allows more. Left out, the partner's alone counts.",
    ),
    Field::optional(
        "restart",
        Kind::Table(&kept::LISTENER),
        "How much is kept of messages that have arrived in part, of all partners together.",
    ),
]);

static IDENTITY: Group = Group::of(&[
    Field::required("id", Kind::Text, "Our AS2 name: 1 to 128 printable ASCII characters, compared exactly."),
    certificates::KEYS,
    certificates::PGP_KEYS,
    certificates::KEY_OVERLAP,
]);

static PARTNER: Group = Group::of(&[
    Field::required(
        "id",
        Kind::Text,
        "The partner's AS2 name: 1 to 128 printable ASCII characters, compared exactly.",
    ),
    certificates::CERTIFICATES,
    certificates::PARTNER_PGP_KEYS,
    certificates::CERTIFICATE_OVERLAP,
    certificates::FALLBACK_ONCE,
    certificates::EXCHANGE,
    Field::optional("send", Kind::Table(&SEND), "How messages to the partner are protected."),
    Field::optional("receive", Kind::Table(&RECEIVE), "Which messages from the partner are accepted."),
    Field::optional(
        "mdn",
        Kind::Table(&MDN),
        "Receipts (MDNs): those that we ask the partner for, and where ours may be sent.",
    ),
    Field::optional(
        "form",
        Kind::Table(&forms::FORM),
        "Messages to the partner as HTML forms: see [forms](gisb.md).",
    ),
    forms::REPORTS,
    Field::optional(
        "evidence",
        Kind::Table(&EVIDENCE),
        "What is kept to prove messages from and to the partner later: see [evidence](evidence.md).",
    ),
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
        "Whether MD5, SHA-1, triple DES and RSA keys under 2,048 bits are allowed with this partner: its messages \
        and receipts may use them, and `digest = \"sha1\"`, `\"md5\"` and `cipher = \"3des\"` may be set. Each use \
        is recorded as a warning event, `message.legacy_used`.",
    ),
]);

model::choice_of! {
    SECURITY = SendSecurity;
    PACKAGING = Packaging;
    CIPHER = Cipher;
    DIGEST = DigestName;
    COMPRESSION = Compression;
    ORDER = Order;
    SIGNATURE_FORM = SignatureForm;
    RSA_SIGNATURE = RsaSignature;
    KEY_TRANSPORT = KeyTransport;
    ASK = MdnRequest;
    DUPLICATES = DuplicatePolicy;
    UNKNOWN = UnknownAnswer;
    CONTENT_CODING = ContentCoding;
    FILE_NAMES = FileNameForm;
}

static SEND: Group = Group::of(&[
    Field::preset("security", SECURITY, "signed_encrypted", "How messages to the partner are protected."),
    Field::preset(
        "packaging",
        PACKAGING,
        "smime",
        "By which standard messages to the partner are signed and encrypted: `smime` (RFC 8551), as nearly all partners expect, \
        or `pgp` (PGP/MIME, RFC 3156), with the `pgp_keys` of the identity and of the partner. Receipts are then asked for \
        with a signature of the same standard. Messages from the partner may be packaged either way.",
    )
    .per_environment(),
    Field::preset(
        "cipher",
        CIPHER,
        "aes256-cbc",
        "The cipher of messages to the partner. Ask the partner before you choose one of GCM (RFC 5084), which many \
        products cannot read; such a message is 64 GiB at most. `3des` is for old partners only, and needs `legacy = \
        true`.",
    )
    .per_environment(),
    Field::preset(
        "digest",
        DIGEST,
        "sha256",
        "The digest of our signatures and of the MIC. `sha1` and `md5` are for old partners only, and need `legacy = \
        true`.",
    )
    .per_environment(),
    Field::preset(
        "compress",
        COMPRESSION,
        "no",
        "Whether messages are compressed with zlib (RFC 5402). `before_signing` compresses the payload, `after_signing` the \
        signed message; without a signature both are the same. A compressed message is written to staging whole before \
        it is sent, so that its length is known and every attempt sends the same bytes.",
    ),
    Field::preset(
        "order",
        ORDER,
        "sign_then_encrypt",
        "What is done first to messages that are both signed and encrypted. Nearly all partners expect \
        `sign_then_encrypt`.",
    ),
    Field::preset(
        "signature_form",
        SIGNATURE_FORM,
        "detached",
        "Where the signature is: `detached`, beside the content (`multipart/signed`, as RFC 4130 has it and nearly all \
        partners expect), or `opaque`, around the content (`smime-type=signed-data`).",
    ),
    Field::preset(
        "rsa_signature",
        RSA_SIGNATURE,
        "pkcs1",
        "How our messages are signed where our key is an RSA key. Every product can verify `pkcs1` (PKCS #1 v1.5); `pss` \
        (RFC 4056) is safer, where the partner can verify it. An EC key signs by ECDSA, an Ed25519 key by EdDSA with \
        SHA-512 (RFC 8419): ask the partner first.",
    )
    .per_environment(),
    Field::preset(
        "key_transport",
        KEY_TRANSPORT,
        "pkcs1",
        "How the content key is encrypted for a certificate with an RSA key. Every product can read `pkcs1`; OAEP (RFC \
        8017) is safer, where the partner can read it. For a certificate with an EC key both sides agree on a key \
        (ECDH, RFC 5753).",
    )
    .per_environment(),
    Field::optional(
        "subject",
        Kind::Text,
        "The Subject of messages to the partner, with fields in braces: `{name}` (the file's name), `{stem}`, `{ext}`, `{from}` \
        and `{to}` (the AS2 names), `{message_id}`. Left out: `EDI`.",
    ),
    Field::optional(
        "from",
        Kind::Text,
        "An e-mail address of ours for the header fields `From` and `Disposition-Notification-To`, for partners that expect \
        one there. Left out: no `From`, and our AS2 name as `Disposition-Notification-To`.",
    ),
    Field::optional("to", Kind::Text, "An e-mail address of the partner for the header field `To`. Left out: no `To`."),
    Field::preset("date", Kind::Bool, "true", "Whether messages have the header field `Date`."),
    Field::preset(
        "features",
        Kind::Bool,
        "false",
        "Whether messages say what this gateway can do (`EDIINT-Features`, RFC 6017), and AS2-Version 1.2 with it. Otherwise \
        the version is 1.1 for a compressed message, and 1.0 for others. What the partner says is shown with its receipts and \
        messages.",
    ),
    Field::preset(
        "content_coding",
        CONTENT_CODING,
        "no",
        "HTTP's coding of messages to the partner (Content-Encoding), for the few that ask for it; most cannot read it. To \
        send less, compress the message itself (`compress`), before it is encrypted.",
    ),
    Field::preset(
        "file_names",
        FILE_NAMES,
        "extended",
        "How the names of files are written that are more than printable ASCII: `extended` (`filename*=UTF-8''…`, RFC 2231), \
        `extended_with_ascii` (the same, with a name in ASCII before it, for partners that do not read the first; some that \
        read both take the ASCII one), or `encoded_word` (`filename=\"=?UTF-8?B?…?=\"`, RFC 2047), for old products that \
        read nothing else.",
    ),
    Field::optional(
        "restart",
        Kind::Table(&restart::SENDING),
        "Large messages to the partner that go on where their connection broke (AS2 restart).",
    ),
    Field::optional(
        "also_encrypt_for",
        Kind::List(&Kind::Name(Section::CERTIFICATE)),
        "More certificates that can decrypt messages to the partner, such as that of an archive of its own. The \
        partner's own certificate stands before them; some products cannot read messages for several.",
    ),
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
        "How a message is answered that was answered before, with the same Message-ID and the same content: `repeat` \
        sends the stored reply again, `warn` sends a warning (`processed/warning: duplicate-document`), `error` an \
        error (`processed/error: duplicate-document`). The payload is processed only once in all cases. A message with \
        the same Message-ID and other content is always refused.",
    ),
    Field::optional(
        "restart",
        Kind::Table(&kept::PARTNER),
        "Messages from the partner that go on where their connection broke (AS2 restart).",
    ),
    replies::ANSWER_WITHIN,
]);

static EVIDENCE: Group = Group::of(&[
    Field::preset(
        "retention",
        Kind::Duration,
        "365d",
        "How long it is kept from the moment when a message was received or delivered. \"0s\" keeps nothing.",
    ),
    Field::preset(
        "content",
        Kind::Bool,
        "true",
        "Whether the content of messages is kept as long, also where the flow's `retention` is shorter. With `false` it is \
        removed with the flow's retention; what is kept then proves the digest of the content, and whoever has the \
        file can prove it with that.",
    ),
]);

static MDN: Group = Group::of(&[
    Field::preset(
        "ask",
        ASK,
        "signed",
        "Which receipt (MDN) we ask for: `signed`, `unsigned` or `none`. It comes in the answer to the message \
        (synchronous), unless `reply_to` is given.",
    ),
    forms::REPORT_TYPE,
    Field::optional(
        "reply_to",
        Kind::NameOf(&[Section::LISTENER]),
        "The AS2 listener of ours to which the partner sends its receipts later (asynchronous), such as \
        \"listener:as2\". A delivery then waits for its receipt, which may come to any node. Left out, receipts come in \
        the answers to our messages.",
    ),
    Field::optional(
        "url",
        Kind::Text,
        "With `reply_to`: the listener's URL as the partner reaches it, `http://` or `https://`, for example that of a \
        reverse proxy in front. Left out, it is made of the listener's `host` and `path` and the port of its HTTP server.",
    )
    .per_environment(),
    Field::preset(
        "deadline",
        Kind::Duration,
        "24h",
        "With `reply_to`: how long a receipt is awaited. After that the attempt has failed, and the same message is sent \
        again, as the flow's `retry` says; a partner that has it answers with its receipt.",
    ),
    Field::optional(
        "hosts",
        TEXTS,
        "Hosts to which our own receipts may be sent later, where the partner's messages ask for that, besides the \
        servers of the partner's endpoints (the same scheme, host and port, or HTTPS): masks such as \
        \"*.globex.example\", at every port. The URL stands in the message, which anybody may send: a message that asks \
        for a receipt elsewhere is refused (HTTP status 403).",
    )
    .per_environment(),
])
.with(&[Rule::Needs("url", "reply_to")]);
