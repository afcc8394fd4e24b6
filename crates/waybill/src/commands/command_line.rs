//! `waybill completions` and `waybill man`: what packages install beside the binary, made from the command line's own
//! declaration.

use crate::cli::Cli;
use crate::commands::write;
use clap::CommandFactory as _;
use clap_complete::Shell;
use model::{Error, Result};
use std::path::Path;
use std::process::ExitCode;

/// Writes a shell's completion script to standard output.
///
/// # Errors
/// Standard output is closed.
pub(crate) fn completions(shell: Shell) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "waybill", &mut script);
    write::bytes(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes `waybill.1`, and `waybill-COMMAND.1` for each command, into a directory.
///
/// # Errors
/// The directory cannot be made or written.
pub(crate) fn manual(directory: &Path) -> Result<ExitCode> {
    let failed =
        |error| Error::local_io("write the manual pages", error).with("directory", directory.display());
    std::fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(Cli::command().disable_help_subcommand(true), directory).map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}
