//! The way from a definition to one of its fields.

use std::fmt;

/// The keys and list items that lead to a field: `as2.send.digest`, `destination[2].prefix`.
///
/// Made of a text, whose dots set keys apart; a key with a dot in it, as people choose for maps, is added by
/// [`FieldPath::key`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct FieldPath(Vec<FieldStep>);

/// A step of a [`FieldPath`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FieldStep {
    /// A key of a table.
    Key(String),
    /// An item of a list, from 1. A value that stands alone where a list may stand is item 1.
    Item(usize),
}

impl FieldPath {
    /// The path of a key in the table that this one leads to.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.0.push(FieldStep::Key(key.to_owned()));
        self
    }

    /// The path of an item, from 1, in the list that this one leads to.
    #[must_use]
    pub fn item(mut self, number: usize) -> Self {
        self.0.push(FieldStep::Item(number));
        self
    }

    /// The path that goes on with another one.
    #[must_use]
    pub fn join(mut self, below: impl Into<Self>) -> Self {
        self.0.extend(below.into().0);
        self
    }

    /// Whether it leads to the definition as a whole.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its steps, the first at the definition.
    pub fn steps(&self) -> impl Iterator<Item = &FieldStep> {
        self.0.iter()
    }
}

impl From<&str> for FieldPath {
    fn from(text: &str) -> Self {
        let keys = text.split('.').filter(|key| !key.is_empty());
        Self(keys.map(|key| FieldStep::Key(key.to_owned())).collect())
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                FieldStep::Key(key) if at == 0 => f.write_str(key)?,
                FieldStep::Key(key) => write!(f, ".{key}")?,
                FieldStep::Item(number) => write!(f, "[{number}]")?,
            }
        }
        Ok(())
    }
}
