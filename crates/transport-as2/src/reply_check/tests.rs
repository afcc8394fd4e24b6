use super::*;
use crate::agreement::Packaging;
use model::definition::{Endpoint, Flow, Partner};
use model::schema::{Value, Values};
use std::sync::Arc;

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// What is found of a flow with such a destination, to a partner that says this of messages.
fn found(options: Values, receive: Values) -> Vec<String> {
    found_beside(options, receive, None)
}

/// The same beside another flow, whose destination has these options.
fn found_beside(options: Values, receive: Values, other: Option<(&str, Values)>) -> Vec<String> {
    found_of(options, receive, Values::default(), other)
}

/// The same of a partner that gets messages like this.
fn found_of(options: Values, receive: Values, send: Values, other: Option<(&str, Values)>) -> Vec<String> {
    let mut all = Definitions::default();
    let mut endpoint = Endpoint::bare("globex-as2", "https://as2.globex.example/in", &SPEC).unwrap();
    endpoint.options = endpoint.options.with("partner", text("globex"));
    all.endpoints.insert("globex-as2".into(), Arc::new(endpoint));
    let tables = [("receive", Value::Table(receive)), ("send", Value::Table(send))];
    let side = Values::of([("id", text("GLOBEX"))].into_iter().chain(tables));
    let agreements = [(SPEC.name.to_owned(), side)].into();
    let globex = Partner { name: "globex".into(), title: None, contact: None, agreements };
    all.partners.insert("globex".into(), Arc::new(globex));
    for (name, options) in [("orders", options)].into_iter().chain(other) {
        let destination = Destination { options, ..Destination::usual("out", "globex-as2", &SPEC).unwrap() };
        let flow = Flow::of_one_destination(name, destination, Duration::from_secs(1)).unwrap();
        all.flows.insert(name.into(), Arc::new(flow));
    }
    let path = |finding: &Finding| format!("{}{}", finding.path, if finding.is_warning { "?" } else { "" });
    definitions(&all).iter().map(path).collect()
}

#[test]
fn answers_do_not_go_round_in_a_circle() {
    let to = |flow: &str| Values::of([("response", Value::Table(Values::of([("flow", text(flow))])))]);
    assert_eq!(found(to("quotes"), Values::default()), Vec::<String>::new());
    assert_eq!(found(to("orders"), Values::default()), ["destination[1].response.flow"]);
    // Nor by way of other flows; what ends somewhere is no circle.
    let beside = |other: &str| found_beside(to("quotes"), Values::default(), Some(("quotes", to(other))));
    assert_eq!(beside("orders"), ["destination[1].response.flow", "destination[1].response.flow"]);
    assert_eq!(beside("others"), Vec::<String>::new());
    // One that only leads into a circle is none of it.
    assert_eq!(beside("quotes"), ["destination[1].response.flow"]);
}

#[test]
fn each_file_answers_a_message_of_its_own_that_waits() {
    let answers = |template: &str| Values::of([("answer_to", text(template))]);
    let waits = || Values::of([("answer_within", Value::Duration(Duration::from_secs(20)))]);
    assert_eq!(found(answers("{stem}"), waits()), Vec::<String>::new());
    assert_eq!(found(answers("1@globex"), waits()), ["destination[1].answer_to"]);
    assert_eq!(found(answers("{stem}"), Values::default()), ["destination[1].answer_to?"]);
}

#[test]
fn a_file_that_never_goes_into_an_answer_is_told_of() {
    let answers = || Values::of([("answer_to", text("{stem}"))]);
    let waits = || Values::of([("answer_within", Value::Duration(Duration::from_secs(20)))]);
    let to = |send: Values| found_of(answers(), waits(), send, None);
    let by_pgp = |security: &str| to(Values::of([("packaging", text("pgp")), ("security", text(security))]));
    assert_eq!(by_pgp("signed"), ["destination[1].answer_to?"]);
    assert_eq!(by_pgp("none"), Vec::<String>::new());
    assert_eq!(to(Values::of([("content_coding", text("gzip"))])), ["destination[1].answer_to?"]);
    // Nor is its connection to be kept open.
    for (packaging, expected) in [(Packaging::Smime, 0), (Packaging::Pgp, 1)] {
        let (mut all, answer_within) = (Vec::new(), Some(Duration::from_secs(20)));
        let agreement = Agreement { answer_within, packaging, ..Agreement::default() };
        partner(&agreement, &mut Findings::of(&mut all, Section::PARTNER, "globex"));
        assert_eq!(all.len(), expected, "{packaging}");
        assert!(all.iter().all(|finding| finding.is_warning), "{packaging}");
    }
}

#[test]
fn a_connection_does_not_wait_for_hours() {
    for (wait, expected) in [(600, 0), (601, 1)] {
        let (mut all, wait) = (Vec::new(), Some(Duration::from_secs(wait)));
        let agreement = Agreement { answer_within: wait, ..Agreement::default() };
        partner(&agreement, &mut Findings::of(&mut all, Section::PARTNER, "globex"));
        assert_eq!(all.len(), expected, "{wait:?}");
    }
}

#[test]
fn an_answer_that_holds_a_file_is_one_that_is_repeated() {
    for (duplicates, expected) in
        [(DuplicatePolicy::Repeat, 0), (DuplicatePolicy::Warn, 1), (DuplicatePolicy::Error, 1)]
    {
        let (mut all, answer_within) = (Vec::new(), Some(Duration::from_secs(20)));
        let agreement = Agreement { answer_within, duplicates, ..Agreement::default() };
        partner(&agreement, &mut Findings::of(&mut all, Section::PARTNER, "globex"));
        assert_eq!(all.len(), expected, "{duplicates}");
    }
}
