//! What a transport's own checks find in definitions, and the fields it is about.

use super::{FieldPath, Section};
use crate::{Error, ErrorKind, Result};

/// A problem in a definition that the types of its fields cannot show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The definition.
    pub subject: Subject,
    /// The field; empty for the definition as a whole.
    pub path: FieldPath,
    /// What is wrong and what to do, read after the field's name. Holds no secret.
    pub message: String,
    /// Whether it is only a warning.
    pub is_warning: bool,
    /// Whether it only says that a definition of this kind is missing: it is not reported while one of them has an
    /// error, which may be the one.
    pub for_want_of: Option<Section>,
}

/// Which definition a finding is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Subject {
    /// Its kind.
    pub section: Section,
    /// Its name.
    pub name: String,
}

/// Where readers and checks report what is wrong with one definition, or with one table in it.
///
/// A transport reads its fields by one function, for checks and for use alike: it reports each mistake at its field, goes on
/// to the next field, and answers `None` when nothing usable comes of it.
///
/// ```
/// use model::schema::{Findings, Section, Values};
/// fn read(options: &Values, findings: &mut Findings<'_>) -> Option<u32> {
///     let text = options.text("permissions")?;
///     findings.accept("permissions", u32::from_str_radix(text, 8).map_err(|_| "is not octal: write it as \"0640\""))
/// }
/// let mut found = Vec::new();
/// read(&Values::default(), &mut Findings::of(&mut found, Section::FLOW, "orders"));
/// assert!(found.is_empty());
/// ```
#[derive(Debug)]
pub struct Findings<'a> {
    found: &'a mut Vec<Finding>,
    subject: Subject,
    /// The table that paths begin at.
    table: FieldPath,
}

impl<'a> Findings<'a> {
    /// Adds to a list what is found in a definition.
    #[must_use]
    pub fn of(found: &'a mut Vec<Finding>, section: Section, name: &str) -> Self {
        Self { found, subject: Subject { section, name: name.to_owned() }, table: FieldPath::default() }
    }

    /// The same for a table below, so that paths begin there.
    #[must_use]
    pub fn within(&mut self, table: impl Into<FieldPath>) -> Findings<'_> {
        let table = self.table.clone().join(table);
        Findings { found: self.found, subject: self.subject.clone(), table }
    }

    /// Reports what keeps the definition out of force: `path` is the field's, such as `"trust.pins"`, or `""` for the table.
    pub fn error(&mut self, path: impl Into<FieldPath>, message: impl Into<String>) {
        self.add(path.into(), message.into(), false, None);
    }

    /// Reports what a person should know.
    pub fn warning(&mut self, path: impl Into<FieldPath>, message: impl Into<String>) {
        self.add(path.into(), message.into(), true, None);
    }

    /// Reports as an error that a definition of another kind is missing. It is not shown while one of that kind has an error.
    pub fn missing(&mut self, section: Section, path: impl Into<FieldPath>, message: impl Into<String>) {
        self.add(path.into(), message.into(), false, Some(section));
    }

    /// A value that was read, or an error at its field.
    pub fn accept<T, M: Into<String>>(
        &mut self,
        path: impl Into<FieldPath>,
        read: Result<T, M>,
    ) -> Option<T> {
        read.map_err(|message| self.error(path, message)).ok()
    }

    fn add(&mut self, path: FieldPath, message: String, is_warning: bool, for_want_of: Option<Section>) {
        let path = self.table.clone().join(path);
        let finding = Finding { subject: self.subject.clone(), path, message, is_warning, for_want_of };
        // Two checks may read one field.
        if !self.found.contains(&finding) {
            self.found.push(finding);
        }
    }

    /// Reads what is to be used now: nobody is there to be shown findings, so the first error is the result.
    ///
    /// # Errors
    /// `ConfigInvalid`: the definition and the field, and what is wrong with it.
    pub fn required<T>(
        section: Section,
        name: &str,
        read: impl FnOnce(&mut Findings<'_>) -> Option<T>,
    ) -> Result<T> {
        let mut found = Vec::new();
        let value = read(&mut Findings::of(&mut found, section, name));
        let invalid =
            || Error::permanent(ErrorKind::ConfigInvalid, "use a definition").with(section.as_str(), name);
        match (found.into_iter().find(|finding| !finding.is_warning), value) {
            (None, Some(value)) => Ok(value),
            (Some(finding), _) if finding.path.is_empty() => Err(invalid().advice(finding.message)),
            (Some(finding), _) => Err(invalid().with("field", finding.path).advice(finding.message)),
            (None, None) => Err(invalid()),
        }
    }

    /// Reads what was checked elsewhere, and reports nothing.
    pub fn ignored<T>(read: impl FnOnce(&mut Findings<'_>) -> Option<T>) -> Option<T> {
        read(&mut Findings::of(&mut Vec::new(), Section::ENDPOINT, ""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_name_the_definition_and_the_field_below_the_table() {
        let mut found = Vec::new();
        let mut findings = Findings::of(&mut found, Section::FLOW, "orders");
        findings.error("", "is wrong");
        let mut below = findings.within(FieldPath::from("destination").item(2));
        below.warning("temporary.suffix", "is odd");
        below.warning("temporary.suffix", "is odd");
        assert_eq!(below.accept("prefix", Err::<(), _>("is no name")), None);
        assert_eq!(below.accept("prefix", Ok::<_, String>(7)), Some(7));
        let lines: Vec<String> = found
            .iter()
            .map(|f| format!("{} {}: {} {}", f.subject.name, f.path, f.message, f.is_warning))
            .collect();
        let expected = [
            "orders : is wrong false",
            "orders destination[2].temporary.suffix: is odd true",
            "orders destination[2].prefix: is no name false",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_is_required_names_its_first_error() {
        let read = |wrong: bool| {
            Findings::required(Section::ENDPOINT, "acme", |findings| {
                findings.warning("timeout", "is long");
                if wrong {
                    findings.error("trust.pins", "is no pin");
                }
                Some(1)
            })
        };
        assert_eq!(read(false).unwrap(), 1);
        let error = read(true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
        assert_eq!(
            error.to_string(),
            "could not use a definition: config_invalid (endpoint acme, field trust.pins); is no pin"
        );
        assert!(Findings::required(Section::ENDPOINT, "acme", |_| None::<()>).is_err());
    }
}
