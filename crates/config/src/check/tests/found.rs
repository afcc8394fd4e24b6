//! What transports' own checks find: all of it in one run, each at its own line.

use super::check;

fn lines(text: &str) -> Vec<String> {
    check(text).1.iter().map(ToString::to_string).collect()
}

const EVERY_PLACE: &str = r#"
[identity.i.as2]
id = "NOBODY"
[partner.p.as2]
id = "UNWANTED"
certificates = [
  "theirs",
  "odd",
]
[certificate.odd]
pem = "${file:/pem/good.pem}"
[listener.l]
transport = "as2"
server = "cellar"
[endpoint.e]
transport = "file"
url = "file:///srv/e"
suffix = "*"
[flow.received]
source = { listener = "l", partner = "globex", strict = true }
destination = { endpoint = "folder" }
[flow.f]
[flow.f.source]
endpoint = "orders"
error_directory = "far"
after = { move = "nowhere" }
[[flow.f.destination]]
endpoint = "folder"
[[flow.f.destination]]
endpoint = "e"
suffix = "*"
"#;

#[test]
fn every_place_where_a_transport_declares_fields_is_checked_at_its_own_line_in_one_run() {
    assert_eq!(
        lines(EVERY_PLACE),
        [
            "x.toml:3:1: error: identity.i.as2.id: is nobody",
            "x.toml:5:1: error: partner.p.as2.id: is not wanted",
            "x.toml:8:3: warning: partner.p.as2.certificates: 'odd' is odd",
            "x.toml:14:1: error: listener.l.server: is in the cellar",
            "x.toml:18:1: error: endpoint.e.suffix: cannot be used",
            "x.toml:20:48: error: flow.received.source.strict: is too strict for globex",
            "x.toml:25:1: warning: flow.f.source.error_directory: is far away",
            "x.toml:26:11: error: flow.f.source.after.move: is nowhere",
            "x.toml:31:1: error: flow.f.destination[2].suffix: cannot end a file's name",
        ]
    );
}

#[test]
fn a_mistake_in_a_common_field_hides_no_finding_and_one_mistake_is_told_once() {
    let flow = |source: &str, destination: &str| {
        lines(&format!(
            "[flow.f]\nsource = {{ endpoint = \"orders\", {source} }}\n[flow.f.destination]\nendpoint = \"folder\"\n{destination}"
        ))
    };
    let told =
        flow("every = \"1ms\", after = { move = \"nowhere\" }", "retry.first = \"0s\"\nsuffix = \"*\"");
    for key in ["source.every", "source.after.move", "destination.retry.first", "destination.suffix"] {
        assert_eq!(told.iter().filter(|line| line.contains(key)).count(), 1, "{key}: {told:#?}");
    }
    assert_eq!(told.len(), 4, "{told:#?}");
    // Where the address cannot be read, the other fields of the endpoint are checked.
    let told = lines("[endpoint.e]\ntransport = \"file\"\nurl = \"file:///etc\"\nsuffix = \"*\"");
    assert_eq!(told.len(), 2, "{told:#?}");
    // What is missing is told by itself: the transport is not asked about half a definition.
    let told = lines("[endpoint.e]\ntransport = \"file\"\nsuffix = \"*\"");
    assert!(matches!(&told[..], [line] if line.contains("'url' is missing")), "{told:#?}");
}
