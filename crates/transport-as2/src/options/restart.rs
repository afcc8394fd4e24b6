//! Messages to partners that go on where they broke off (draft-harding-as2-restart-06).

use crate::restart_terms::AskHeld;
use model::schema::{Field, Group, Kind};

model::choice_of! {
    ASK_HELD = AskHeld;
}

/// A partner's `send.restart`.
pub(super) static SENDING: Group = Group::of(&[
    Field::preset(
        "offer",
        Kind::Bool,
        "false",
        "Whether a message to the partner whose connection was lost goes on at the first byte that the partner does not have. \
        Set it for a partner that supports AS2 restart: messages that can go on have AS2-Version 1.2, and the header fields \
        ETag and Content-Range, which other servers may refuse.",
    ),
    Field::preset(
        "smallest",
        Kind::Size,
        "16MiB",
        "The smallest message to the partner that goes on where it broke off, in bytes of its body; a smaller one is sent whole \
        again.",
    ),
    Field::preset(
        "head",
        ASK_HELD,
        "on_restart",
        "When the partner is asked how much of a message it has (HEAD): `on_restart` asks before a message goes on, `always` \
        before its first attempt as well.",
    ),
    Field::preset(
        "range_first",
        Kind::Bool,
        "true",
        "Whether the first POST of a message has Content-Range too. Some partners keep what they received only if they know \
        the size from there; set it to false for a partner that refuses it.",
    ),
]);
