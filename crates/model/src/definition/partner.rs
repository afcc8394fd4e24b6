//! Trading partners and our own side.

use crate::schema::Values;
use std::collections::BTreeMap;

/// Our own side of a partnership.
#[derive(Clone, PartialEq, Debug)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// For people.
    pub title: Option<String>,
    /// By transport, who we are to partners that speak it.
    pub sides: BTreeMap<String, Values>,
}

impl Identity {
    /// Who we are to partners that speak a transport; `None` when the identity does not speak it.
    #[must_use]
    pub fn side(&self, transport: &str) -> Option<&Values> {
        self.sides.get(transport)
    }
}

/// A trading partner.
#[derive(Clone, PartialEq, Debug)]
pub struct Partner {
    /// Its name.
    pub name: String,
    /// For people.
    pub title: Option<String>,
    /// Whom to ask there.
    pub contact: Option<String>,
    /// By transport, what was agreed with it.
    pub agreements: BTreeMap<String, Values>,
}

impl Partner {
    /// What was agreed with it for a transport; `None` when it does not speak it.
    #[must_use]
    pub fn agreement(&self, transport: &str) -> Option<&Values> {
        self.agreements.get(transport)
    }
}
