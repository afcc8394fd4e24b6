//! What people do to flows, endpoints and users, by way of the operations.

#![allow(clippy::unwrap_used, reason = "what goes wrong here fails a test")]

mod by_hand;
mod evidence;
mod exchange;
mod known_hosts;
mod running;
mod support;
mod suspensions;
mod trying;
mod users;
