//! `waybill as2 preset`: partners with known products.

use crate::cli::{Output, ShowPreset};
use crate::commands::write;
use model::{Error, ErrorKind, Result, did_you_mean};
use serde_json::{Value, json};
use std::process::ExitCode;
use transport_as2::presets::{PRESETS, Preset, PresetField, preset as find};

pub(crate) fn preset(wanted: &ShowPreset, output: Output) -> Result<ExitCode> {
    match &wanted.product {
        None => list(output)?,
        Some(product) => show(product, &wanted.name, output)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(output: Output) -> Result<()> {
    if output == Output::Json {
        return write::json(&PRESETS.iter().map(as_json).collect());
    }
    let row = |preset: &Preset| {
        let fields: Vec<String> =
            preset.fields.iter().map(|field| format!("{} = {}", field.path, field.value)).collect();
        let fields = if fields.is_empty() { "-".to_owned() } else { fields.join(", ") };
        vec![preset.name.to_owned(), fields, preset.product.to_owned()]
    };
    write::Columns::new(&["PRESET", "DIFFERS", "PRODUCT"]).write(PRESETS.iter().map(row).collect())
}

fn show(product: &str, partner: &str, output: Output) -> Result<()> {
    let is_name = !partner.is_empty()
        && partner
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte));
    if !is_name {
        return Err(Error::permanent(ErrorKind::ConfigInvalid, "write a partner's definition")
            .with("name", partner)
            .advice("give a name of lower-case letters, digits, '-' and '_' (--name)"));
    }
    let found = find(product).ok_or_else(|| {
        let near = did_you_mean(product, PRESETS.iter().map(|preset| preset.name));
        let advice = format!("`waybill as2 preset` lists all{near}; for other products begin with `default`");
        Error::permanent(ErrorKind::NotFound, "find the preset").with("product", product).advice(advice)
    })?;
    match output {
        Output::Json => write::json(&as_json(found)),
        Output::Text => write::bytes(found.document(partner).as_bytes()),
    }
}

fn as_json(preset: &Preset) -> Value {
    let field = |field: &PresetField| json!({ "path": field.path, "value": field.value, "why": field.why });
    json!({
        "preset": preset.name, "product": preset.product,
        "fields": preset.fields.iter().map(field).collect::<Vec<_>>(), "notes": preset.notes,
    })
}
