//! What lists show of a flow's document. Nothing is resolved: a variable that it names need not be set here.

use model::StoredDefinition;
use serde_json::Value;

pub(crate) struct FlowDocument<'a>(&'a Value);

impl<'a> FlowDocument<'a> {
    pub(crate) const fn of(definition: &'a StoredDefinition) -> Self {
        Self(&definition.document)
    }

    /// Whether it says that it is enabled; not for a reference to a variable.
    pub(crate) fn enabled(&self) -> bool {
        self.0.get("enabled").is_none_or(|enabled| enabled == &Value::Bool(true))
    }

    /// The endpoint or listener that its files come from, by the field that names it.
    pub(crate) fn source(&self, field: &str) -> Option<&'a str> {
        self.0.get("source")?.get(field)?.as_str()
    }

    /// The endpoints that it delivers to. One destination alone needs no brackets.
    pub(crate) fn destinations(&self) -> Vec<&'a str> {
        let destinations: Vec<&Value> = match self.0.get("destination") {
            Some(Value::Array(several)) => several.iter().collect(),
            one => one.into_iter().collect(),
        };
        destinations.iter().filter_map(|destination| destination.get("endpoint")?.as_str()).collect()
    }
}
