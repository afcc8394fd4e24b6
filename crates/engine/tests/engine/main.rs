//! The engine on both databases: every step of a file's way, and what can go wrong at each.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod addresses;
mod answer_messages;
mod archives;
mod choosing;
mod claims;
mod counting;
mod database;
mod delivering;
mod doubtful;
mod expected;
mod failure;
mod habits;
mod identity;
mod ingest;
mod kept;
mod lanes;
mod life;
mod limits;
mod metadata;
mod operating;
mod processing;
mod receipts;
mod receiving;
mod relay;
mod revisions;
mod room;
mod scene;
mod settling;
mod streaming;
mod together;
mod unstable;
mod upkeep;
