//! Messages from partners that go on where they broke off (draft-harding-as2-restart-06).

use model::schema::{Field, Group, Kind};

/// A partner's `receive.restart`.
pub(super) static PARTNER: Group = Group::of(&[
    Field::preset(
        "accept",
        Kind::Bool,
        "true",
        "Whether a message from the partner can go on where its connection broke: what has come is kept. Only messages with a \
        transfer id (ETag) are kept, as partners send that support AS2 restart.",
    ),
    Field::preset(
        "smallest",
        Kind::Size,
        "1MiB",
        "The smallest message that is kept, in bytes of its body. One whose size is not known from its header is kept only \
        with 0.",
    ),
    Field::preset(
        "keep_for",
        Kind::Duration,
        "3d",
        "How long what has come of a message is kept after its last byte, at least a minute. After that the partner sends the \
        whole message again. \"0s\" keeps nothing.",
    ),
]);

/// A listener's `restart`.
pub(super) static LISTENER: Group = Group::of(&[
    Field::preset(
        "messages",
        Kind::Integer { min: 0, max: 1_000_000 },
        "100",
        "The most messages that are kept; half of them at most are of one partner. A further one makes room by removing the \
        messages of the same partner that were not used for the longest time, or, if nothing of its partner is kept, those of \
        the partner that has the most, if that has more than the new message takes; where that does not help, it is received \
        without being kept.",
    ),
    Field::preset(
        "bytes",
        Kind::Size,
        "128GiB",
        "The most bytes of all messages that are kept, counted whole from their first byte on; half of them at most are of one \
        partner. A larger message is received without being kept.",
    ),
]);
