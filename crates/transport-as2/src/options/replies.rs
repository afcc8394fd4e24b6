//! Payloads in answers: the partner's in the answers to our messages, and ours in the answers to its messages.

use model::schema::{Field, Group, Kind, Section};

/// What a flow's destination says.
pub(super) static DESTINATION: Group = Group::of(&[
    Field::optional(
        "response",
        Kind::Table(&RESPONSE),
        "What becomes of a payload in the partner's answer to a message, such as a quote in answer to a request for one. Left \
        out, it is held, and shown for a person.",
    ),
    Field::optional(
        "answer_to",
        Kind::Text,
        "The message of the partner that each file answers, made of the file's name as it was received: `{name}`, `{stem}` (the \
        name without its extension) or `{ext}`. It is the message's Message-ID, with or without its angle brackets, or the id \
        of its transfer here (`{transfer}` in a destination's `file_name`). While the connection of that message waits (the \
        partner's `receive.answer_within`), the file goes into its answer, if `mdn.ask` asks for a receipt; else it is sent as a \
        message of its own. So are files for a partner whose messages are protected by PGP/MIME (`send.packaging = \"pgp\"`) or \
        have a content coding (`send.content_coding`), always.",
    ),
]);

static RESPONSE: Group = Group::of(&[Field::required(
    "flow",
    Kind::Name(Section::FLOW),
    "The flow through which it goes, to that flow's destinations. What the flow takes from its own source, and whether it is \
    paused, makes no difference.",
)]);

/// A partner's `receive.answer_within`.
pub(super) const ANSWER_WITHIN: Field = Field::optional(
    "answer_within",
    Kind::Duration,
    "How long the answer to a message of the partner waits for a file that answers it (`answer_to` of a flow's destination), \
    at most \"10m\". Then the partner gets the receipt alone, and the file, when it comes, is sent as a message of its own. Left \
    out, nothing is waited for. Messages whose receipt comes later are answered at once. It needs `duplicates = \"repeat\"`.",
);
