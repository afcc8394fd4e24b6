//! What a transport's own check found in definitions.

use super::Section;

/// A problem in a definition that the types of its fields cannot show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The definition.
    pub subject: Subject,
    /// The keys that lead to the field, such as `["as2", "send", "digest"]`; none for the definition as a whole.
    pub path: Vec<String>,
    /// What is wrong and what to do, read after the field's name.
    pub message: String,
    /// Whether it is only a warning.
    pub is_warning: bool,
    /// Whether it only says that a definition of this kind is missing: it is not told while one of them has an error,
    /// which may be the one.
    pub for_want_of: Option<Section>,
}

impl Finding {
    /// The same, told only while every definition of a kind could be read.
    #[must_use]
    pub fn for_want_of(mut self, section: Section) -> Self {
        self.for_want_of = Some(section);
        self
    }
}

/// Which definition a finding is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Subject {
    /// Its kind.
    pub section: Section,
    /// Its name.
    pub name: String,
}

impl Subject {
    /// A definition of a kind.
    #[must_use]
    pub fn new(section: Section, name: &str) -> Self {
        Self { section, name: name.to_owned() }
    }

    /// What keeps the definition out of force.
    #[must_use]
    pub fn error(&self, path: &[&str], message: impl Into<String>) -> Finding {
        self.finding(path, message.into(), false)
    }

    /// What a person should know.
    #[must_use]
    pub fn warning(&self, path: &[&str], message: impl Into<String>) -> Finding {
        self.finding(path, message.into(), true)
    }

    fn finding(&self, path: &[&str], message: String, is_warning: bool) -> Finding {
        let path = path.iter().map(|key| (*key).to_owned()).collect();
        Finding { subject: self.clone(), path, message, is_warning, for_want_of: None }
    }
}
