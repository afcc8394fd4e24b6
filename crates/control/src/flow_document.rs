//! What lists show of a flow's document. Nothing is resolved: a variable that it names need not be set here.

use model::schedule::{Calendar, Cron, Pace, Schedule, TimeZone, Window};
use model::schema::Section;
use model::{PeerText, StoredDefinition, parse_duration};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The interval of a source that says nothing else.
const USUAL_INTERVAL: Duration = Duration::from_secs(60);

/// The calendars by name. One with references to variables is left out.
pub(crate) fn calendars(definitions: &[StoredDefinition]) -> BTreeMap<&str, Arc<Calendar>> {
    let calendars = definitions.iter().filter(|definition| definition.section == Section::CALENDAR.as_str());
    let read = |definition: &StoredDefinition| {
        let days = texts(definition.document.get("days_off"))?;
        let calendar = Calendar {
            name: definition.name.clone(),
            days_off: days.into_iter().map(|day| Calendar::parse_day(day).ok()).collect::<Option<_>>()?,
            weekends: definition
                .document
                .get("weekends")
                .is_some_and(|weekends| weekends == &Value::Bool(true)),
        };
        Some(Arc::new(calendar))
    };
    calendars.filter_map(|definition| Some((definition.name.as_str(), read(definition)?))).collect()
}

/// The values of a list; one alone needs no brackets.
fn items(list: Option<&Value>) -> Vec<&Value> {
    match list {
        Some(Value::Array(several)) => several.iter().collect(),
        one => one.into_iter().collect(),
    }
}

/// The texts of a list; `None` where something else is in it.
fn texts(list: Option<&Value>) -> Option<Vec<&str>> {
    items(list).into_iter().map(Value::as_str).collect()
}

/// What a flow's document asks of the metadata of what it receives: `form_application: ORDERS* or PO*`, one text for each key.
#[must_use]
pub fn metadata_conditions(flow: &Value) -> Vec<String> {
    let asked = flow.get("source").and_then(|source| source.get("where")?.as_object());
    let masks = |list: &Value| -> Vec<String> {
        let text = |mask: &Value| PeerText::from(mask.as_str().unwrap_or("?")).as_str().to_owned();
        items(Some(list)).into_iter().map(text).collect()
    };
    let of_key = |(key, list): (&String, &Value)| {
        format!("{}: {}", PeerText::from(key.as_str()).as_str(), masks(list).join(" or "))
    };
    asked.into_iter().flatten().map(of_key).collect()
}

pub(crate) struct FlowDocument<'a>(&'a Value);

impl<'a> FlowDocument<'a> {
    pub(crate) const fn of(definition: &'a StoredDefinition) -> Self {
        Self(&definition.document)
    }

    /// Its title for people.
    pub(crate) fn title(&self) -> Option<&'a str> {
        self.0.get("title")?.as_str()
    }

    /// Whether it says that it is enabled; not for a reference to a variable.
    pub(crate) fn enabled(&self) -> bool {
        self.0.get("enabled").is_none_or(|enabled| enabled == &Value::Bool(true))
    }

    /// The endpoint or listener that its files come from, by the field that names it.
    pub(crate) fn source(&self, field: &str) -> Option<&'a str> {
        self.0.get("source")?.get(field)?.as_str()
    }

    /// What it asks of the metadata of what it receives.
    pub(crate) fn conditions(&self) -> Vec<String> {
        metadata_conditions(self.0)
    }

    /// The kinds of the steps that are done for every destination, in their order.
    pub(crate) fn steps(&self) -> Vec<&'a str> {
        let kinds = items(self.0.get("steps")).into_iter().filter_map(Value::as_object);
        kinds.flat_map(|step| step.keys().map(String::as_str)).collect()
    }

    /// The endpoints that it delivers to. One destination alone needs no brackets.
    pub(crate) fn destinations(&self) -> Vec<&'a str> {
        items(self.0.get("destination"))
            .iter()
            .filter_map(|destination| destination.get("endpoint")?.as_str())
            .collect()
    }

    /// The same without the destination that only what failed goes to.
    pub(crate) fn usual_destinations(&self) -> Vec<&'a str> {
        let on_failure = self.on_failure();
        let text = |destination: &'a Value, field: &str| destination.get(field).and_then(Value::as_str);
        items(self.0.get("destination"))
            .into_iter()
            .filter_map(|destination| {
                let endpoint = text(destination, "endpoint")?;
                let name = text(destination, "name").unwrap_or(endpoint);
                (on_failure != Some(name)).then_some(endpoint)
            })
            .collect()
    }

    /// What takes the files that could not be delivered: one of its destinations, or another flow.
    pub(crate) fn on_failure(&self) -> Option<&'a str> {
        self.0.get("on_failure")?.as_str()
    }

    /// When its source is polled; `None` where a reference to a variable decides it.
    pub(crate) fn schedule(&self, calendars: &BTreeMap<&str, Arc<Calendar>>) -> Option<Schedule> {
        let source = self.0.get("source")?;
        let pace = match (source.get("cron"), source.get("every")) {
            (Some(cron), _) => Pace::Cron(Cron::parse(cron.as_str()?).ok()?),
            (None, Some(every)) => Pace::Every(parse_duration(every.as_str()?).ok()?),
            (None, None) => Pace::Every(USUAL_INTERVAL),
        };
        let zone = match source.get("time_zone") {
            Some(zone) => TimeZone::parse(zone.as_str()?).ok()?,
            None => TimeZone::default(),
        };
        let window = |window: &Value| {
            let time = |field| window.get(field)?.as_str();
            Window::parse(time("from")?, time("to")?, texts(window.get("days"))?).ok()
        };
        let between = items(source.get("between")).into_iter().map(window).collect::<Option<_>>()?;
        let not_on = match source.get("not_on") {
            Some(name) => Some(Arc::clone(calendars.get(name.as_str()?)?)),
            None => None,
        };
        Some(Schedule { pace, zone, between, not_on })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition(section: &str, document: Value) -> StoredDefinition {
        StoredDefinition {
            section: section.into(),
            name: "c".into(),
            origin: "/etc/flows".into(),
            file: "flows.toml".into(),
            position: 0,
            document,
        }
    }

    #[test]
    fn a_schedule_is_read_as_far_as_no_variable_decides_it() {
        let definitions = [definition("calendar", json!({"days_off": "2026-12-25", "weekends": true}))];
        let calendars = calendars(&definitions);
        let told = |source: Value| {
            let flow = definition("flow", json!({ "source": source }));
            FlowDocument::of(&flow).schedule(&calendars).map(|schedule| schedule.to_string())
        };
        assert_eq!(told(json!({})).as_deref(), Some("every 1m"));
        assert_eq!(told(json!({"every": "${env:EVERY}"})), None);
        assert_eq!(told(json!({"not_on": "d"})), None);
        let whole = json!({
            "cron": "*/5 * * * *", "time_zone": "Europe/Berlin", "not_on": "c",
            "between": [{"from": "06:00", "to": "20:00", "days": "mon-tue"}],
        });
        assert_eq!(
            told(whole).as_deref(),
            Some(
                "cron \"*/5 * * * *\" between 06:00 and 20:00 on mon, tue, not on the days off of calendar c (Europe/Berlin)"
            )
        );
        let christmas = Calendar::parse_day("2026-12-25").unwrap();
        assert!(calendars["c"].is_day_off(christmas));
    }
}
