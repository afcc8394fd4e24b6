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
    /// Poll a flow's source at once, on whichever node polls it, and tell what was found.
    ///
    /// Exit code: 0 when the source was polled, 2 when the poll failed, the endpoint is offline, or the wait was over first;
    /// with --dry-run 0 when the source was looked at; 1 when the command could not run.
    Run {
        /// Its name.
        name: String,
        /// List each file and whether a poll would take it, or why not, and take nothing. This command looks at the source
        /// itself.
        #[arg(long)]
        dry_run: bool,
        /// With --dry-run: the definitions the flow is in; without it those in force in the database.
        #[arg(long, value_name = "DIR", requires = "dry_run")]
        definitions: Option<PathBuf>,
        /// How long to wait for the end of the poll.
        #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = model::parse_duration)]
        #[arg(conflicts_with = "dry_run")]
        wait: Duration,
    },
    /// Pause a flow on every node until it is resumed: it takes no new files, and messages that it would receive are
    /// refused for the time being. What it has taken is delivered.
    Pause {
        /// Its name.
        name: String,
        /// Why, for whoever finds it paused.
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Resume a paused flow.
    Resume {
        /// Its name.
        name: String,
        /// Why.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
}
