//! AS2 against implementations that share no code with Waybill (pyas2lib, libas2), against `openssl cms`, and
//! against what nobody should send.

#![allow(clippy::disallowed_methods, reason = "what goes over the wire is written by hand")]

mod async_receipts;
mod evidence;
mod exchanges;
mod fields;
mod hostile;
mod https;
mod hub;
mod layers;
mod leniency;
mod login;
mod memory;
mod misbehaving;
mod names;
mod oracle;
mod proxies;
mod raw;
mod receipts;
mod receiving;
mod refused;
mod rollover;
mod sending;
mod table;
mod twice;
