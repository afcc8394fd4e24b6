//! The web console for people, and health checks and metrics for monitoring.
//!
//! Pages are rendered on the server and work without scripts. Requests come through `net`'s HTTP server; the
//! data is read from `store`. Nothing here changes a transfer.
//!
//! Where to look, from the bottom up; each imports only what stands above it:
//! * `auth`: cookies, password hashes, the delay after failed logins
//! * `state`: what all pages share
//! * `web`: permissions (`web::access`), layout, filters, lists, error pages, how values look
//! * `pages`: a file or folder for each page
//! * `probes`: health and metrics, for machines
//! * `router`: which handler serves which path

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod auth;
mod console;
mod pages;
mod probes;
mod router;
mod state;
mod web;

pub use console::Console;
pub use state::active_problem::{ActiveProblem, ProblemKind};
pub use state::node_status::{EndpointStatus, JournalStatus, NodeStatus, StagingStatus};
pub use state::{Clock, ConsoleSettings, Random};
pub use web::routes::{Access, ConsoleRoute};
