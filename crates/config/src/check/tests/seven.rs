//! The documents of seven transports through the checker: that the language carries every line of them, and that each
//! transport declares its own fields alone.

mod transports;

use super::super::fixture::{machine, roots};
use crate::sections::{DESTINATION, POLLED, RECEIVED, SOURCE};
use crate::{Documents, json_schema};
use model::definition::{Balance, Definitions, FlowSource, OnFailure};
use transports::{LATER_AT_SOURCES, SMTP, catalogue};

const DOCUMENT: &str = include_str!("seven.toml");

fn check(text: &str) -> (Option<Definitions>, Vec<String>) {
    let (documents, problems) = Documents::parse([("seven.toml", text.as_bytes())]);
    assert!(problems.is_empty(), "{problems:?}");
    let (definitions, problems) = documents.check(&catalogue(), &roots(), &machine());
    (definitions, problems.iter().map(ToString::to_string).collect())
}

#[test]
fn the_language_carries_every_line_of_seven_transports() {
    let (definitions, problems) = check(DOCUMENT);
    let definitions = definitions.unwrap_or_else(|| panic!("{problems:#?}"));
    assert!(problems.is_empty(), "{problems:#?}");
    let everything = &definitions.endpoints["everything"];
    assert_eq!(everything.urls.iter().map(|url| url.weight).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(everything.throttle.between.len(), 1);
    assert_eq!((everything.balance, everything.offline.unwrap().after), (Balance::Weighted, 5));
    assert!(definitions.endpoints["never-offline"].offline.is_none());
    assert_eq!(definitions.endpoints["people"].urls[1].url.as_str(), "mailto:b@two.example");
    assert_eq!(definitions.flows["orders"].destinations.len(), 4);
    let FlowSource::Poll(poll) = &definitions.flows["invoices"].source else { panic!("polled") };
    assert_eq!(poll.options.table("after").text("move"), Some("Done"));
    assert_eq!(
        definitions.flows["invoices"].destinations[0].options.text("subject"),
        Some("{name} of {received:%d %B}")
    );
    let FlowSource::Receive(received) = &definitions.flows["uploads"].source else { panic!("received") };
    assert_eq!(received.options.texts("methods").collect::<Vec<_>>(), ["PUT"]);
    let first = &definitions.flows["uploads"].destinations[0].options;
    assert_eq!(first.map("query").unwrap()["color"].as_text(), Some("black"));
    assert_eq!(first.list("statuses").len(), 2);
    let keys = definitions.identities["acme"].side("as2").unwrap().list("keys");
    assert_eq!(keys[1].as_table().unwrap().time("from").unwrap().timestamp(), 1_798_761_600);
    let ajax = definitions.partners["ajax"].agreement("as2").unwrap();
    assert_eq!(ajax.table("mdn").text("reply_to"), Some("listener:as2"));
    assert_eq!(definitions.others[&SMTP]["relay"].text("host"), Some("relay.example"));
    // A place without 'after' is polled as any other.
    let FlowSource::Poll(poll) = &definitions.flows["queued"].source else { panic!("polled") };
    assert_eq!(poll.schedule.interval().unwrap().as_secs(), 5);
}

/// A mistake in a line is told with its key.
#[test]
fn what_does_not_fit_is_told_of_each_field() {
    for (from, to, expected) in [
        (
            "proxy = \"corporate\"",
            "proxy = \"corporat\"",
            "endpoint.everything.proxy: there is no proxy 'corporat'; did you mean 'corporate'?",
        ),
        (
            "offline = false",
            "offline = true",
            "endpoint.never-offline.offline: must be false, or a table with after, for",
        ),
        ("pool = \"slow\"", "pool = \"fast\"", "endpoint.everything.pool: there is no worker_pool 'fast'"),
        (
            "every = \"60s\"",
            "every = \"60s\"\ncron = \"* * * * *\"",
            "flow.orders.source.cron: cannot be used together with 'every'; remove one of them",
        ),
        ("keep_for = \"90d\"", "keep_for = \"90\"", "flow.orders.source.after.keep_for: must be a duration"),
        (
            "temporary = { prefix = \".\" }",
            "temporary = { prefx = \".\" }",
            "flow.orders.destination[2].temporary: unknown key 'prefx'; did you mean 'prefix'?",
        ),
        (
            "respond = { after_delivery",
            "respond = { after_deliver",
            "listener.slow.respond: unknown key 'after_deliver'",
        ),
        (
            "respond = \"stored\"",
            "respond = \"later\"",
            "listener.uploads.respond: must be \"stored\", not \"later\"",
        ),
        (
            "{ header = \"x-client-token\" }",
            "{ haeder = \"x\" }",
            "listener.uploads.authenticate[3]: unknown key 'haeder'",
        ),
        (
            "color = \"black\"",
            "color = 5",
            "flow.uploads.destination[1].query.color: must be text with fields",
        ),
        (
            "\"{http.method:-POST}\"",
            "\"{http.method\"",
            "flow.uploads.destination[1].method: has a '{' that is not closed",
        ),
        (
            "response = { flow = \"operations\" }",
            "response = { flow = \"operation\" }",
            "there is no flow 'operation'; did you mean 'operations'?",
        ),
        (
            "from = \"2027-01-01T00:00:00Z\"",
            "from = \"2027-01-01\"",
            "identity.acme.as2.keys[2].from: must be a time",
        ),
        (
            "reply_to = \"listener:as2\"",
            "reply_to = \"as2\"",
            "partner.ajax.as2.mdn.reply_to: must be \"listener:NAME\"",
        ),
        (
            "reply_to = \"listener:as2\"",
            "reply_to = \"listener:upload\"",
            "there is no listener 'upload'; did you mean 'uploads'?",
        ),
        (
            "weight = 2",
            "weight = 0",
            "endpoint.everything.url[1].weight: must be a whole number from 1 to 1000",
        ),
        ("\"mailto:a@one.example\"", "\"mailto:\"", "endpoint.people.url: has no address"),
        // One transport's words are unknown to another.
        (
            "source = { endpoint = \"queue\",",
            "source = { endpoint = \"queue\", after = \"delete\",",
            "flow.queued.source: unknown key 'after'",
        ),
        ("attach = true", "method = \"PUT\"", "flow.invoices.destination[1]: unknown key 'method'"),
        ("wake_up = \"inotify\"", "jump = \"sftp\"", "endpoint.disk: unknown key 'jump'"),
        ("server = \"relay\"", "server = \"rely\"", "there is no smtp_server 'rely'; did you mean 'relay'?"),
    ] {
        let text = DOCUMENT.replacen(from, to, 1);
        assert_ne!(text, DOCUMENT, "{from}");
        let (definitions, problems) = check(&text);
        assert!(definitions.is_none(), "{to}");
        assert!(
            problems.iter().any(|line| line.contains(expected)),
            "{to}\nexpected: {expected}\n{problems:#?}"
        );
    }
}

/// What is built is declared once: the fakes then no longer declare it in its stead.
#[test]
fn words_that_are_not_built_yet_are_no_common_words() {
    for field in LATER_AT_SOURCES.fields {
        let mut common = [&SOURCE, &POLLED, &RECEIVED].into_iter().flat_map(|group| group.fields);
        assert!(common.all(|built| built.name != field.name), "{} is built: take it out there", field.name);
    }
    assert!(DESTINATION.fields.iter().all(|field| field.name != "directory"));
    let (_, problems) = check(&DOCUMENT.replacen("ordered = true", "steps = [{ unzip = true }]", 1));
    let expected = "flow.orders.steps[1]: unknown key 'unzip'";
    assert!(problems.iter().any(|line| line.contains(expected)), "{problems:#?}");
    let (definitions, _) = check(&DOCUMENT.replacen("ordered = true", "on_failure = \"operations\"", 1));
    let orders = &definitions.unwrap().flows["orders"];
    assert_eq!(orders.on_failure, Some(OnFailure::Flow("operations".into())));
}

#[test]
fn the_schema_for_editors_has_their_words_and_sections() {
    let schema = json_schema(&catalogue()).to_string();
    for word in ["\"smtp_server\"", "\"oauth2_client\"", "\"attachments\"", "\"methods\"", "\"statuses\""] {
        assert!(schema.contains(word), "{word}");
    }
}
