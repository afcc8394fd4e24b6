//! `waybill reference`: `docs/reference.md`, made from what documents are checked by.

use super::validate::catalogue;
use super::write;
use config::{Settings, reference_markdown};
use model::Result;
use std::process::ExitCode;

pub(crate) fn run(settings: &Settings) -> Result<ExitCode> {
    write::line(reference_markdown(&catalogue(settings)).trim_end())?;
    Ok(ExitCode::SUCCESS)
}
