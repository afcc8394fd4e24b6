//! The next transports' documents through the real checker: each fake transport declares its own fields alone, and what
//! every transport has comes from this crate.

use super::super::fixture::{machine, roots};
use crate::{Catalogue, Documents, json_schema};
use model::Declaration;
use model::definition::{Definitions, FlowSource};
use model::schema::{Field, Group, Kind, Paths, Roles, Scheme, Section, SectionSpec, TEXTS, TransportSpec};
use std::sync::Arc;

const fn field(name: &'static str, kind: Kind) -> Field {
    Field::optional(name, kind, "For tests.")
}

const fn scheme(name: &'static str, paths: Paths) -> Scheme {
    Scheme { name, port: Some(1), paths, connects_per_poll: true }
}

const SMTP: Section = Section::new("smtp_server");
const OAUTH: Section = Section::new("oauth2_client");

static EMAIL: TransportSpec = TransportSpec {
    schemes: &[scheme("imaps", Paths::None), scheme("mailto", Paths::None)],
    several_urls: true,
    roles: Roles { source: true, destination: true, listener: false },
    endpoint: &[&MAILBOX],
    source: &[&MAILS],
    destination: &[&MAIL],
    sections: &[SectionSpec { section: SMTP, doc: "For tests.", group: &RELAY }],
    ..TransportSpec::new("email", "Mail.")
};
static RELAY: Group = Group::of(&[field("host", Kind::Text)]);
static MAILBOX: Group = Group::of(&[
    field("credential", Kind::Name(Section::CREDENTIAL)),
    field("security", Kind::Choice(&["tls", "starttls", "none"])),
    field("oauth2", Kind::Table(&TOKEN)),
    field("server", Kind::Name(SMTP)),
]);
static TOKEN: Group =
    Group::of(&[field("token_url", Kind::Url), field("client", Kind::Text), field("scope", Kind::Text)]);
static MAILS: Group = Group::of(&[
    field("attachments", Kind::Choice(&["each", "none"])),
    field("body", Kind::Choice(&["ignore", "payload"])),
    field("search", Kind::Table(&SEARCH)),
    // Its own word: another form than folders have.
    field("after", Kind::OneOf(&[Kind::Choice(&["delete", "seen"]), Kind::Table(&MOVE)])),
    field("largest", Kind::Size),
]);
static SEARCH: Group = Group::of(&[field("unseen", Kind::Bool), field("from", TEXTS)]);
static MOVE: Group = Group::of(&[field("move", Kind::Text)]);
static MAIL: Group =
    Group::of(&[field("from", Kind::Text), field("subject", Kind::Template), field("attach", Kind::Bool)]);

static HTTP: TransportSpec = TransportSpec {
    schemes: &[scheme("https", Paths::None)],
    roles: Roles { source: false, destination: true, listener: true },
    endpoint: &[&API],
    listener: &[&UPLOADS],
    received: &[&RECEIVED],
    destination: &[&REQUEST],
    sections: &[SectionSpec { section: OAUTH, doc: "For tests.", group: &CLIENT }],
    ..TransportSpec::new("http", "Requests.")
};
static CLIENT: Group = Group::of(&[field("client_secret", Kind::Secret)]);
static API: Group = Group::of(&[field(
    "authenticate",
    Kind::OneOf(&[Kind::Choice(&["basic", "bearer"]), Kind::Table(&AUTHENTICATE)]),
)]);
static AUTHENTICATE: Group = Group::of(&[field("oauth2", Kind::Name(OAUTH)), field("header", Kind::Text)]);
static UPLOADS: Group = Group::of(&[
    Field::required("server", Kind::Server, "For tests."),
    Field::preset("path", Kind::Text, "/", "For tests."),
    field("certificate", Kind::Name(Section::KEY)),
    field(
        "authenticate",
        Kind::List(&Kind::OneOf(&[
            Kind::Choice(&["basic", "client_certificate"]),
            Kind::Table(&AUTHENTICATE),
        ])),
    ),
    field("respond", Kind::OneOf(&[Kind::Choice(&["stored"]), Kind::Table(&RESPOND)])),
]);
static RESPOND: Group = Group::of(&[field("after_delivery", Kind::Duration)]);
static RECEIVED: Group = Group::of(&[field("methods", TEXTS)]);
static REQUEST: Group = Group::of(&[
    field("method", Kind::Template),
    field("query", Kind::Map(&Kind::Template)),
    field("headers", Kind::Map(&Kind::Template)),
    field("statuses", Kind::List(&Kind::Table(&STATUS))),
    field("response", Kind::OneOf(&[Kind::Choice(&["evidence"]), Kind::Table(&ANSWERS)])),
]);
static STATUS: Group = Group::of(&[field("is", Kind::Text), field("means", Kind::Text)]);
static ANSWERS: Group = Group::of(&[field("flow", Kind::Name(Section::FLOW))]);

/// A place that is polled and says nothing of what becomes of its files.
static QUEUE: TransportSpec = TransportSpec {
    schemes: &[scheme("queue", Paths::None)],
    roles: Roles { source: true, destination: true, listener: false },
    ..TransportSpec::new("queue", "A queue.")
};

struct Own(&'static TransportSpec);

impl Declaration for Own {
    fn spec(&self) -> &'static TransportSpec {
        self.0
    }
}

fn catalogue() -> Catalogue {
    [&EMAIL, &HTTP, &QUEUE].map(|spec| Arc::new(Own(spec)) as Arc<dyn Declaration>).into_iter().collect()
}

fn check(text: &str) -> (Option<Definitions>, Vec<String>) {
    let (documents, problems) = Documents::parse([("next.toml", text.as_bytes())]);
    assert!(problems.is_empty(), "{problems:?}");
    let (definitions, problems) = documents.check(&catalogue(), &roots(), &machine());
    (definitions, problems.iter().map(ToString::to_string).collect())
}

