//! Files that stay at their source (`after = "keep"`) are known by flow, endpoint and path. Where one of these
//! changes its name, they are taken again: a person should know before.

use super::{Changes, Key, Notice, by_key};
use model::StoredDefinition;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn taken_again(current: &[StoredDefinition], changes: &Changes) -> Vec<Notice> {
    let before = by_key(current);
    let gone = Gone::of(&before, changes);
    let earlier = |of: &StoredDefinition| before.get(&(of.section.as_str(), of.name.as_str())).copied();
    let mut notices = Vec::new();
    for flow in changes.put.iter().filter(|put| put.section == "flow" && keeps(put)) {
        let message = match earlier(flow) {
            Some(old) if keeps(old) && endpoint(old) != endpoint(flow) => {
                let (from, to) = (endpoint(old).unwrap_or("?"), endpoint(flow).unwrap_or("?"));
                Some(format!(
                    "it polls endpoint {to} instead of {from}: files that were kept there will be transferred again"
                ))
            }
            Some(old) if keeps(old) && ignores_times(old) != ignores_times(flow) => Some(
                "its ignore_times changes: files that were kept at the source are taken again".to_owned(),
            ),
            Some(_) => None,
            None => gone.like(flow).map(|old| {
                format!(
                    "it looks like flow {} under another name: files that were kept at the source will be \
                    transferred again",
                    old.name
                )
            }),
        };
        notices.extend(message.map(|message| Notice { definition: flow.key(), message }));
    }
    let polled: BTreeSet<&str> =
        current.iter().filter(|flow| flow.section == "flow" && keeps(flow)).filter_map(endpoint).collect();
    for changed in changes.put.iter().filter(|put| put.section == "endpoint") {
        let Some(old) = earlier(changed) else { continue };
        let url = |of: &StoredDefinition| of.document.get("url").cloned();
        if polled.contains(changed.name.as_str()) && url(old) != url(changed) {
            let message = "its url changes: of the files that flows keep there, those with the same path \
                are not transferred again, all others are";
            notices.push(Notice { definition: changed.key(), message: message.to_owned() });
        }
    }
    notices
}

/// Whether a flow leaves files at its source.
fn keeps(flow: &StoredDefinition) -> bool {
    flow.document.pointer("/source/after").and_then(Json::as_str) == Some("keep")
}

fn endpoint(flow: &StoredDefinition) -> Option<&str> {
    flow.document.pointer("/source/endpoint").and_then(Json::as_str)
}

fn ignores_times(flow: &StoredDefinition) -> bool {
    flow.document.pointer("/source/ignore_times").and_then(Json::as_bool) == Some(true)
}

/// Flows that keep files and go, by what a flow under another name has in common with them.
struct Gone<'d> {
    by_endpoint: BTreeMap<&'d str, &'d StoredDefinition>,
    by_destinations: BTreeMap<String, &'d StoredDefinition>,
}

impl<'d> Gone<'d> {
    fn of(before: &BTreeMap<Key<'d>, &'d StoredDefinition>, changes: &Changes) -> Self {
        let mut gone = Self { by_endpoint: BTreeMap::new(), by_destinations: BTreeMap::new() };
        for (section, name) in changes.removed.iter().filter(|(section, _)| section == "flow") {
            let Some(flow) = before.get(&(section.as_str(), name.as_str())).filter(|flow| keeps(flow)) else {
                continue;
            };
            if let Some(endpoint) = endpoint(flow) {
                gone.by_endpoint.entry(endpoint).or_insert(flow);
            }
            gone.by_destinations.entry(destinations(flow)).or_insert(flow);
        }
        gone
    }

    /// A flow that polls the same endpoint, or delivers to the same places.
    fn like(&self, flow: &StoredDefinition) -> Option<&'d StoredDefinition> {
        let polled = endpoint(flow).and_then(|endpoint| self.by_endpoint.get(endpoint));
        polled.or_else(|| self.by_destinations.get(&destinations(flow))).copied()
    }
}

fn destinations(flow: &StoredDefinition) -> String {
    flow.document.get("destination").map(Json::to_string).unwrap_or_default()
}
