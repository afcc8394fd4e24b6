//! Files that stay at their source (`after = "keep"`) are known by flow, endpoint and path. Where one of these
//! changes its name, they are taken again: a person should know before.

use super::{Changes, Notice};
use model::StoredDefinition;
use serde_json::Value as Json;

pub(super) fn taken_again(current: &[StoredDefinition], changes: &Changes) -> Vec<Notice> {
    let gone = |section: &str| {
        let removed: Vec<&StoredDefinition> = current
            .iter()
            .filter(|d| {
                d.section == section && changes.removed.contains(&(d.section.clone(), d.name.clone()))
            })
            .collect();
        removed
    };
    let earlier =
        |of: &StoredDefinition| current.iter().find(|old| old.section == of.section && old.name == of.name);
    let mut notices = Vec::new();
    for flow in changes.put.iter().filter(|put| put.section == "flow" && keeps(put)) {
        let message = match earlier(flow) {
            Some(old) if keeps(old) && endpoint(old) != endpoint(flow) => {
                let (from, to) = (endpoint(old).unwrap_or("?"), endpoint(flow).unwrap_or("?"));
                Some(format!("it polls endpoint {to} instead of {from}: files that were kept there are taken again"))
            }
            Some(_) => None,
            None => gone("flow").into_iter().find(|old| keeps(old) && alike(old, flow)).map(|old| {
                format!(
                    "it looks like flow {} under another name: files that were kept at the source are taken again",
                    old.name
                )
            }),
        };
        notices.extend(message.map(|message| Notice { definition: flow.key(), message }));
    }
    for changed in changes.put.iter().filter(|put| put.section == "endpoint") {
        let Some(old) = earlier(changed) else { continue };
        let url = |of: &StoredDefinition| of.document.get("url").cloned();
        let polled = current.iter().any(|flow| {
            flow.section == "flow" && keeps(flow) && endpoint(flow) == Some(changed.name.as_str())
        });
        if polled && url(old) != url(changed) {
            let message = "its url changes: files that flows keep there and that have the same path are not taken \
                           again, all others are";
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

/// Whether two flows poll the same endpoint, or deliver to the same places.
fn alike(one: &StoredDefinition, other: &StoredDefinition) -> bool {
    let to = |flow: &StoredDefinition| flow.document.get("destination").cloned();
    endpoint(one) == endpoint(other) || to(one) == to(other)
}
