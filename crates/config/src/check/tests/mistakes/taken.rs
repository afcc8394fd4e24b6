//! Flows that poll what they, or others, write.

use super::super::check;

/// The findings of these flows: a name, source and destination each.
fn told_of(flows: &[(&str, &str, &str)]) -> Vec<String> {
    let flow = |(name, source, destination): &(&str, &str, &str)| {
        format!(
            "[flow.{name}]\nsource = {{ after = \"delete\", endpoint = {source} }}\ndestination = {{ endpoint = {destination} }}\n"
        )
    };
    let above = "[endpoint.above]\ntransport = \"file\"\nurl = \"file:///srv\"\n";
    let text = above.to_owned() + &flows.iter().map(flow).collect::<String>();
    let (_, problems) = check(&text);
    problems.iter().map(ToString::to_string).collect()
}

const POLLED: &str = "is a directory that this flow polls, or is below one";
const FORMER: &str = "has the name of a dated directory of former days";

/// `folder` is `/srv/in`, `above` is `/srv`. The flow is `orders`, and the day is 2027-01-15.
#[test]
fn a_flow_that_writes_where_it_polls() {
    let recursive = "\"folder\", recursive = true";
    let dated = "\"above\", directory = \"{date}\"";
    let below = "\"above\", recursive = true, directory = \"in/{date:%Y/%m/%d}\"";
    for (source, destination, expected) in [
        ("\"folder\"", "\"above\", directory = \"in\"", POLLED),
        ("\"folder\"", "\"above\", directory = \"out\"", ""),
        ("\"folder\"", "\"above\", directory = \"in/done\"", ""),
        (recursive, "\"above\", directory = \"in/done\"", POLLED),
        (recursive, "\"above\", directory = \"in/{received}\"", POLLED),
        ("\"folder\"", "\"above\", directory = \"in/{received}\"", ""),
        (recursive, "\"above\", directory = \"out/{received}\"", ""),
        // The endpoint's directory is the polled one, and the destination's is not.
        ("\"folder\"", "\"folder\", directory = \"done\"", ""),
        (recursive, "\"folder\", directory = \"done\"", POLLED),
        ("\"folder\"", "\"folder\"", POLLED),
        // The flow's name is one directory, and not another one each day.
        ("\"above\", directory = \"orders\"", "\"above\", directory = \"{flow}\"", POLLED),
        ("\"above\", directory = \"other\"", "\"above\", directory = \"{flow}\"", ""),
        ("\"above\", directory = \"orders\"", "\"above\", directory = \"{flow}/{received}\"", ""),
        (
            "\"above\", recursive = true, directory = \"orders\"",
            "\"above\", directory = \"{flow}/{received}\"",
            POLLED,
        ),
        // Of dated directories those alone are polled.
        (dated, "\"above\"", ""),
        (dated, "\"above\", directory = \"out\"", ""),
        (dated, "\"above\", directory = \"2027-02-31\"", ""),
        (dated, "\"above\", directory = \"2027-02-28\"", POLLED),
        (dated, "\"above\", directory = \"2027-02-28/done\"", ""),
        (dated, "\"above\", directory = \"2027-01-14\"", POLLED),
        (dated, "\"above\", directory = \"2027-01-13\"", FORMER),
        (dated, "\"above\", directory = \"{received}\"", POLLED),
        (dated, "\"above\", directory = \"{received:%Y-%m}\"", ""),
        (dated, "\"above\", directory = \"out-{received}\"", ""),
        (below, "\"folder\"", ""),
        (below, "\"folder\", directory = \"2027/02\"", ""),
        (below, "\"folder\", directory = \"2027/02/28/done\"", POLLED),
        (below, "\"above\", directory = \"in/{received:%Y/%m/%d/%H}\"", POLLED),
        (below, "\"above\", directory = \"out/{received:%Y/%m/%d/%H}\"", ""),
    ] {
        let told = told_of(&[("orders", source, destination)]);
        let field = if destination.contains("directory") { "directory" } else { "endpoint" };
        let kind = if expected == FORMER { "warning" } else { "error" };
        let line = format!(" {kind}: flow.orders.destination.{field}: {expected}");
        let found = told.iter().any(|found| found.contains(&line));
        assert!(
            if expected.is_empty() { told.is_empty() } else { found && told.len() == 1 },
            "{source} → {destination}: {told:#?}"
        );
    }
}

#[test]
fn flows_whose_own_directories_make_a_circle_or_none() {
    let at = |directory: &str| format!("\"above\", directory = \"{directory}\"");
    let is_circle = |flows: &[(&str, &str, &str)]| {
        told_of(flows).iter().any(|line| line.contains("pass their files on in a circle"))
    };
    for (a_reads, a_writes, b_reads, b_writes, expected) in [
        ("in", "out", "out", "in", true),
        ("in", "out", "out", "done", false),
        // Written and polled by the names of the flows.
        ("b", "{flow}", "a", "{flow}", true),
        ("b", "{flow}", "other", "{flow}", false),
        // Each day the directory that the other one polls.
        ("in", "x-{received}", "x-{date}", "in", true),
        ("in", "x-{received}", "y-{date}", "in", false),
        ("in", "x", "x-{date}", "in", false),
    ] {
        let (from, to) = (at(a_reads), at(a_writes));
        let flows = [("a", &*from, &*to), ("b", &at(b_reads), &at(b_writes))];
        assert_eq!(is_circle(&flows), expected, "{flows:?}");
    }
    // The endpoint itself is what the other one polls, and the directory below it is not.
    let to = at("out");
    assert!(!is_circle(&[("a", "\"folder\"", &to), ("b", "\"above\"", "\"folder\"")]));
    assert!(is_circle(&[("a", "\"folder\"", "\"above\""), ("b", "\"above\"", "\"folder\"")]));
}

#[test]
fn a_directory_beside_dated_ones_is_polled_by_another_flow() {
    let polls = |other: &str| {
        let orders = "\"orders\"";
        let told = told_of(&[("a", "\"above\", directory = \"{date}\"", orders), ("b", other, orders)]);
        told.iter().any(|line| line.contains("directory above or below") || line.contains("same directory"))
    };
    for (other, is_told) in [
        ("\"folder\"", false),
        ("\"above\"", false),
        ("\"above\", directory = \"2027-02-28\"", true),
        ("\"above\", directory = \"2027-01-02\"", false),
        ("\"above\", recursive = true", true),
        ("\"above\", directory = \"{date}\"", true),
    ] {
        assert_eq!(polls(other), is_told, "{other}");
    }
}
