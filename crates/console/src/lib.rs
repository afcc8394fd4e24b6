//! The `console` room: web pages for people, and probes for machines.
//!
//! Pages are rendered on the server and work without scripts; what comes in is a request by way of
//! `net`'s HTTP server, what goes out is read from `store`. Nothing here changes a transfer.
//!
//! Where to look: `routes` (which path is whose), `guard` (headers, and which requests are refused),
//! `door` (setup, login, sessions), `frame` (what every page has around it), `show` (how times, sizes
//! and states look), then one module for each page.

mod assets;
mod chart;
mod connections;
mod detail;
mod door;
mod events;
mod flows;
mod frame;
mod guard;
mod mdn;
mod overview;
mod probes;
mod problem;
mod query;
mod route_picture;
mod routes;
mod show;
mod site;
mod transfers;
mod trouble;
mod waybill;

pub use site::{
    Clock, Console, ConsoleSettings, EndpointVitals, JournalVitals, Random, StagingVitals, Vitals,
};
pub use trouble::{Trouble, TroubleKind};
