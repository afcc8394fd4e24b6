//! `waybill reference`: `docs/reference.md` and `config/definitions.schema.json`, made from what documents are checked by.

use super::validate::catalogue;
use super::write;
use config::{Settings, json_schema, reference_markdown};
use model::Result;
use std::process::ExitCode;

pub(crate) fn run(settings: &Settings, schema: bool) -> Result<ExitCode> {
    let catalogue = catalogue(settings);
    if schema {
        write::line(format_args!("{:#}", json_schema(&catalogue)))?;
    } else {
        write::line(reference_markdown(&catalogue).trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}
