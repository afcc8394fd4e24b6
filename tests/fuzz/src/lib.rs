//! What the fuzzers of messages from partners run: each target takes any bytes and panics on what must not happen.
//!
//! The fuzzer links them with its instructions (`run.sh`). Here they are built with the workspace, and the test reads
//! the fuzzer's seeds, so that a change that a target does not follow shows at once.
#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a panic is how a target tells of a finding"
)]

pub mod cms;
pub mod content_range;
pub mod exchange;
pub mod form_data;
pub mod headers;
pub mod mdn;
pub mod message;
pub mod pgp;
mod support;

use std::path::PathBuf;
use std::sync::OnceLock;

/// The folder of seeds and their keys that `run.sh` makes; that of the variable `FUZZ_SEEDS` unless it was set.
pub static SEEDS: OnceLock<PathBuf> = OnceLock::new();

/// A target: reads one input.
pub type Target = fn(&[u8]);

/// All targets by their names, which are also those of the folders of their seeds.
pub const TARGETS: [(&str, Target); 8] = [
    ("cms", cms::run),
    ("content_range", content_range::run),
    ("exchange", exchange::run),
    ("form_data", form_data::run),
    ("headers", headers::run),
    ("mdn", mdn::run),
    ("message", message::run),
    ("pgp", pgp::run),
];
