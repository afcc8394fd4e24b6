//! What transports' own checks find, shown where it is written.

use super::Checker;
use crate::tree::join;
use model::Declaration;
use model::schema::{FieldPath, Finding, Findings, Section};
use std::collections::BTreeSet;

impl Checker<'_> {
    /// Asks a transport about a table of a definition, and shows what it finds. Whether nothing keeps the definition out of
    /// force.
    pub(super) fn ask(
        &self,
        transport: &str,
        (section, name): (Section, &str),
        table: impl Into<FieldPath>,
        check: impl FnOnce(&dyn Declaration, &mut Findings<'_>),
    ) -> bool {
        let Some(declaration) = self.catalogue.declaration(transport) else { return true };
        let mut found = Vec::new();
        check(declaration, &mut Findings::of(&mut found, section, name).within(table));
        let is_usable = found.iter().all(|finding| finding.is_warning);
        self.report(found);
        is_usable
    }

    /// Shows findings at their fields. A field in which there is an error already is left out: one mistake
    /// is reported once.
    pub(super) fn report(&self, found: Vec<Finding>) {
        let mut shown = BTreeSet::new();
        for finding in found {
            let (place, path) = self.documents.find(&finding.subject, &finding.path);
            let key = join(finding.subject.section.as_str(), &join(&finding.subject.name, &path));
            let is_hidden = finding.for_want_of.is_some_and(|section| self.context.has_error_in(section));
            let is_reported = if finding.path.is_empty() {
                self.context.has_error_at(&key)
            } else {
                self.context.has_error_within(&key)
            };
            if is_hidden || is_reported && !shown.contains(&key) {
                continue;
            }
            if finding.is_warning {
                self.context.warning(&place, &key, finding.message);
            } else {
                self.context.error(&place, &key, finding.message);
            }
            shown.insert(key);
        }
    }
}
