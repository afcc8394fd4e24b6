use super::super::Filter;
use super::*;
use crate::folder::After;
use model::definition::{
    Balance, Destination, EndpointUrl, OfflineRule, Order, RetryPolicy, SettleWhen, Throttle,
};
use model::schedule::Schedule;
use model::schema::{Value, Values};
use model::{Mask, MaskSpec};
use std::sync::Arc;
use std::time::Duration;

/// An endpoint in a directory of one server, for one node where that is said.
fn endpoint(name: &str, directory: &str, node: Option<&str>) -> Endpoint {
    let url = EndpointUrl { url: format!("place://server/{directory}").parse().unwrap(), weight: 1 };
    Endpoint {
        name: name.into(),
        transport: "place".into(),
        urls: vec![url],
        node: node.map(str::to_owned),
        pool: None,
        throttle: Throttle::default(),
        balance: Balance::RoundRobin,
        offline: Some(OfflineRule::default()),
        options: Values::default(),
    }
}

fn place(endpoint: &Endpoint) -> Option<FolderPlace> {
    let directory = endpoint.url()?.path().trim_start_matches('/').into();
    Some(FolderPlace { address: "place://server".into(), directory })
}

fn polling(suffix: &str, recursive: bool) -> Polling {
    Polling {
        directory: None,
        after: After::Delete,
        keep_for: None,
        error_directory: None,
        stable_for: Duration::ZERO,
        recursive,
        ignore_times: false,
        identity: model::IdentityRule::default(),
        claim: Claim::default(),
        stream: false,
        done_file: None,
        attached_files: Vec::new(),
        filter: Filter::default(),
        temporary_suffix: suffix.into(),
    }
}

fn flow(name: &str, from: &str, polling: &Polling, to: &str, temporary: Value) -> Arc<Flow> {
    let source = PollSource {
        endpoint: from.into(),
        mask: Mask::new(&MaskSpec::default()).unwrap(),
        schedule: Schedule::every(Duration::from_secs(60)),
        preferred_node: None,
        expect: None,
        read_limit: 0,
        order: Order::Name,
        settle: SettleWhen::Recorded,
        retry: RetryPolicy::default(),
        options: polling.to_values(),
    };
    let destination = Destination {
        name: to.into(),
        endpoint: to.into(),
        file_name: None,
        retry: RetryPolicy::default(),
        expires_after: None,
        hours: Schedule::default(),
        steps: Vec::new(),
        options: Values::of([("temporary", temporary)]),
    };
    Arc::new(Flow {
        name: name.into(),
        title: None,
        enabled: true,
        source: FlowSource::Poll(source),
        destinations: vec![destination],
        ordered: false,
        continue_after_failure: false,
        together: false,
        retention: Duration::ZERO,
        on_failure: None,
        metadata: Vec::new(),
        steps: Vec::new(),
        pool: None,
    })
}

fn suffix(suffix: &str) -> Value {
    Value::Table(Values::of([("suffix", Value::Text(suffix.into()))]))
}

/// What is found of a flow that writes to `written` so, where another polls `in` so.
fn found(written: Endpoint, temporary: Value, polled: &Polling, polled_by: Option<&str>) -> Vec<String> {
    let mut all = Definitions::default();
    for endpoint in [written, endpoint("in", "in", polled_by), endpoint("elsewhere", "elsewhere", None)] {
        all.endpoints.insert(endpoint.name.clone(), Arc::new(endpoint));
    }
    let writer = flow("writer", "elsewhere", &polling(".a", false), "written", temporary);
    let poller = flow("poller", "in", polled, "elsewhere", suffix(".a"));
    for flow in [writer, poller] {
        all.flows.insert(flow.name.clone(), flow);
    }
    let found = definitions("place", &all, place);
    assert!(found.iter().all(|finding| finding.is_warning && finding.subject.name == "writer"), "{found:?}");
    assert!(found.iter().all(|finding| finding.path.to_string() == "destination[1].temporary"), "{found:?}");
    found.into_iter().map(|finding| finding.message).collect()
}

