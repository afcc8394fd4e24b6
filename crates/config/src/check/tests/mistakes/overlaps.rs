use super::super::check;
use super::told;

#[test]
fn directories_polled_twice() {
    let other = |url: &str, user: &str, first: &str, second: &str| {
        format!(
            "[endpoint.other]\ntransport = \"sftp\"\nurl = \"{url}\"\nusername = \"{user}\"\nhost_key = \"x\"\n\
             [flow.one]\nsource = {{ endpoint = \"orders\", after = \"delete\", {first} }}\n[[flow.one.destination]]\nendpoint = \"folder\"\n\
             [flow.two]\nsource = {{ endpoint = \"other\", after = \"keep\", {second} }}\n[[flow.two.destination]]\nendpoint = \"folder\"\n"
        )
    };
    let same = "sftp://SFTP.example:22/out/";
    told(&[
        (&other(same, "u", "", ""), "x.toml:11:23: error: flow.two.source.endpoint: polls the same directory as flow 'one' (x.toml:7), and both masks match the same names"),
        (&other(same, "u", "mask = \"*.edi\"", "mask = \"ORD*\""), "masks overlap"),
        (&other("sftp://sftp.example/out/sub", "u", "recursive = true", ""), "error: flow.two.source.endpoint: polls a directory above or below that of flow 'one'"),
        (&other("sftp://sftp.example/", "u", "", "recursive = true"), "error: flow.two.source.endpoint: polls a directory above or below"),
        (&other("sftp://sftp.example/out/sub", "u", "", ""), "warning: flow.two.source.endpoint: polls a directory above or below that of flow 'one' (x.toml:7); if you set recursive = true on 'one'"),
        (&other(same, "u", "mask = \"a.*\", mask_is_regex = true", "mask = \"b.*\", mask_is_regex = true"), "warning: flow.two.source.endpoint: polls the same directory as flow 'one' (x.toml:7); make sure"),
    ].map(|(text, words)| (text.as_str(), if words == "masks overlap" { " error: flow.two.source.endpoint: polls the same" } else { words })));
    for fine in [
        other(same, "u", "mask = \"*.edi\"", "mask = \"*.xml\""),
        other(same, "v", "", ""),
        other("sftp://sftp.example:2222/out", "u", "", ""),
        other("sftp://sftp.example//out", "u", "", ""),
        other("sftp://sftp.example/outer", "u", "recursive = true", ""),
        other(same, "u", "", "").replace("[flow.two]", "[flow.two]\nenabled = false"),
    ] {
        let (definitions, problems) = check(&fine);
        assert!(definitions.is_some() && problems.is_empty(), "{fine}\n{problems:#?}");
    }
}

#[test]
fn directories_that_two_flows_keep() {
    let flows = |one: &str, two: &str| {
        format!(
            "[flow.one]\nsource = {{ endpoint = \"orders\", {one} }}\n[[flow.one.destination]]\nendpoint = \"folder\"\n\
             [flow.two]\nsource = {{ endpoint = \"orders\", {two} }}\n[[flow.two.destination]]\nendpoint = \"folder\"\n"
        )
    };
    let keep = "after = \"keep\"";
    let (definitions, problems) = check(&flows(keep, keep));
    assert!(definitions.is_some(), "each takes every file for itself: {problems:#?}");
    told(&[
        (
            &flows(keep, keep),
            "warning: flow.two.source.endpoint: polls the same directory as flow 'one' (x.toml:2), and both have after = \"keep\": a file that both masks match",
        ),
        (&flows(keep, "after = \"delete\""), " error: flow.two.source.endpoint: polls the same directory"),
        (
            &flows("after = { move = \"done\" }", keep),
            " error: flow.two.source.endpoint: polls the same directory",
        ),
        (&flows("after = \"delete\"", "after = { archive = \"done\" }"), "or after = \"keep\" in both"),
    ]);
    let (_, problems) =
        check(&flows(&format!("{keep}, mask = \"*.edi\""), &format!("{keep}, mask = \"*.xml\"")));
    assert!(problems.is_empty(), "{problems:#?}");
}
