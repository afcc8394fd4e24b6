//! What partners say of receipts that come later.

use crate::agreement::{Agreement, MdnRequest};
use crate::options::SPEC;
use crate::receipt_target::hosts_mask;
use crate::reply_address::{check_listener, check_url, listener_of};
use model::definition::Definitions;
use model::schema::{FieldPath, Finding, Findings, Section, Value, Values, duration_text};
use std::time::Duration;

/// A receipt that is awaited for longer was forgotten.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 86_400);

/// What a partner's table says by itself.
pub(crate) fn partner(side: &Values, agreement: &Agreement, findings: &mut Findings<'_>) {
    let terms = &agreement.receipts;
    let waits = match side.table("mdn").get("deadline") {
        Some(Value::Duration(wait)) => *wait,
        _ => terms.deadline,
    };
    if waits.is_zero() || waits > LONGEST_WAIT {
        findings.error("mdn.deadline", "must be longer than 0s and at most 365d");
    }
    if let Some(url) = &terms.url
        && let Err(wrong) = check_url(url)
    {
        findings.error("mdn.url", wrong.message);
    }
    if terms.listener.is_some() && agreement.mdn == MdnRequest::None {
        findings.warning("mdn.reply_to", "has no effect: no receipt is asked for (mdn.ask)");
    }
    for (host, number) in terms.hosts.iter().zip(1..) {
        let path = FieldPath::from("mdn.hosts").item(number);
        if host.contains(['/', '@']) || host.contains("://") {
            let message = "must be a host or a mask of hosts without scheme, port and path, such as \"*.globex.example\"";
            findings.error(path, message);
        } else if let Err(wrong) = hosts_mask(std::slice::from_ref(host)) {
            findings.error(path, wrong.to_string());
        } else if matches!(host.as_str(), "*" | "*.*") {
            let message = "lets whoever knows the partner's AS2 name make this gateway connect to any host; name the \
                partner's hosts";
            findings.warning(path, message);
        }
    }
}

/// What partners say of our listeners, and flows of how long their deliveries may take.
pub(crate) fn definitions(definitions: &Definitions) -> Vec<Finding> {
    let mut found = Vec::new();
    for partner in definitions.partners.values() {
        let Some(side) = partner.agreement(SPEC.name) else { continue };
        let terms = Agreement::of(side).receipts;
        // One that is not defined, or has an error, is reported there.
        let Some(listener) = listener_of(definitions, &terms, SPEC.name) else { continue };
        if let Err(wrong) = listener.and_then(|listener| check_listener(listener, &terms)) {
            let mut findings = Findings::of(&mut found, Section::PARTNER, &partner.name);
            findings.within(SPEC.name).error(FieldPath::from("mdn").join(wrong.field), wrong.message);
        }
    }
    expire_early(definitions, &mut found);
    found
}

/// Deliveries that expire while their receipts may still come.
fn expire_early(definitions: &Definitions, found: &mut Vec<Finding>) {
    for flow in definitions.flows.values() {
        for (destination, number) in flow.destinations.iter().zip(1..) {
            let Some(expires_after) = destination.expires_after else { continue };
            let endpoint = definitions.endpoints.get(&destination.endpoint);
            let endpoint = endpoint.filter(|endpoint| endpoint.transport == SPEC.name);
            let partner = endpoint.and_then(|endpoint| definitions.partners.get(endpoint.partner()?));
            let Some(side) = partner.and_then(|partner| partner.agreement(SPEC.name)) else { continue };
            let agreement = Agreement::of(side);
            let (comes_later, wait) = (agreement.receipts.listener.is_some(), agreement.receipts.deadline);
            if agreement.mdn == MdnRequest::None || !comes_later || expires_after >= wait {
                continue;
            }
            let message = format!(
                "is shorter than the partner may take for its receipt (mdn.deadline, {}): a delivery may expire, and \
                 its file go where on_failure says, though the partner has it",
                duration_text(wait)
            );
            let path = FieldPath::from("destination").item(number).key("expires_after");
            Findings::of(found, Section::FLOW, &flow.name).warning(path, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::definition::{Listener, Partner};
    use std::sync::Arc;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    fn side(mdn: Values) -> Values {
        Values::of([("id", text("GLOBEX")), ("mdn", Value::Table(mdn))])
    }

    fn paths(found: &[Finding]) -> Vec<String> {
        found
            .iter()
            .map(|finding| format!("{}{}", finding.path, if finding.is_warning { "?" } else { "" }))
            .collect()
    }

    fn of_partner(mdn: Values) -> Vec<String> {
        let (mut found, side) = (Vec::new(), side(mdn));
        partner(&side, &Agreement::of(&side), &mut Findings::of(&mut found, Section::PARTNER, "globex"));
        paths(&found)
    }

    #[test]
    fn every_mistake_of_a_partner_is_found_at_its_field() {
        let hosts = |hosts: &[&str]| Value::List(hosts.iter().map(|host| text(host)).collect());
        assert_eq!(of_partner(Values::default()), Vec::<String>::new());
        assert_eq!(of_partner(Values::of([("deadline", Value::Duration(Duration::ZERO))])), ["mdn.deadline"]);
        let two_years = Duration::from_secs(2 * 365 * 86_400);
        assert_eq!(of_partner(Values::of([("deadline", Value::Duration(two_years))])), ["mdn.deadline"]);
        assert_eq!(of_partner(Values::of([("url", text("mailto:edi@acme.example"))])), ["mdn.url"]);
        let unused = Values::of([("ask", text("none")), ("reply_to", text("listener:in"))]);
        assert_eq!(of_partner(unused), ["mdn.reply_to?"]);
        let wrong = hosts(&["https://globex.example/", "*.globex.example", "*", ""]);
        let expected = ["mdn.hosts[1]", "mdn.hosts[3]?", "mdn.hosts[4]"];
        assert_eq!(of_partner(Values::of([("hosts", wrong)])), expected);
    }

    #[test]
    fn the_listener_must_take_as2_and_tell_its_host() {
        let found = |transport: &str, host: Option<&str>, url: Option<&str>| {
            let options = host.map(|host| Values::of([("host", text(host))])).unwrap_or_default();
            let mut mdn = Values::of([("reply_to", text("listener:in"))]);
            if let Some(url) = url {
                mdn = mdn.with("url", text(url));
            }
            let agreements = [(SPEC.name.to_owned(), side(mdn))].into();
            let globex = Partner { name: "globex".into(), title: None, contact: None, agreements };
            let mut all = Definitions::default();
            all.partners.insert("globex".into(), Arc::new(globex));
            let listener = Listener { name: "in".into(), transport: transport.into(), options };
            all.listeners.insert("in".into(), Arc::new(listener));
            paths(&definitions(&all))
        };
        assert_eq!(found("as2", Some("as2.acme.example"), None), Vec::<String>::new());
        assert_eq!(found("as2", None, Some("https://as2.acme.example/as2")), Vec::<String>::new());
        assert_eq!(found("as2", None, None), ["as2.mdn.reply_to"]);
        assert_eq!(found("http", Some("as2.acme.example"), None), ["as2.mdn.reply_to"]);
    }
}