#[test]
fn a_delivery_into_a_polled_directory_is_warned_of_where_unfinished_files_are_not_known() {
    let here = || endpoint("written", "in", None);
    let by_a = polling(".a", false);
    assert_eq!(found(here(), suffix(".a"), &by_a, None), [""; 0]);
    assert_eq!(found(here(), suffix(".part.a"), &by_a, None), [""; 0]);
    for (temporary, polled, words) in [
        (suffix(".part"), &by_a, "give both the same suffix"),
        (suffix(".a"), &polling("", false), "give both the same suffix"),
        (Value::Text("none".into()), &by_a, "temporary = \"none\""),
    ] {
        let found = found(here(), temporary, polled, None);
        assert!(matches!(&found[..], [one] if one.contains(words) && one.contains("'poller'")), "{found:?}");
    }
}

#[test]
fn unfinished_files_in_a_directory_of_their_own_count_there() {
    let temporary = |directory: &str| {
        let parts = [("suffix", ".part"), ("directory", directory)];
        Value::Table(Values::of(parts.map(|(name, text)| (name, Value::Text(text.into())))))
    };
    let by_a = polling(".a", false);
    assert_eq!(found(endpoint("written", "in", None), temporary("parts"), &by_a, None), [""; 0]);
    assert_eq!(found(endpoint("written", "done", None), temporary("in"), &by_a, None).len(), 1);
}

#[test]
fn an_archive_that_a_flow_polls_is_warned_of() {
    let archiving = |directory: &str| {
        let after = After::ArchiveLocally { directory: directory.into(), timestamp: false };
        flow("archiving", "elsewhere", &Polling { after, ..polling(".a", false) }, "elsewhere", suffix(".a"))
    };
    let found = |directory: &str, recursive: bool| {
        let mut all = Definitions::default();
        for endpoint in [endpoint("in", "in", None), endpoint("elsewhere", "elsewhere", None)] {
            all.endpoints.insert(endpoint.name.clone(), Arc::new(endpoint));
        }
        let poller = flow("poller", "in", &polling(".a", recursive), "elsewhere", suffix(".a"));
        for flow in [archiving(directory), poller] {
            all.flows.insert(flow.name.clone(), flow);
        }
        let here = |endpoint: &Endpoint| {
            let directory = RemotePath::from("/").join(&place(endpoint)?.directory);
            Some(FolderPlace { address: LOCAL_ADDRESS.into(), directory })
        };
        definitions("place", &all, here)
    };
    for (directory, recursive, warnings) in [
        ("/in", false, 1),
        ("/archive", true, 0),
        ("/in/{received:%Y}", false, 0),
        ("/in/{received:%Y}", true, 1),
    ] {
        let found = found(directory, recursive);
        assert_eq!(found.len(), warnings, "{directory}: {found:?}");
        assert!(
            found.iter().all(|finding| finding.path.to_string() == "source.after.archive_locally"),
            "{found:?}"
        );
    }
}

#[test]
fn a_delivery_below_a_polled_directory_counts_where_polls_are_recursive_and_another_machine_does_not() {
    let below = || endpoint("written", "in/deep/er", None);
    assert_eq!(found(below(), suffix(".part"), &polling(".a", false), None), [""; 0]);
    assert_eq!(found(below(), suffix(".part"), &polling(".a", true), None).len(), 1);
    let on = |node| endpoint("written", "in", Some(node));
    assert_eq!(found(on("a"), suffix(".part"), &polling(".a", false), Some("b")), [""; 0]);
    assert_eq!(found(on("a"), suffix(".part"), &polling(".a", false), Some("a")).len(), 1);
}

/// What is found of a source, each as field and message.
fn found_of_poll(directory: Option<&str>, polling: &Polling) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let directory = directory.map(RemotePath::from);
    check_poll(directory.as_ref(), polling, &mut Findings::of(&mut found, Section::FLOW, "f"));
    found.into_iter().map(|finding| (finding.path.to_string(), finding.message)).collect()
}

#[test]
fn every_mistake_of_a_source_is_found_at_its_own_field() {
    let after = |directory: &str| After::Archive { directory: directory.into(), timestamp: true };
    let inside =
        Polling { after: after("in/done"), error_directory: Some("in/bad".into()), ..polling("a/b", false) };
    let found = found_of_poll(Some("in"), &inside);
    let paths: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(paths, ["temporary_suffix", "after.archive", "error_directory"], "{found:?}");
    assert!(found[1].1.contains("'in/done' is inside the polled directory"), "{found:?}");
    // Where the endpoint's directory is not known, the rest is found all the same.
    assert_eq!(found_of_poll(None, &inside).len(), 1);
    let moved = Polling {
        after: After::Move { directory: String::new() },
        error_directory: Some("../bad".into()),
        ..polling("", false)
    };
    let found = found_of_poll(None, &moved);
    assert_eq!(found[0], ("after.move".into(), "is empty; name a directory".into()));
    assert!(found[1].0 == "error_directory" && found[1].1.contains("'..'"), "{found:?}");
}

