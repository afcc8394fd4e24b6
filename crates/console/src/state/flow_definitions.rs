//! The flows of the definitions in force, as far as pages show them.

use control::{PollTimes, metadata_conditions, poll_schedules};
use model::schedule::Schedule;
use model::{PeerText, Result, StoredDefinition, Timestamp};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use store::Store;

/// A flow of the definitions in force.
#[derive(PartialEq, Debug)]
pub(crate) struct DefinedFlow {
    /// Its title for people.
    pub(crate) title: Option<String>,
    /// Its source with what it asks of metadata, its destinations, and what takes what failed: `acme-sftp → globex-as2; failed:
    /// by-hand`, `as2 (form_application: ORDERS*) → erp`.
    pub(crate) route: String,
    /// The endpoints it delivers to that refuse a name that is taken.
    refusing: Vec<String>,
    /// When its source is polled, where no variable decides it.
    schedule: Option<Schedule>,
}

impl DefinedFlow {
    pub(crate) fn refusing(&self) -> Option<String> {
        (!self.refusing.is_empty()).then(|| self.refusing.join(", "))
    }

    /// When its source is polled, and the next time, where it is not polled all the time.
    pub(crate) fn polls(&self, now: Timestamp) -> Option<PollTimes> {
        self.schedule.as_ref().map(|schedule| PollTimes::of(schedule, now))
    }

    /// What is to be known before a partner uses a file name again.
    pub(crate) fn caution(&self) -> Option<String> {
        let endpoints = self.refusing()?;
        Some(format!(
            "Files at {endpoints} are not overwritten: a delivery fails if a file with the same name exists there. To change \
             this, set overwrite on the flow's destination to \"rename\" or \"replace\"."
        ))
    }
}

/// The flows of the definitions in force, read once for each revision.
#[derive(Default)]
pub(crate) struct FlowDefinitions {
    last: Mutex<Option<(i64, DefinedFlows)>>,
}

/// The flows by name.
pub(crate) type DefinedFlows = Arc<BTreeMap<String, DefinedFlow>>;

impl FlowDefinitions {
    pub(crate) async fn get(&self, store: &Store, refusing: &[&str]) -> Result<DefinedFlows> {
        let number = store.current_revision_number().await?;
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, flows)) = last.filter(|(known, _)| *known == number) {
            return Ok(flows);
        }
        let state = store.definitions_at(number).await?;
        let flows = Arc::new(defined(&state.definitions, refusing));
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((number, Arc::clone(&flows)));
        Ok(flows)
    }
}

/// Reads stored definitions.
fn defined(definitions: &[StoredDefinition], refusing: &[&str]) -> BTreeMap<String, DefinedFlow> {
    let tables = |kind: &'static str| {
        let of_kind = definitions.iter().filter(move |definition| definition.section == kind);
        of_kind.map(|definition| (&definition.name, &definition.document))
    };
    let refuses = |endpoint: &Value| {
        let transport = endpoint.get("transport").and_then(Value::as_str);
        transport.is_some_and(|name| refusing.contains(&name))
    };
    let refusing: BTreeSet<&str> =
        tables("endpoint").filter(|(_, endpoint)| refuses(endpoint)).map(|(name, _)| name.as_str()).collect();
    let mut schedules = poll_schedules(definitions);
    let read = |(name, flow): (&String, &Value)| {
        let schedule = schedules.remove(name);
        (name.clone(), DefinedFlow { schedule, ..defined_flow(flow, &refusing) })
    };
    tables("flow").map(read).collect()
}

