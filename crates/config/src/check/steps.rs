//! The steps of flows and of their destinations.

use super::Checker;
use crate::reader::Reader;
use model::definition::StepDefinition;
use model::schema::{FieldPath, Findings, Section};

impl Checker<'_> {
    /// The steps in a table of a flow, which begins at `table`. Those with a mistake are left out.
    pub(super) fn steps(
        &self,
        flow: &str,
        reader: &Reader<'_>,
        table: impl Into<FieldPath>,
    ) -> Vec<StepDefinition> {
        let list = table.into().key("steps");
        let mut read = Vec::new();
        for (step, number) in reader.tables("steps").into_iter().zip(1..) {
            let Some(kind) = steps::KINDS.iter().find(|kind| step.has(kind.name)) else { continue };
            let Some(options) = step.child(kind.name).and_then(|fields| fields.values(kind.group.fields))
            else {
                continue;
            };
            let mut found = Vec::new();
            let path = list.clone().item(number).key(kind.name);
            let made = (kind.read)(&options, &mut Findings::of(&mut found, Section::FLOW, flow).within(path));
            self.report(found);
            if made.is_some() {
                read.push(StepDefinition { kind: kind.name.to_owned(), options });
            }
        }
        read
    }
}
