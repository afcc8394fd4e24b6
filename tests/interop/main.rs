//! AS2 against implementations that share no code with Waybill (pyas2lib, libas2, asx-rs), against `openssl cms`, and
//! against what nobody should send.

#![allow(clippy::disallowed_methods, reason = "what goes over the wire is written by hand")]

mod appendix;
mod asx;
mod async_receipts;
mod attachments;
mod cem;
mod evidence;
mod exchanges;
mod fields;
mod forms;
mod hostile;
mod https;
mod hub;
mod largest;
mod layers;
mod leniency;
mod login;
mod memory;
mod misbehaving;
mod names;
mod oracle;
mod pgp;
mod pgp_evidence;
mod pgp_replies;
mod proxies;
mod raw;
mod receipts;
mod receiving;
mod refused;
mod replies;
mod restart_nodes;
mod restart_receiving;
mod restart_sending;
mod restart_wire;
mod rollover;
mod sending;
mod table;
mod twice;
mod vectors;