fn defined_flow(flow: &Value, refusing: &BTreeSet<&str>) -> DefinedFlow {
    let name = |place: &Value| {
        let name = ["endpoint", "listener"].iter().find_map(|key| place.get(*key)?.as_str());
        name.unwrap_or("?").to_owned()
    };
    let from = flow.get("source").map_or_else(|| "?".to_owned(), name);
    // One alone needs no brackets.
    let to: Vec<&Value> = match flow.get("destination") {
        Some(Value::Array(several)) => several.iter().collect(),
        one => one.into_iter().collect(),
    };
    let on_failure = flow.get("on_failure").and_then(Value::as_str);
    let takes_failures = |destination: &&&Value| {
        let named =
            destination.get("name").and_then(Value::as_str).map_or_else(|| name(destination), str::to_owned);
        on_failure == Some(named.as_str())
    };
    let usual = to.iter().filter(|destination| !takes_failures(destination));
    let shown: Vec<String> = usual.map(|destination| safe(&name(destination))).collect();
    let shown = if shown.is_empty() { "?".to_owned() } else { shown.join(", ") };
    let asked = metadata_conditions(flow);
    let asked = if asked.is_empty() { String::new() } else { format!(" ({})", asked.join(", ")) };
    let failed = on_failure.map(|name| format!("; failed: {}", safe(name))).unwrap_or_default();
    let refuses = |destination: &&&Value| {
        let overwrite = destination.get("overwrite");
        refusing.contains(name(destination).as_str())
            && overwrite.is_none_or(|overwrite| overwrite == "refuse")
    };
    let refusing: BTreeSet<String> =
        to.iter().filter(refuses).map(|destination| safe(&name(destination))).collect();
    DefinedFlow {
        title: flow.get("title").and_then(Value::as_str).map(safe),
        route: format!("{}{asked} \u{2192} {shown}{failed}", safe(&from)),
        refusing: refusing.into_iter().collect(),
        schedule: None,
    }
}

/// A name from a document, fit to be shown.
fn safe(text: &str) -> String {
    PeerText::from(text).as_str().to_owned()
}

#[cfg(test)]
impl DefinedFlow {
    /// A flow that polls an endpoint, with one field about when.
    pub(crate) fn polled(field: &str, value: &str) -> Self {
        let document = serde_json::json!({ "source": { "endpoint": "in", field: value } });
        let definition = StoredDefinition {
            section: "flow".into(),
            name: "f".into(),
            origin: "/etc/flows".into(),
            file: "f.toml".into(),
            position: 0,
            document,
        };
        defined(&[definition], &[]).remove("f").unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn flows_are_read_from_stored_documents() {
        let documents = json!({"files": {
            "a.toml": {"flow": {"orders": {
                "source": {"endpoint": "acme-sftp"}, "destination": [{"endpoint": "globex-as2"}, {"endpoint": "archive"}],
            }}},
            "b.toml": {"endpoint": {
                "globex-as2": {"transport": "as2"},
                "archive": {"transport": "file"},
                "numbered": {"transport": "file"},
                "plain": {"transport": "sftp"},
                "elsewhere": {"transport": "sftp"},
            }, "flow": {"failing": {"source": {"endpoint": "plain"}, "on_failure": "by-hand", "destination": [
                {"endpoint": "globex-as2"}, {"endpoint": "archive", "name": "by-hand"},
            ]}, "inbound": {"source": {"listener": "as2"}}, "urgent": {"source": {
                "listener": "as2", "where": {"as2_subject": ["*urgent*", "*today*"], "form_application": "ORDERS*"},
            }}, "many": {"destination": [
                {"endpoint": "numbered", "overwrite": "rename"}, {"endpoint": "plain", "overwrite": "refuse"},
                {"endpoint": "elsewhere", "overwrite": "${env:OVERWRITE}"}, {"endpoint": "plain"},
            ]}}},
        }});
        let files = documents["files"].as_object().unwrap().iter();
        let sections =
            files.flat_map(|(file, tables)| tables.as_object().unwrap().iter().map(move |t| (file, t)));
        let definitions: Vec<StoredDefinition> = sections
            .flat_map(|(file, (section, named))| {
                named.as_object().unwrap().iter().map(move |(name, document)| StoredDefinition {
                    section: section.clone(),
                    name: name.clone(),
                    origin: "/etc/flows".to_owned(),
                    file: file.clone(),
                    position: 0,
                    document: document.clone(),
                })
            })
            .collect();
        let flows = defined(&definitions, &["file", "sftp"]);
        assert_eq!(flows["orders"].route, "acme-sftp \u{2192} globex-as2, archive");
        assert_eq!(flows["failing"].route, "plain \u{2192} globex-as2; failed: by-hand");
        assert_eq!(flows["orders"].refusing, ["archive"]);
        assert_eq!((flows["inbound"].route.as_str(), flows["inbound"].caution()), ("as2 \u{2192} ?", None));
        let asked = "as2 (as2_subject: *urgent* or *today*, form_application: ORDERS*) \u{2192} ?";
        assert_eq!(flows["urgent"].route, asked);
        assert_eq!(flows["many"].refusing, ["plain"]);
        assert!(flows["orders"].schedule.is_some() && flows["inbound"].schedule.is_none());
    }
}
