//! `waybill endpoint …`, as clap reads it.

use clap::Subcommand;
use std::path::PathBuf;

#[derive(Subcommand, Debug)]
pub(crate) enum Endpoint {
    /// List the endpoints, what flows do with them, and which are set offline.
    List {
        /// The definitions they are in; without it those in force in the database.
        #[arg(long, value_name = "DIR")]
        definitions: Option<PathBuf>,
    },
    /// Try every step of reaching an endpoint and report each.
    Test {
        /// Its name.
        name: String,
        /// The definitions it is in; without it those in force in the database.
        #[arg(long, value_name = "DIR")]
        definitions: Option<PathBuf>,
    },
    /// Set an endpoint offline on every node until it is set online: nothing is tried there, and its files wait in order.
    Offline {
        /// Its name.
        name: String,
        /// Why, for whoever finds it offline.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Let an endpoint be tried again: one that was set offline, and one that is offline after failures.
    Online {
        /// Its name.
        name: String,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}
