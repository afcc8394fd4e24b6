//! The flow engine: schedule, claim, stage, deliver, retry, settle, recover.
//!
//! A file's way through this room (design, section 4):
//!
//! ```text
//! poller ── discover ─▶ stage ── copy, hash, sync ─▶ record ── one transaction ─▶ settle
//! intake ── begin ────▶ parts ── copy, hash, sync ─▶ commit ── one transaction ─▶ answer the peer
//!                                                      │
//! dispatcher ◀── claim ── database ◀───────────────────┘
//!     └─▶ attempt ── destination.deliver ─▶ finish ── receipt, events, replies in one transaction
//! ```
//!
//! The database is the queue; nothing that matters lives only in memory. `upkeep` does what time asks
//! for: lapsed leases, late receipts, retention, seals. The engine knows no protocol by name.

mod adapters;
mod attempt;
mod clock;
mod crash;
mod dispatcher;
mod endpoints;
mod guard;
mod intake;
mod kept;
mod lease;
mod poller;
mod reading;
mod recording;
mod running;
mod settling;
mod shared;
mod staging_area;
mod taking;
mod unstable;
mod upkeep;

pub use clock::{SystemClock, SystemRandom};
pub use endpoints::{EndpointHealth, EndpointState};
pub use running::{Engine, EngineSettings, Parts, Upkeep};
pub use unstable::{KeptBack, UnstableFiles};
