//! What an AS2 endpoint can be told.

use model::{OptionKind, OptionSpec};

/// The declared options.
pub(crate) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "media_type",
        kind: OptionKind::Text,
        default: None,
        required: false,
        doc: "Media type of what is sent, such as application/edi-x12. Left out: the one the source told, else by the file's extension, else application/octet-stream.",
    },
    OptionSpec {
        name: "tls_authorities",
        kind: OptionKind::Text,
        default: None,
        required: false,
        doc: "Certificates (PEM) of the authorities that may vouch for the partner's web server. Left out: the system's authorities. These are apart from the certificates that sign and encrypt messages.",
    },
    OptionSpec {
        name: "tls_pins",
        kind: OptionKind::List,
        default: None,
        required: false,
        doc: "SHA-256 fingerprints of the web server's certificate: exactly one of these is accepted, self-signed or not, and nothing else.",
    },
    OptionSpec {
        name: "timeout",
        kind: OptionKind::Duration,
        default: Some("60s"),
        required: false,
        doc: "Longest time without a byte moving while a message is sent or its answer read.",
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
