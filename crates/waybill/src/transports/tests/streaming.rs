//! What flows that stream may ask of the real transports.

use super::{BASE, Desk};
use std::fs;
use std::path::Path;

fn flow(source: &str, destination: &str) -> String {
    format!(
        "[flow.f]\nsource = {{ endpoint = \"folder\", error_directory = \"/srv/waybill/bad\", stream = true, {source} }}\n\
         [[flow.f.destination]]\n{destination}\n\
         [endpoint.out]\ntransport = \"file\"\nurl = \"file:///srv/waybill/out\"\n\
         [endpoint.globex]\ntransport = \"as2\"\nurl = \"https://as2.globex.example/receive\"\npartner = \"globex\"\nidentity = \"acme\"\n"
    )
}

#[tokio::test]
async fn what_cannot_be_streamed_is_told_at_its_field() {
    assert!(BASE.contains("[partner.globex.as2]"));
    let desk = Desk::new();
    let source = |fields: &str| flow(fields, "endpoint = \"out\"");
    let destination = |fields: &str| flow("after = \"delete\"", &format!("endpoint = \"out\"\n{fields}"));
    desk.told(&[
        (
            &source("after = \"delete\", claim = \"rename\""),
            "error: flow.f.source.claim: cannot be \"rename\" with stream = true",
        ),
        (
            &source("after = \"keep\", identity = \"content\""),
            "error: flow.f.source.identity: must be \"name_size_time\" with stream = true",
        ),
        (
            &source("after = { archive_locally = \"/srv/waybill/archive\" }"),
            "error: flow.f.source.after.archive_locally: cannot be used with stream = true",
        ),
        (
            &destination("temporary = \"none\""),
            "error: flow.f.destination[1].temporary: cannot be \"none\" where the flow's source has stream = true",
        ),
        (
            &destination("overwrite = \"skip_same\""),
            "error: flow.f.destination[1].overwrite: cannot be used where the flow's source has stream = true",
        ),
        (
            &destination("overwrite = \"append\""),
            "error: flow.f.destination[1].overwrite: cannot be used where the flow's source has stream = true",
        ),
        (
            &flow("after = \"delete\"", "endpoint = \"globex\""),
            "error: flow.f.destination[1].endpoint: cannot be streamed to: transport 'as2' needs the whole file",
        ),
    ]);
    for fine in [
        source("after = { archive = \"/srv/waybill/done\" }"),
        source("after = \"keep\", done_file = \"{name}.done\""),
        destination(
            "overwrite = \"replace\"\nverify = \"checksum\"\nkeep_time = true\nmarker = \"{name}.done\"",
        ),
    ] {
        let (valid, lines) = desk.check(&fine);
        assert!(valid, "{fine}\n{lines:?}");
    }
}

#[tokio::test]
async fn the_example_of_the_page_on_streaming_is_valid() {
    let desk = Desk::new();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/streaming.md");
    let page = fs::read_to_string(path).unwrap();
    let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let endpoints = ["acme-exports", "warehouse"].map(|name| {
        format!("[endpoint.{name}]\ntransport = \"sftp\"\nurl = \"sftp://{name}.example/out\"\nusername = \"u\"\nprivate_key = \"${{file:PEM/good.key}}\"\nhost_key = \"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"\n")
    });
    let (valid, lines) = desk.check(&format!("{}{example}", endpoints.concat()));
    assert!(valid && lines.is_empty(), "{lines:?}");
}
