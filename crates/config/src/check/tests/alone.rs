//! A flow read by itself: what else is defined may be gone.

use super::*;
use crate::check::alone::FlowAlone;

fn alone(text: &str) -> Result<FlowAlone, Vec<Problem>> {
    let (documents, problems) = Documents::parse([("x.toml", text.as_bytes())]);
    assert!(problems.is_empty(), "{problems:?}");
    documents.flow_alone("f", &catalogue(), &roots(), &machine())
}

/// An endpoint whose login cannot be read any more.
const GONE: &str = r#"
[endpoint.orders]
transport = "sftp"
url = "sftp://${env:GONE}/out"
credential = "gone"
host_key = "SHA256:x"
"#;

const SOURCE: &str = "mask = \"*\", every = \"60s\", after = \"delete\"";

#[test]
fn whatever_else_is_gone_its_own_words_are_read() {
    let flow = flow(
        SOURCE,
        "endpoint = \"orders\"\nname = \"x\"\nretry = { attempts = 4 }\noverwrite = \"replace\"",
    );
    let (flow, transports) = alone(&(GONE.to_owned() + &flow)).unwrap();
    assert_eq!(transports["orders"], "sftp");
    let destination = &flow.destinations[0];
    assert_eq!((destination.name.as_str(), destination.retry.attempts), ("x", 4));
    assert_eq!(destination.options.text("overwrite"), Some("replace"));
}

#[test]
fn its_own_mistakes_are_told() {
    for (destination, told) in [
        ("endpoint = \"orders\"\nretired = true", "unknown key 'retired'"),
        ("endpoint = \"orders\"\nfile_name = \"${env:GONE}\"", "GONE"),
    ] {
        let problems = alone(&(GONE.to_owned() + &flow(SOURCE, destination))).unwrap_err();
        assert!(problems.iter().any(|problem| problem.message.contains(told)), "{problems:?}");
    }
    assert!(alone(GONE).is_err());
}
