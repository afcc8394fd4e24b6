//! What an operator does to flows and endpoints, by way of the operations.

#![allow(clippy::unwrap_used, reason = "what goes wrong here fails a test")]

mod running;
mod support;
mod suspensions;
