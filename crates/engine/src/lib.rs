//! The flow engine: schedule, claim, stage, deliver, retry, settle, recover.
//!
//! The steps of a file in the engine:
//!
//! ```text
//! ingest:  poll ── discover ─▶ stage ── copy, hash, sync ─▶ record ── one transaction ─▶ settle
//! receive: intake ── begin ──▶ parts ── copy, hash, sync ─▶ commit ── one transaction ─▶ answer the peer
//!                                                             │
//! processing: dispatch ◀── claim ── where the flow has steps ─┤
//!              └─▶ make ── a staged payload into a new one ─▶ conclude ── one transaction
//!                                                             │
//! deliver: dispatch ◀── claim ── database ◀───────────────────┘
//!              └─▶ attempt ── destination.deliver ─▶ conclude ── receipt, events, replies in one transaction
//! ```
//!
//! The database is the queue; nothing important is only in memory. `maintenance` does the periodic work:
//! lapsed leases, late receipts, retention, seals; `node` renews this node's lease. All of them share
//! `context`, which does not depend on them: modules use only those above them in the list in
//! `docs/architecture.md`. The engine names no protocol.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod addresses;
mod at_source;
mod by_hand;
mod claim_loop;
mod clock;
mod context;
mod crash;
mod deliver;
mod engine;
mod guard;
mod health;
mod history;
mod host_keys;
mod ids;
mod ingest;
mod maintenance;
mod node;
mod operate;
mod pace;
mod parts;
mod processing;
mod proof;
mod queues;
mod receive;
mod replies;
mod services;
mod settings;
mod staged;
mod staged_payloads;
mod suspensions;
mod transfers;
mod trial;

pub use by_hand::{FileByHand, sent_by_hand};
pub use clock::{SystemClock, SystemRandom};
#[doc(hidden)]
pub use crash::point as crash_point;
pub use engine::Engine;
pub use health::{EndpointHealth, EndpointState};
pub use history::{FlowAt, FlowHistory};
pub use host_keys::KnownHostList;
pub use ingest::dry_run::{DryRun, FileLeft, FileSeen, StepSeen};
pub use ingest::room::StagingRoom;
pub use ingest::unstable::{UnstableFiles, WithheldFile};
pub use maintenance::repeat::Maintenance;
pub use parts::Parts;
pub use settings::EngineSettings;
pub use staged_payloads::StagedPayloads;
pub use transfers::{add_metadata, failure_route, new_deliveries};
pub use trial::{Trial, TrialRole, Tried};
