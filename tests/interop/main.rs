//! AS2 against an implementation that shares no code with Waybill (pyas2lib), against `openssl cms`, and
//! against what nobody should send.

#![allow(clippy::disallowed_methods, reason = "what goes over the wire is written by hand")]

mod hostile;
mod https;
mod hub;
mod leniency;
mod memory;
mod misbehaving;
mod names;
mod oracle;
mod raw;
mod receipts;
mod receiving;
mod refused;
mod sending;
mod twice;
