//! The behaviour of the store, each test on both databases.

mod actions;
mod cancelling;
mod claims;
mod commits;
mod crash;
mod evidence;
pub(crate) mod fixture;
mod hours;
mod intake;
mod lanes;
mod mdns;
mod name_counters;
mod nodes;
mod offers;
mod payloads;
mod processing;
mod proxy;
mod receipts;
mod resubmitting;
mod schema;
mod selecting;
mod server;
mod streaming;
mod unreadable;
mod values;
mod writing;
