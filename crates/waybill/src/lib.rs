//! The `waybill` program: the command line, and the code that connects all crates. Only this crate names
//! every transport.
//!
//! [`run`] reads the command line. `gateway` starts a complete gateway, for `serve` and, twice in one
//! process, for `demo`. `commands` has one file for each command.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod certificate_ends;
mod certificate_exchange;
mod cli;
mod command_session;
mod commands;
mod console_server;
mod descriptors;
mod directory;
mod gateway;
mod journal_log;
mod listeners;
mod logging;
mod maintenance;
mod process;
mod readiness;
mod revisions;
mod seal_copies;
mod servers;
mod stale_journals;
mod timestamps;
mod transports;

use clap::Parser;
use std::process::ExitCode;
use std::time::Duration;

/// Help and version were asked for; anything else is a command that could not run.
fn usage(told: &clap::Error) -> ExitCode {
    // Standard output that is closed leaves nothing to be told.
    drop(told.print());
    if told.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// How long the threads of a command that has ended have for their own ends.
const LAST_THREADS: Duration = Duration::from_secs(1);

/// Reads the command line and runs the command.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => return usage(&told),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            commands::write::note(format_args!("waybill: could not start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(commands::run(cli));
    // OpenSSL frees what its threads have when the process exits: one that ends at the same time would free it twice. Blocking
    // work that nobody waits for any more must not hold the process for long.
    runtime.shutdown_timeout(LAST_THREADS);
    code
}
