//! What flows and partners say of payloads in answers.

use crate::agreement::{Agreement, DuplicatePolicy, MdnRequest};
use crate::header_options::ContentCoding;
use crate::options::SPEC;
use model::definition::{Definitions, Destination};
use model::schema::{FieldPath, Finding, Findings, Section};
use std::collections::BTreeSet;
use std::time::Duration;

/// The longest wait of a connection: servers and proxies between give up after that.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// What a partner's table says by itself.
pub(crate) fn partner(agreement: &Agreement, findings: &mut Findings<'_>) {
    if agreement.answer_within.is_some_and(|wait| wait > LONGEST_WAIT) {
        findings.error("receive.answer_within", "must be at most 10m");
    }
    // Its answer may have been lost on the way, and a file with it.
    if agreement.answer_within.is_some() && agreement.duplicates != DuplicatePolicy::Repeat {
        let message = "needs receive.duplicates = \"repeat\": a message that is repeated must get the same answer, with the file in it";
        findings.error("receive.answer_within", message);
    }
    if let Some(why) = no_part(agreement).filter(|_| agreement.answer_within.is_some()) {
        let message =
            format!("keeps connections open for nothing: {why}, which never go into answers: take this out");
        findings.warning("receive.answer_within", message);
    }
}

/// Why messages to the partner cannot stand in the answer to one of its own; `None` where they can.
fn no_part(agreement: &Agreement) -> Option<&'static str> {
    if agreement.is_protected_by_pgp() {
        return Some("files go to the partner as messages by PGP/MIME (send.packaging)");
    }
    let is_coded = agreement.headers.content_coding != ContentCoding::No;
    is_coded.then_some("files go to the partner as messages in a coding of HTTP's (send.content_coding)")
}

/// Whether the answers to what the first flow sends may come to the second one, through the flows that they go through.
fn leads_to<'a>(definitions: &'a Definitions, first: &'a str, second: &str) -> bool {
    let (mut seen, mut next) = (BTreeSet::new(), vec![first]);
    while let Some(name) = next.pop() {
        if name == second {
            return true;
        }
        if seen.insert(name)
            && let Some(flow) = definitions.flows.get(name)
        {
            next.extend(flow.destinations.iter().filter_map(Destination::response_flow));
        }
    }
    false
}

/// What the destinations of flows say.
pub(crate) fn definitions(definitions: &Definitions) -> Vec<Finding> {
    let mut found = Vec::new();
    for flow in definitions.flows.values() {
        for (destination, number) in flow.destinations.iter().zip(1..) {
            let endpoint = definitions.endpoints.get(&destination.endpoint);
            let Some(endpoint) = endpoint.filter(|endpoint| endpoint.transport == SPEC.name) else {
                continue;
            };
            let path = || FieldPath::from("destination").item(number);
            let mut findings = Findings::of(&mut found, Section::FLOW, &flow.name);
            if destination.response_flow().is_some_and(|first| leads_to(definitions, first, &flow.name)) {
                let message = "must not lead back to this flow: what the partner answers would be sent again, and answered again";
                findings.error(path().key("response").join("flow"), message);
            }
            let Some(template) = destination.options.text("answer_to") else { continue };
            if !["{name}", "{stem}", "{ext}"].iter().any(|field| template.contains(field)) {
                let message = "must have a field of the file's name, such as \"{stem}\": every file would answer the same message";
                findings.error(path().key("answer_to"), message);
            }
            let partner = endpoint.partner().and_then(|name| definitions.partners.get(name));
            let side = partner.and_then(|partner| partner.agreement(SPEC.name));
            if let Some(why) = side.and_then(|side| no_part(&Agreement::of(side))) {
                let message = format!("has no effect: {why}, which never go into answers");
                findings.warning(path().key("answer_to"), message);
                continue;
            }
            if side.is_some_and(|side| Agreement::of(side).answer_within.is_none()) {
                let message =
                    "has no effect: no answer to the partner waits for a file (receive.answer_within)";
                findings.warning(path().key("answer_to"), message);
            }
            if side.is_some_and(|side| Agreement::of(side).mdn == MdnRequest::None) {
                let message = "has no effect: without a receipt (mdn.ask) it would not be known whether the partner has read the answer";
                findings.warning(path().key("answer_to"), message);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests;