#[test]
fn a_temporary_suffix_that_no_name_can_have_is_refused_of_a_source_too() {
    for wrong in ["a/b", "*", "a\n"] {
        let found = found_of_poll(Some("in"), &polling(wrong, false));
        assert!(matches!(&found[..], [(path, _)] if path == "temporary_suffix"), "{found:?}");
    }
    assert_eq!(found_of_poll(Some("in"), &polling("_tmp", false)), []);
}

#[test]
fn a_file_is_attached_once_and_is_no_done_file() {
    let name = |text: &str| DoneFile::parse(text).unwrap();
    let attached = |names: &[&str]| Polling {
        attached_files: names.iter().map(|text| name(text)).collect(),
        done_file: Some(name("{name}.done")),
        ..polling("", false)
    };
    assert_eq!(found_of_poll(Some("in"), &attached(&["{stem}.pdf", "{name}.sig"])), []);
    for (names, words) in [(["{stem}.pdf"; 2], "twice"), (["{stem}.pdf", "{name}.done"], "the done file")] {
        let found = found_of_poll(Some("in"), &attached(&names));
        let [(path, message)] = &found[..] else { panic!("{found:?}") };
        assert!(path == "attached_files" && message.contains(words), "{found:?}");
    }
}

#[test]
fn endpoints_of_one_account_that_say_different_things_about_its_connections_are_warned_of() {
    let with = |name: &str, user: &str, connections: i64| {
        let options = Values::of([
            ("username", Value::Text(user.into())),
            ("connections", Value::Integer(connections)),
        ]);
        Endpoint { options, ..endpoint(name, name, None) }
    };
    let found = |endpoints: [Endpoint; 3]| {
        let mut all = Definitions::default();
        for endpoint in endpoints {
            all.endpoints.insert(endpoint.name.clone(), Arc::new(endpoint));
        }
        let found = definitions("place", &all, place);
        found.into_iter().map(|finding| (finding.subject.name, finding.path.to_string())).collect::<Vec<_>>()
    };
    assert!(found([with("a", "acme", 4), with("b", "acme", 4), with("c", "globex", 2)]).is_empty());
    let differing = found([with("a", "acme", 4), with("b", "acme", 2), with("c", "globex", 2)]);
    assert_eq!(differing, [("b".to_owned(), "connections".to_owned())]);
}

#[test]
fn flows_that_append_must_be_ordered() {
    for (ordered, count) in [(false, 1), (true, 0)] {
        let mut all = Definitions::default();
        for name in ["in", "out"] {
            all.endpoints.insert(name.into(), Arc::new(endpoint(name, name, None)));
        }
        let mut flow = Flow::clone(&flow("orders", "in", &polling(".a", false), "out", suffix(".a")));
        let destination = &mut flow.destinations[0];
        destination.options = destination.options.clone().with("overwrite", Value::Text("append".into()));
        flow.ordered = ordered;
        all.flows.insert("orders".into(), Arc::new(flow));
        let found = definitions("place", &all, place);
        let found: Vec<_> =
            found.iter().filter(|finding| finding.path.to_string().ends_with("overwrite")).collect();
        assert_eq!(found.len(), count, "{found:?}");
        assert!(found.iter().all(|finding| !finding.is_warning));
        // Another flow that appends to the same names there is refused, one that appends to others is warned of.
        for (prefix, is_warning, words) in [("", false, "files of the same names"), ("b-", true, "as well")] {
            let mut other = Flow { name: "other".into(), ordered: true, ..Flow::clone(&all.flows["orders"]) };
            let options = other.destinations[0].options.clone();
            other.destinations[0].options = options.with("prefix", Value::Text(prefix.into()));
            all.flows.insert("other".into(), Arc::new(other));
            let found = definitions("place", &all, place).into_iter();
            let found: Vec<_> = found.filter(|finding| finding.message.contains("flow 'orders'")).collect();
            assert!(
                matches!(&found[..], [one] if one.is_warning == is_warning && one.message.contains(words)),
                "{found:?}"
            );
        }
    }
}
