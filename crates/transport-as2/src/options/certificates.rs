//! Keys and certificates with the times in which they are used.

use crate::agreement::Fallback;
use crate::choice::{CERTIFICATE_USES, KEY_USES};
use model::ExchangePolicy;
use model::schema::{Field, Group, Kind, Section};

const KEY: Kind = Kind::Name(Section::KEY);
const CERTIFICATE: Kind = Kind::Name(Section::CERTIFICATE);

const KEY_OR_DATED: Kind = Kind::OneOf(&[KEY, Kind::Table(&DATED_KEY)]);
const KEY_LIST: Kind = Kind::List(&KEY_OR_DATED);
const CERTIFICATE_OR_DATED: Kind = Kind::OneOf(&[CERTIFICATE, Kind::Table(&DATED_CERTIFICATE)]);
const CERTIFICATE_LIST: Kind = Kind::List(&CERTIFICATE_OR_DATED);

model::choice_of! {
    FALLBACK = Fallback;
    POLICY = ExchangePolicy;
}

/// An identity's `keys`.
pub(super) const KEYS: Field = Field::required(
    "keys",
    KEY_LIST,
    "Our keys, each by its name or as a table with the time in which it is used. All of them decrypt; the one whose time \
    began last signs, and of several without a time the first one. Each needs a certificate. To change keys, add the new \
    one with `from`: it decrypts at once and signs from then on, so that partners can change when they like.",
)
.login();

/// An identity's `pgp_keys`.
pub(super) const PGP_KEYS: Field = Field::optional(
    "pgp_keys",
    KEY_LIST,
    "Our OpenPGP keys, for partners with `send.packaging = \"pgp\"` and for their messages: each a [key.NAME] whose \
    `private_key` is an OpenPGP private key in armour. They are chosen and changed as `keys` are; besides, each serves only \
    as long as it is valid by its own dates.",
)
.login();

static DATED_KEY: Group = Group::of(&[
    Field::required("name", KEY, "The name of the key.").login(),
    Field::optional(
        "from",
        Kind::Time,
        "When the key begins to sign. It decrypts before that as well. Left out, it has always signed.",
    ),
    Field::optional(
        "until",
        Kind::Time,
        "When the key stops signing. It still decrypts, for as long as `overlap` says. Left out, it signs until another \
        key does.",
    ),
    Field::optional(
        "uses",
        Kind::List(&Kind::Choice(&[KEY_USES.reads, KEY_USES.sends])),
        "What the key is used for. Left out, both.",
    ),
]);

/// An identity's `overlap`.
pub(super) const KEY_OVERLAP: Field = Field::preset(
    "overlap",
    Kind::Duration,
    "30d",
    "How long a key still decrypts after its `until`, for partners that change later.",
);

/// A partner's `certificates`.
pub(super) const CERTIFICATES: Field = Field::optional(
    "certificates",
    CERTIFICATE_LIST,
    "The partner's certificates, each by its name or as a table with the time in which it is used. All of them verify \
    signatures; messages are encrypted for the one whose time began last, and of several without a time for the first one. \
    When the partner announces a new certificate, add it with `from`: the time at which the partner changes.",
);

/// A partner's `pgp_keys`.
pub(super) const PARTNER_PGP_KEYS: Field = Field::optional(
    "pgp_keys",
    CERTIFICATE_LIST,
    "The partner's OpenPGP keys: each a [certificate.NAME] whose `pem` is an OpenPGP public key in armour. They are chosen \
    and changed as `certificates` are.",
);

static DATED_CERTIFICATE: Group = Group::of(&[
    Field::required("name", CERTIFICATE, "The name of the certificate."),
    Field::optional(
        "from",
        Kind::Time,
        "When messages begin to be encrypted for the certificate. It verifies signatures before that as well. Left out, \
        they always were.",
    ),
    Field::optional(
        "until",
        Kind::Time,
        "When messages are no longer encrypted for the certificate. It still verifies signatures, for as long as `overlap` \
        says. Left out, they are encrypted for it until another one takes its place.",
    ),
    Field::optional(
        "uses",
        Kind::List(&Kind::Choice(&[CERTIFICATE_USES.sends, CERTIFICATE_USES.reads])),
        "What the certificate is used for. Left out, both.",
    ),
]);

/// A partner's `overlap`.
pub(super) const CERTIFICATE_OVERLAP: Field = Field::preset(
    "overlap",
    Kind::Duration,
    "30d",
    "How long a certificate still verifies signatures after its `until`, for a partner that changes later.",
);

/// A partner's `fallback`.
pub(super) const FALLBACK_ONCE: Field = Field::preset(
    "fallback",
    FALLBACK,
    "no",
    "Whether a message is sent once more, as a new message, when the partner's receipt says that it could not decrypt it \
    (`decryption-failed`: then encrypted for another of its certificates) or verify it (`authentication-failed`: then \
    signed with another of our keys). `once` helps where the partner changes earlier or later than agreed: the other \
    certificate or key is used outside its time, which is recorded as a warning event, `certificate.fallback_used`.",
);

/// A partner's `certificate_exchange`.
pub(super) const EXCHANGE: Field = Field::preset(
    "certificate_exchange",
    POLICY,
    "ask",
    "What is done when the partner proposes new certificates in a signed message (Certificate Exchange Messaging): `ask` \
    waits until a person accepts or rejects them (`waybill cert proposals`, or the page of certificates), `accept` accepts \
    those for messages, `refuse` rejects them.",
);
