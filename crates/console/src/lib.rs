//! The `console` room: web pages for people, and probes for machines.
//!
//! Pages are rendered on the server and work without scripts; what comes in is a request by way of
//! `net`'s HTTP server, what goes out is read from `store`. Nothing here changes a transfer.
//!
//! Where to look, from the bottom up; each imports only what stands above it:
//! * `auth`: cookies, password hashes, the delay after failed logins
//! * `state`: what all pages share
//! * `web`: permissions (`web::access`), layout, filters, lists, error pages, how values look
//! * `pages`: a file or folder for each page
//! * `probes`: health and metrics, for machines
//! * `router`: which handler serves which path

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
