//! Notes of deliveries that more than the transport which writes them reads.

/// The key of the note that is written before a file is published; null once it is certain that nothing was published.
pub const PUBLISHING: &str = "publishing";

/// Its field with the paths that may remain at the destination if nobody acts for the delivery any more.
pub const MAY_REMAIN: &str = "may_remain";

/// The key of the note that a delivery was put into the answer to a message, with its key, the attempt and the time (`at`); written in the same transaction.
pub const GIVEN_ANSWER: &str = "given_answer";

/// The key of the note that says how much of what an attempt sends has left ([`crate::SendProgress`]). Nothing depends on it.
pub const ON_THE_WIRE: &str = "on_the_wire";
