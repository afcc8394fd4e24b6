//! Messages that are posted as HTML forms (`multipart/form-data`; "HTTP Transport for Secure EDI", draft-ietf-ediint-as2 of May
//! 2002, 2 and 2.1.2; appendix B): the message is the part `input-data`, and what header fields say otherwise stands in parts
//! beside it. [`crate::form_fields`] has those parts by name.
//!
//! * received: `opening` reads the parts before `input-data`, `head` makes of them and of HTTP's header fields the head of a
//!   message. From there on it is received as any other is.
//! * sent: `posting` puts a message, made as any other is, into a form.
//! * `check` says what of it cannot be, before it is in force.
//! * `notice` tells the sender of a message that it could not be processed after it was acknowledged (GISB-Error-Notification).

mod check;
mod head;
mod notice;
mod opening;
mod posting;

pub(crate) use check::definitions as check_definitions;
pub(crate) use head::head;
pub(crate) use notice::notice;
pub(crate) use opening::{OpenedForm, Unopened, is_form, open};
pub(crate) use posting::{Posting, expired};
