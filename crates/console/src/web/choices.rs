//! Values to choose in the fields of a filter form.

use crate::web::filters::{CONSOLE, DATA, WITHIN};
use crate::web::list_query::ListQuery;

/// A value to choose.
pub(crate) struct Choice {
    pub(crate) value: &'static str,
    pub(crate) label: &'static str,
    pub(crate) chosen: bool,
}

/// Whether the console's own connections are shown.
pub(crate) fn console_connections(query: &ListQuery) -> Vec<Choice> {
    vec![Choice { value: "yes", label: "Shown", chosen: query.get(CONSOLE) == Some("yes") }]
}

/// Whether data connections (FTP) are shown.
pub(crate) fn data_connections(query: &ListQuery) -> Vec<Choice> {
    vec![Choice { value: "yes", label: "Shown", chosen: query.get(DATA) == Some("yes") }]
}

/// The ranges of time.
pub(crate) fn times(query: &ListQuery) -> Vec<Choice> {
    WITHIN
        .iter()
        .map(|(value, label, _)| Choice { value, label, chosen: query.get("within") == Some(value) })
        .collect()
}