const DOCUMENT: &str = r#"
[credential.acme]
username = "u"
password = "${file:/secret/password}"
[smtp_server.relay]
host = "relay.example"
[oauth2_client.globex-api]
client_secret = "${file:/secret/password}"
[endpoint.mailbox]
transport = "email"
url = "imaps://mail.example/INBOX"
credential = "acme"
security = "tls"
oauth2 = { token_url = "https://login.example/token", client = "mail-client", scope = "mail" }
[flow.invoices]
source = { endpoint = "mailbox", attachments = "each", body = "ignore", search = { unseen = true, from = ["*@acme.example"] }, after = { move = "Done" }, largest = "50MiB" }
[[flow.invoices.destination]]
endpoint = "people"
from = "Waybill <edi@acme.example>"
subject = "{name} of {received:%d %B}"
attach = true
[endpoint.people]
transport = "email"
url = ["imaps://one.example/", "imaps://two.example/"]
server = "relay"
[listener.uploads]
transport = "http"
server = "partners"
path = "/upload"
authenticate = ["basic", { header = "x-client-token" }]
respond = { after_delivery = "30s" }
[flow.uploads]
source = { listener = "uploads", mask = "*", methods = ["PUT"] }
[[flow.uploads.destination]]
endpoint = "api"
method = "{http.method:-POST}"
query = { item = "NO1", color = "black" }
headers = { "x-order-id" = "{http.header.x-order-id}" }
statuses = [{ is = "409", means = "delivered" }]
response = { flow = "invoices" }
[endpoint.api]
transport = "http"
url = "https://api.globex.example/purchaseOrder"
authenticate = { oauth2 = "globex-api" }
[endpoint.queue]
transport = "queue"
url = "queue://broker.example/orders"
[flow.queued]
source = { endpoint = "queue", every = "5s" }
destination = { endpoint = "api" }
"#;

#[test]
fn transports_that_declare_only_their_own_fields_are_checked() {
    let (definitions, problems) = check(DOCUMENT);
    let definitions = definitions.unwrap_or_else(|| panic!("{problems:#?}"));
    assert!(problems.is_empty(), "{problems:#?}");
    let FlowSource::Poll(poll) = &definitions.flows["invoices"].source else { panic!("polled") };
    assert_eq!(poll.options.table("after").text("move"), Some("Done"));
    assert_eq!(
        definitions.flows["invoices"].destinations[0].options.text("subject"),
        Some("{name} of {received:%d %B}")
    );
    let FlowSource::Receive(received) = &definitions.flows["uploads"].source else { panic!("received") };
    assert_eq!(received.options.texts("methods").collect::<Vec<_>>(), ["PUT"]);
    assert_eq!(definitions.others[&SMTP]["relay"].text("host"), Some("relay.example"));
    // A place without 'after' is polled as any other.
    let FlowSource::Poll(poll) = &definitions.flows["queued"].source else { panic!("polled") };
    assert_eq!(poll.every.as_secs(), 5);
}

#[test]
fn one_transports_words_are_unknown_to_another() {
    for (from, to, expected) in [
        (
            "source = { endpoint = \"queue\",",
            "source = { endpoint = \"queue\", after = \"delete\",",
            "unknown key 'after'",
        ),
        ("attach = true", "method = \"PUT\"", "unknown key 'method'"),
        ("server = \"relay\"", "server = \"rely\"", "there is no smtp_server 'rely'; did you mean 'relay'?"),
        ("attachments = \"each\"", "attachments = \"every\"", "flow.invoices.source.attachments: must be"),
        (
            "response = { flow = \"invoices\" }",
            "response = { flow = \"invoice\" }",
            "there is no flow 'invoice'",
        ),
        (
            "after_delivery = \"30s\"",
            "after_delivery = 30",
            "listener.uploads.respond.after_delivery: must be a duration",
        ),
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

/// Words of the target that every transport will have and that are not built yet: who builds one takes it out here.
#[test]
fn what_every_transport_will_have_and_has_not_yet() {
    for (section, word) in [
        ("endpoint.queue", "balance = \"failover\""),
        ("endpoint.queue", "throttle = { deliveries = 8 }"),
        ("endpoint.queue", "offline = false"),
        ("endpoint.queue", "pool = \"slow\""),
        ("flow.queued", "on_failure = \"invoices\""),
        ("flow.queued", "steps = []"),
        ("flow.queued.source", "cron = \"*/5 * * * *\""),
        ("flow.queued.source", "between = []"),
        ("flow.queued.source", "not_on = \"holidays\""),
        ("flow.queued.source", "expect = { at_least = 1 }"),
        ("flow.queued.source", "stream = false"),
    ] {
        let text = match section {
            "flow.queued.source" => {
                DOCUMENT.replace("every = \"5s\" }", &format!("every = \"5s\", {word} }}"))
            }
            _ => DOCUMENT.replace(&format!("[{section}]"), &format!("[{section}]\n{word}")),
        };
        assert_ne!(text, DOCUMENT, "{section}");
        let (_, problems) = check(&text);
        let key = word.split(' ').next().unwrap();
        let expected = format!("{section}: unknown key '{key}'");
        assert!(problems.iter().any(|line| line.contains(&expected)), "{expected}\n{problems:#?}");
    }
}

#[test]
fn the_schema_for_editors_has_their_words_and_sections() {
    let schema = json_schema(&catalogue()).to_string();
    for word in ["\"smtp_server\"", "\"oauth2_client\"", "\"attachments\"", "\"methods\"", "\"statuses\""] {
        assert!(schema.contains(word), "{word}");
    }
}
