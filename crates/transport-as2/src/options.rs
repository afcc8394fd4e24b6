//! What an AS2 endpoint can be told.

use model::{OptionKind, OptionSpec};
use net::{CONNECT_FIELDS, TLS_FIELDS};

/// The declared options.
pub(crate) const OPTIONS: &[OptionSpec] = &ALL;

const ALL: [OptionSpec; OWN.len() + CONNECT_FIELDS.len() + TLS_FIELDS.len()] =
    OptionSpec::join(&[OWN, &CONNECT_FIELDS, &TLS_FIELDS]);

/// Those of AS2 alone.
const OWN: &[OptionSpec] = &[
    OptionSpec {
        name: "media_type",
        kind: OptionKind::Text,
        default: None,
        required: false,
        doc: "Media type of what is sent, such as application/edi-x12. Left out: the one the source told, else by the file's extension, else application/octet-stream.",
    },
    OptionSpec {
        name: "answer_timeout",
        kind: OptionKind::Duration,
        default: Some("300s"),
        required: false,
        doc: "Longest wait for the partner's answer after the last byte was sent.",
    },
    OptionSpec {
        name: "chunked",
        kind: OptionKind::Bool,
        default: Some("false"),
        required: false,
        doc: "Send without Content-Length. Some partners refuse that; needed only for those that ask for it.",
    },
];
