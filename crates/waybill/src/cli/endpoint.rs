//! `waybill endpoint …`, as clap reads it.

use clap::Subcommand;
use std::path::PathBuf;

#[derive(Subcommand, Debug)]
pub(crate) enum Endpoint {
    /// List the endpoints, the flows that use them, and which are set offline.
    List {
        /// A directory of definitions. Left out, the definitions in force in the database.
        #[arg(long, value_name = "DIR")]
        definitions: Option<PathBuf>,
    },
    /// Test an endpoint step by step, from name resolution to reading and writing, and report each step.
    Test {
        /// Its name.
        name: String,
        /// A directory of definitions. Left out, the definitions in force in the database.
        #[arg(long, value_name = "DIR")]
        definitions: Option<PathBuf>,
    },
    /// Set an endpoint offline on every node until it is set online: nothing is sent or polled there, and its
    /// files wait in order.
    Offline {
        /// Its name.
        name: String,
        /// The reason, which others see.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Set an endpoint online, whether it was set offline or is offline after failures.
    Online {
        /// Its name.
        name: String,
        /// The reason.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}
