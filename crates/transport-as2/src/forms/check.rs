//! What the destinations of flows say of forms.

use crate::form_fields::FormFields;
use crate::options::SPEC;
use model::definition::{Definitions, OnFailure};
use model::schema::{FieldPath, Finding, Findings, Section};

/// Fields can be written, and what tells senders of errors is where errors lead.
pub(crate) fn definitions(definitions: &Definitions) -> Vec<Finding> {
    let mut found = Vec::new();
    for flow in definitions.flows.values() {
        for (destination, number) in flow.destinations.iter().zip(1..) {
            let endpoint = definitions.endpoints.get(&destination.endpoint);
            if endpoint.is_none_or(|endpoint| endpoint.transport != SPEC.name) {
                continue;
            }
            let path = || FieldPath::from("destination").item(number);
            let mut findings = Findings::of(&mut found, Section::FLOW, &flow.name);
            let form = FormFields::of(destination.options.table("form"));
            for (option, message) in form.mistakes() {
                findings.error(path().key("form").join(option), message);
            }
            let is_for_failures =
                matches!(&flow.on_failure, Some(OnFailure::Destination(name)) if *name == destination.name);
            if destination.options.bool("error_notification") && !is_for_failures {
                let message = "is only for the destination that 'on_failure' of the flow names: without that, each file of the flow would be reported as an error";
                findings.error(path().key("error_notification"), message);
            }
        }
    }
    found
}
