use super::super::{check, flow};
use super::told;
use model::definition::{FlowSource, SettleWhen};

const STREAM: &str = "after = \"delete\", stream = true, error_directory = \"bad\"";
const TO_FOLDER: &str = "endpoint = \"folder\"\n";

fn settles(source: &str) -> SettleWhen {
    let (definitions, problems) = check(&flow(source, TO_FOLDER));
    let definitions = definitions.unwrap_or_else(|| panic!("{problems:?}"));
    match &definitions.flows["f"].source {
        FlowSource::Poll(poll) => poll.settle,
        FlowSource::Receive(_) => panic!("it polls"),
    }
}

#[test]
fn flows_that_stream() {
    let with = |rest: &str| flow(STREAM, &format!("{TO_FOLDER}{rest}"));
    let before = |field: &str| with("").replacen("[flow.f]\n", &format!("[flow.f]\n{field}\n"), 1);
    told(&[
        (
            &with("[[flow.f.destination]]\nname = \"second\"\nendpoint = \"folder\""),
            "error: flow.f.destination: must be one where the flow's source has stream = true",
        ),
        (
            &before("steps = [{ convert_charset = { from = \"ISO-8859-1\" } }]"),
            "x.toml:2:9: error: flow.f.steps: cannot be used where the flow's source has stream = true",
        ),
        (
            &with("steps = [{ convert_charset = { from = \"ISO-8859-1\" } }]"),
            "error: flow.f.destination[1].steps: cannot be used where the flow's source has stream = true",
        ),
        (
            &format!(
                "{}\n[flow.g]\nsource = {{ endpoint = \"orders\", mask = \"g\", after = \"delete\" }}\n[[flow.g.destination]]\n{TO_FOLDER}",
                before("on_failure = \"g\"")
            ),
            "error: flow.f.on_failure: cannot be used where the flow's source has stream = true",
        ),
        (&before("retention = \"1d\""), "error: flow.f.retention: cannot be used where"),
        (
            &flow(&format!("{STREAM}, settle = \"recorded\""), TO_FOLDER),
            "error: flow.f.source.settle: must be \"after_delivery\" with stream = true",
        ),
        (
            &with("overwrite = \"replace\""),
            "error: flow.f.destination[1].overwrite: cannot be used with streamed",
        ),
        (
            &flow(STREAM, "endpoint = \"globex-as2\""),
            "error: flow.f.destination[1].endpoint: cannot be streamed to",
        ),
        (
            "[endpoint.x]\ntransport = \"file\"\nurl = \"file:///srv/x\"\nnode = \"a\"\n\
             [endpoint.y]\ntransport = \"file\"\nurl = \"file:///srv/y\"\nnode = \"b\"\n\
             [flow.f]\nsource = { endpoint = \"x\", after = \"delete\", stream = true, error_directory = \"/srv/bad\" }\n\
             [[flow.f.destination]]\nendpoint = \"y\"",
            "error: flow.f.destination[1].endpoint: is bound to node 'b', and the flow's source to node 'a'",
        ),
        (
            "[flow.f]\nsource = { listener = \"as2\", stream = true }\n[[flow.f.destination]]\nendpoint = \"folder\"",
            "error: flow.f.source: unknown key 'stream'",
        ),
    ]);
    assert!(check(&with("")).0.is_some(), "{:?}", check(&with("")).1);
}

#[test]
fn a_flow_that_streams_settles_after_the_delivery() {
    assert_eq!(settles(STREAM), SettleWhen::AfterDelivery);
    assert_eq!(settles(&format!("{STREAM}, settle = \"after_delivery\"")), SettleWhen::AfterDelivery);
    assert_eq!(settles("after = \"delete\", error_directory = \"bad\""), SettleWhen::Recorded);
    assert_eq!(settles("after = \"delete\", stream = false"), SettleWhen::Recorded);
}
