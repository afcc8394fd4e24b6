//! The parts of which lines about events are made. What an event does not tell is an empty text.

use super::EventWords;
use crate::Purpose;
use crate::audit::Actor;
use serde_json::Value;

impl EventWords<'_> {
    /// Whether this event copies an older one, whose month retention removes.
    pub(super) fn is_carried(&self) -> bool {
        self.detail.contains_key("first_event")
    }

    pub(super) fn first_actor(&self) -> String {
        self.text("first_actor").map_or_else(|| "?".into(), |actor| named(&actor))
    }

    /// A value of the detail, for people.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        match self.detail.get(key)? {
            Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    pub(super) fn with(&self, before: &str, key: &str) -> String {
        self.text(key).map(|text| format!("{before}{text}")).unwrap_or_default()
    }

    pub(super) fn is_true(&self, key: &str) -> bool {
        self.detail.get(key) == Some(&Value::Bool(true))
    }

    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.detail.get(key)?.as_u64()
    }

    pub(super) fn count(&self, before: &str, key: &str, one: &str, many: &str) -> String {
        match self.number(key) {
            None => String::new(),
            Some(1) => format!("{before}1 {one}"),
            Some(number) => format!("{before}{number} {many}"),
        }
    }

    /// Lengths of time to the hundredth of a second.
    pub(super) fn seconds(&self, before: &str, key: &str) -> String {
        let Some(micros) = self.number(key) else { return String::new() };
        format!("{before}{}.{:02} s", micros / 1_000_000, micros % 1_000_000 / 10_000)
    }

    pub(super) fn named(&self, name: Option<&str>) -> String {
        name.map(|name| format!(" {name}")).unwrap_or_default()
    }

    pub(super) fn who(&self) -> String {
        named(self.actor)
    }

    pub(super) fn at(&self) -> String {
        self.endpoint.map(|endpoint| format!(" {endpoint}")).unwrap_or_default()
    }

    pub(super) fn to(&self) -> String {
        self.endpoint.map(|endpoint| format!(" to {endpoint}")).unwrap_or_default()
    }

    pub(super) fn for_flow(&self) -> String {
        self.flow.map(|flow| format!(" for flow {flow}")).unwrap_or_default()
    }

    pub(super) fn of_flow(&self) -> String {
        self.flow.map(|flow| format!(" of flow {flow}")).unwrap_or_default()
    }

    pub(super) fn by_peer(&self) -> String {
        self.peer.map(|peer| format!(" from {peer}")).unwrap_or_default()
    }

    pub(super) fn origin(&self) -> String {
        match (self.endpoint, self.partner) {
            (Some(endpoint), _) => format!(" from {endpoint}"),
            (None, Some(partner)) => format!(" from partner {partner}"),
            (None, None) => String::new(),
        }
    }

    pub(super) fn offer(&self) -> String {
        let path = self.text("path").unwrap_or_else(|| "A file".to_owned());
        format!("{path}{}", self.endpoint.map(|endpoint| format!(" at {endpoint}")).unwrap_or_default())
    }

    pub(super) fn file(&self) -> String {
        self.text("file_name").unwrap_or_else(|| "a transfer".to_owned())
    }

    pub(super) fn attempt(&self) -> String {
        format!("Attempt{}", self.with(" ", "attempt"))
    }

    pub(super) fn delivered(&self) -> String {
        match (self.number("delivered"), self.number("deliveries")) {
            (Some(delivered), Some(all)) => format!(": {delivered} of {all} delivered"),
            _ => String::new(),
        }
    }

    /// Who sent a message: the partner, or the names that it came under, and from where.
    pub(super) fn sender(&self) -> String {
        match (self.partner, self.text("as2_from")) {
            (Some(partner), _) => format!(" of partner {partner}{}", self.by_peer()),
            (None, Some(name)) => format!(" of {name}{}", self.by_peer()),
            (None, None) => self.by_peer(),
        }
    }

    /// What is spoken, with whom, for which endpoint, what for.
    pub(super) fn line(&self) -> String {
        let way = if self.text("direction").as_deref() == Some("inbound") { "from" } else { "to" };
        let there = match (self.text("host"), self.peer) {
            (Some(host), Some(peer)) if way == "to" && host != peer => format!("{host} ({peer})"),
            (_, Some(peer)) => peer.to_owned(),
            (Some(host), None) => host,
            (None, None) => "an unknown address".to_owned(),
        };
        let protocol =
            self.text("protocol").map(|word| format!("{} ", word.to_uppercase())).unwrap_or_default();
        let way = if self.text("direction").is_some() { format!("{way} ") } else { String::new() };
        let endpoint = self.endpoint.map(|endpoint| format!(", endpoint {endpoint}")).unwrap_or_default();
        format!("{protocol}{way}{there}{endpoint}{}", self.purpose())
    }

    pub(super) fn purpose(&self) -> &'static str {
        match self.detail.get("purpose").and_then(Value::as_str).and_then(Purpose::parse) {
            Some(Purpose::Poll) => ", to poll",
            Some(Purpose::Deliver) => ", to deliver",
            Some(Purpose::Receive) => ", to receive",
            Some(Purpose::Test) => ", for a test",
            Some(Purpose::Console) => ", for a page of the console",
            Some(Purpose::Receipt) => ", to send a receipt",
            Some(Purpose::Audit) => ", for audit seals",
            Some(Purpose::Data) => ", for a listing or a file",
            None => "",
        }
    }

    pub(super) fn protection(&self) -> String {
        let Some(Value::Object(security)) = self.detail.get("security") else { return String::new() };
        let word = |key: &str| security.get(key).and_then(Value::as_str);
        match (word("version"), word("host_key_type")) {
            (Some(version), _) => format!(", {version}"),
            (None, Some(key)) => format!(", SSH with {key}"),
            (None, None) => ", not protected".to_owned(),
        }
    }

    pub(super) fn traffic(&self) -> String {
        let mut text = self.count(", ", "requests", "request", "requests");
        if let (Some(read), Some(written)) = (self.number("bytes_in"), self.number("bytes_out")) {
            text.push_str(&format!(", {read} bytes in, {written} bytes out"));
        }
        text
    }
}

/// An actor, for people. One of a newer Waybill is Waybill's.
fn named(actor: &str) -> String {
    Actor::from_text(actor).unwrap_or(Actor::System).name()
}
