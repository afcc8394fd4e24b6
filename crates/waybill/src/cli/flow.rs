//! `waybill flow …`, as clap reads it.

use clap::Subcommand;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Subcommand, Debug)]
pub(crate) enum Flow {
    /// List the flows, and which of them are paused.
    List,
    /// Show one flow.
    Show {
        /// Its name.
        name: String,
    },
    /// Poll a flow's source now, on the node that polls it, and show the result.
    ///
    /// Exit code: 0 when the source was polled, 2 when the poll failed, the endpoint is offline, or the poll
    /// did not end in time;
    /// with --dry-run, 0 when the source could be listed; 1 when the command could not run.
    Run {
        /// Its name.
        name: String,
        /// List each file, with whether a poll would read it or why not. Reads no files. This command
        /// connects to the source
        /// itself.
        #[arg(long)]
        dry_run: bool,
        /// With --dry-run: a directory of definitions. Left out, the definitions in force in the database.
        #[arg(long, value_name = "DIR", requires = "dry_run")]
        definitions: Option<PathBuf>,
        /// How long to wait for the end of the poll.
        #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = model::parse_duration)]
        #[arg(conflicts_with = "dry_run")]
        wait: Duration,
    },
    /// Pause a flow on every node until it is resumed: it accepts no new files, and messages for it are
    /// refused until then. Files that it has accepted before are delivered.
    Pause {
        /// Its name.
        name: String,
        /// The reason, which others see.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Resume a paused flow.
    Resume {
        /// Its name.
        name: String,
        /// The reason.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}
