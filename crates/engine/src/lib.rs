//! The flow engine: schedule, claim, stage, deliver, retry, settle, recover.
//!
//! A file's way through this room (design, section 4):
//!
//! ```text
//! ingest:  poll ── discover ─▶ stage ── copy, hash, sync ─▶ record ── one transaction ─▶ settle
//! receive: intake ── begin ──▶ parts ── copy, hash, sync ─▶ commit ── one transaction ─▶ answer the peer
//!                                                             │
//! deliver: dispatch ◀── claim ── database ◀───────────────────┘
//!              └─▶ attempt ── destination.deliver ─▶ conclude ── receipt, events, replies in one transaction
//! ```
//!
//! The database is the queue; nothing that matters lives only in memory. `maintenance` does what time asks
//! for: lapsed leases, late receipts, retention, seals; `node` keeps this node's lease. What all of them hold is
//! `context`, which knows none of them: modules use those above them in the list of `docs/architecture.md`, never back.
//! The engine knows no protocol by name.

mod clock;
mod context;
mod crash;
mod deliver;
mod engine;
mod guard;
mod health;
mod history;
mod ids;
mod ingest;
mod maintenance;
mod node;
mod operate;
mod parts;
mod receive;
mod services;
mod settings;
mod staged;
mod suspensions;
mod transfers;
mod trial;

pub use clock::{SystemClock, SystemRandom};
#[doc(hidden)]
pub use crash::point as crash_point;
pub use engine::Engine;
pub use health::{EndpointHealth, EndpointState};
pub use history::{FlowAt, FlowHistory};
pub use ingest::dry_run::{DryRun, FileLeft, FileSeen};
pub use ingest::unstable::{UnstableFiles, WithheldFile};
pub use maintenance::repeat::Maintenance;
pub use parts::Parts;
pub use settings::EngineSettings;
pub use trial::{Trial, TrialRole};
