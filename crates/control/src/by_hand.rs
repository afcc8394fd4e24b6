//! Files that a person sends to an endpoint by hand, and test messages: each is a transfer of its own, which goes through no
//! flow and is delivered by the gateway as any other. All of it needs [`model::Permission::OperateTransfers`].

mod choose;
mod send;
mod test_message;
mod way;

pub use choose::{ChooseEndpoint, ChosenEndpoint};
pub use send::{FileToSend, SentFile};
pub use test_message::{TEST_SUBJECT, is_test_name};
pub use way::{ExchangeStep, Explained, StepStanding, explain};
