//! Files that a poll finds: from the listing to the record, and settling at the source.
//!
//! ```text
//! pollers ─▶ poll ─▶ stage ─▶ accept ─▶ record ─▶ settle
//!              └─▶ streamed (not read now) ─▶ accept
//!                               ├─▶ back_off (tried again later, refused in the end)
//!                               ├─▶ unconfirmed (read once more, taken if the file is gone by then)
//!                               └─▶ room (there is none in staging: left to a later poll)
//! ```

mod accept;
pub(crate) mod archive;
mod back_off;
pub(crate) mod claimed;
pub(crate) mod dry_run;
mod due;
mod early;
mod known;
mod names;
mod poll;
mod poll_error;
mod polled_flow;
pub(crate) mod pollers;
mod reading;
mod record;
pub(crate) mod room;
mod runs;
pub(crate) mod settle;
mod stage;
mod streamed;
mod tally;
mod turns;
pub(crate) mod unconfirmed;
pub(crate) mod unstable;
mod vanished;
