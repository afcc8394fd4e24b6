//! Definitions for tests, made without documents.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that makes a definition wrongly should say so and end"
)]

use model::definition::{
    Balance, Destination, Endpoint, EndpointUrl, Flow, FlowSource, OfflineRule, Order, PollSource,
    RetryPolicy, SettleWhen, Throttle,
};
use model::schedule::Schedule;
use model::schema::{Finding, Findings, Group, Section, TransportSpec, Value, Values, joined};
use model::{Mask, MaskSpec};
use std::time::Duration;
use transport::folder::{After, Filter, Polling};

/// Declared fields as documents write them, defaults filled in. An empty text stands for one that was left out.
///
/// # Panics
/// A field is not declared, or its text does not fit.
#[must_use]
pub fn values(groups: &[&Group], set: &[(&str, &str)]) -> Values {
    let (fields, _) = joined(groups);
    let mut values = Values::defaults(&fields).unwrap();
    for (name, text) in set.iter().filter(|(_, text)| !text.is_empty()) {
        let field = fields.iter().find(|field| field.name == *name);
        let field = field.unwrap_or_else(|| panic!("{name} is not declared"));
        values.set(field, Value::parse(field.kind, text).unwrap());
    }
    values
}

/// An endpoint without a node.
///
/// # Panics
/// As [`values`]; and the URL is none.
#[must_use]
pub fn endpoint(spec: &TransportSpec, name: &str, url: &str, set: &[(&str, &str)]) -> Endpoint {
    Endpoint {
        name: name.into(),
        transport: spec.name.into(),
        urls: vec![EndpointUrl { url: url.parse().unwrap(), weight: 1 }],
        node: None,
        pool: None,
        throttle: Throttle::default(),
        balance: Balance::RoundRobin,
        offline: Some(OfflineRule::default()),
        options: values(spec.endpoint, set),
    }
}

/// What a reader or check reports, each as `FIELD: MESSAGE`, warnings with `warning: ` before it.
pub fn findings(check: impl FnOnce(&mut Findings<'_>)) -> Vec<String> {
    let mut found = Vec::new();
    check(&mut Findings::of(&mut found, Section::ENDPOINT, "checked"));
    let shown = |finding: Finding| {
        let warning = if finding.is_warning { "warning: " } else { "" };
        format!("{warning}{}: {}", finding.path, finding.message)
    };
    found.into_iter().map(shown).collect()
}

/// A destination that tries as usual and never expires.
///
/// # Panics
/// As [`values`].
#[must_use]
pub fn destination(spec: &TransportSpec, endpoint: &str, set: &[(&str, &str)]) -> Destination {
    Destination {
        name: endpoint.into(),
        endpoint: endpoint.into(),
        file_name: None,
        retry: RetryPolicy::default(),
        expires_after: None,
        hours: Schedule::default(),
        steps: Vec::new(),
        options: values(spec.destination, set),
    }
}

/// A polled folder: every name, at first sight, in the order of names, without limit.
#[must_use]
pub fn poll(endpoint: &str, after: After) -> PollSource {
    let polling = Polling {
        after,
        keep_for: None,
        error_directory: None,
        stable_for: Duration::ZERO,
        recursive: false,
        directory: None,
        ignore_times: false,
        identity: model::IdentityRule::default(),
        claim: transport::folder::Claim::default(),
        stream: false,
        done_file: None,
        attached_files: Vec::new(),
        filter: Filter::default(),
        temporary_suffix: ".a".into(),
    };
    PollSource {
        endpoint: endpoint.into(),
        mask: Mask::new(&MaskSpec::default()).unwrap(),
        schedule: Schedule::every(Duration::from_secs(60)),
        preferred_node: None,
        expect: None,
        read_limit: 0,
        order: Order::Name,
        settle: SettleWhen::Recorded,
        retry: RetryPolicy::default(),
        options: polling.to_values(),
    }
}

/// The same source with something said otherwise to the folder.
#[must_use]
pub fn polling(poll: PollSource, change: impl FnOnce(&mut Polling)) -> PollSource {
    let mut polling = Polling::of(&poll);
    change(&mut polling);
    PollSource { options: polling.to_values(), ..poll }
}

/// A flow with this source and no destination.
#[must_use]
pub fn flow(name: &str, source: PollSource) -> Flow {
    Flow {
        name: name.into(),
        title: None,
        enabled: true,
        source: FlowSource::Poll(source),
        destinations: Vec::new(),
        ordered: false,
        continue_after_failure: false,
        together: false,
        retention: Duration::ZERO,
        on_failure: None,
        metadata: Vec::new(),
        steps: Vec::new(),
        pool: None,
    }
}
