//! Flows that write where they poll, by the directories that the real transports read.

use super::Desk;

#[tokio::test]
async fn a_flow_that_writes_where_it_polls_is_told_at_its_field() {
    let desk = Desk::new();
    let told = |source: &str, destination: &str| {
        let (_, lines) = desk.check(&format!(
            "[endpoint.above]\ntransport = \"file\"\nurl = \"file:///srv/waybill\"\n[flow.orders]\n\
             source = {{ endpoint = \"above\", after = \"delete\", error_directory = \"/srv/bad\", {source} }}\n\
             destination = {{ endpoint = \"above\", {destination} }}\n"
        ));
        lines.iter().any(|line| {
            line.contains(": error: flow.orders.destination.directory: is a directory that this flow polls")
        })
    };
    for (source, destination, expected) in [
        // The flow's name is one directory; only a date makes it another one each day.
        ("directory = \"orders\"", "directory = \"{flow}\"", true),
        ("directory = \"others\"", "directory = \"{flow}\"", false),
        ("directory = \"orders\", recursive = true", "directory = \"{flow}/{received}\"", true),
        ("directory = \"orders\"", "directory = \"{flow}/{received}\"", false),
        ("directory = \"{date}\"", "directory = \"out\"", false),
        ("directory = \"{date}\"", "directory = \"{received}\"", true),
        ("directory = \"{date}\"", "directory = \"2099-12-31\"", true),
        ("directory = \"{date}\"", "directory = \"2099-12-31/x\"", false),
        ("directory = \"{date}\", recursive = true", "directory = \"2099-12-31/x\"", true),
    ] {
        assert_eq!(told(source, destination), expected, "{source} → {destination}");
    }
}
