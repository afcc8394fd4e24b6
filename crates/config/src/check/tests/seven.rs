//! The documents of seven transports, read by declarations: that the language carries every line of them.

use super::{machine, roots};
use crate::context::Context;
use crate::problem::Place;
use crate::reader::{Declared, Reader};
use crate::tree::{self, Value as Written};
use model::PublicMaterial;
use model::schema::{Field, Group, Kind, Rule, Section, TEXTS, Value, Values};
use std::collections::BTreeMap;

const fn field(name: &'static str, kind: Kind) -> Field {
    Field::optional(name, kind, "For tests.")
}

const NAME: Kind = Kind::Name(Section::ENDPOINT);
const KEYS: Kind = Kind::Name(Section::KEY);
const SMTP: Section = Section::new("smtp_server");
const POOL: Section = Section::new("worker_pool");
const CALENDAR: Section = Section::new("calendar");
const OAUTH: Section = Section::new("oauth2_client");
const USER: Section = Section::new("user");

static ENDPOINT: Group = Group::of(&[
    field("transport", Kind::Text),
    field("url", Kind::OneOf(&[Kind::Url, Kind::List(&Kind::OneOf(&[Kind::Url, Kind::Table(&ADDRESS)]))])),
    field("balance", Kind::Choice(&["round_robin", "random", "weighted", "failover", "none"])),
    field("credential", Kind::Name(Section::CREDENTIAL)),
    field("username", Kind::Text),
    field("key", KEYS),
    field("proxy", Kind::OneOf(&[Kind::Choice(&["none"]), Kind::Name(Section::PROXY)])),
    field("trust", Kind::Table(&TRUST)),
    field("tls", Kind::Table(&TLS)),
    field("connect_timeout", Kind::Duration),
    field("timeout", Kind::Duration),
    field("connections", Kind::Integer { min: 1, max: 64 }),
    field("keep_open", Kind::Duration),
    field("throttle", Kind::Table(&THROTTLE)),
    field("offline", Kind::OneOf(&[Kind::Off, Kind::Table(&OFFLINE)])),
    field("pool", Kind::Name(POOL)),
    field("node", Kind::Text),
    field(
        "authentication",
        Kind::List(&Kind::Choice(&["publickey", "password", "keyboard-interactive", "hostbased"])),
    ),
    field("host_key", Kind::Public(PublicMaterial::HostKeys)),
    field("jump", NAME),
    field("security", Kind::Choice(&["tls", "starttls", "none"])),
    field("oauth2", Kind::Table(&TOKEN)),
    field("server", Kind::Name(SMTP)),
    field(
        "authenticate",
        Kind::OneOf(&[Kind::Choice(&["basic", "bearer", "digest"]), Kind::Table(&AUTHENTICATE)]),
    ),
]);
static ADDRESS: Group =
    Group::of(&[field("url", Kind::Url), field("weight", Kind::Integer { min: 1, max: 1000 })]);
static TRUST: Group = Group::of(&[
    field("authorities", Kind::List(&Kind::Name(Section::CERTIFICATE))),
    field("pins", TEXTS),
    field("revocation", Kind::Choice(&["prefer", "require", "off"])),
]);
static TLS: Group = Group::of(&[
    field("min", Kind::Choice(&["1.2", "1.3"])),
    field("ciphers", TEXTS),
    field("client_key", KEYS),
]);
static THROTTLE: Group = Group::of(&[
    field("deliveries", Kind::Integer { min: 1, max: 999 }),
    field("bandwidth", Kind::Size),
    field("between", Kind::List(&Kind::Table(&HOURS))),
]);
static HOURS: Group = Group::of(&[
    field("from", Kind::Text),
    field("to", Kind::Text),
    field("days", Kind::Text),
    field("bandwidth", Kind::Size),
]);
static OFFLINE: Group = Group::of(&[
    Field::preset("after", Kind::Integer { min: 1, max: 99 }, "5", "For tests."),
    field("for", Kind::Duration),
]);
static TOKEN: Group = Group::of(&[
    field("token_url", Kind::Url),
    field("client", Kind::Name(OAUTH)),
    field("scope", Kind::Text),
]);
static AUTHENTICATE: Group = Group::of(&[field("oauth2", Kind::Name(OAUTH)), field("header", Kind::Text)])
    .with(&[Rule::ExactlyOne(&["oauth2", "header"])]);

static FLOW: Group = Group::of(&[
    field("title", Kind::Text),
    field("ordered", Kind::Bool),
    field("retention", Kind::Duration),
    field("on_failure", Kind::Name(Section::FLOW)),
    field("steps", Kind::List(&Kind::Table(&STEP))),
    field("source", Kind::Table(&SOURCE)),
    field("destination", Kind::List(&Kind::Table(&DESTINATION))),
]);
static STEP: Group =
    Group::of(&[field("convert_charset", Kind::Table(&CHARSET)), field("unzip", Kind::Bool)])
        .with(&[Rule::ExactlyOne(&["convert_charset", "unzip"])]);
static CHARSET: Group =
    Group::of(&[Field::required("from", Kind::Text, "."), Field::required("to", Kind::Text, ".")]);
static SOURCE: Group = Group::of(&[
    field("endpoint", NAME),
    field("listener", Kind::Name(Section::LISTENER)),
    field("mask", TEXTS),
    field("exclude", TEXTS),
    field("mask_is_regex", Kind::Bool),
    field("ignore_case", Kind::Bool),
    field("recursive", Kind::Bool),
    field("every", Kind::Duration),
    field("cron", Kind::Text),
    field("time_zone", Kind::Text),
    field("between", Kind::List(&Kind::Table(&HOURS))),
    field("not_on", Kind::Name(CALENDAR)),
    field("stable_for", Kind::Duration),
    field("done_file", Kind::Template),
    field("min_size", Kind::Size),
    field("read_limit", Kind::Integer { min: 0, max: 1000 }),
    field("order", Kind::Choice(&["listing", "arrival", "name"])),
    field("identity", Kind::Choice(&["name_size_time", "name", "content"])),
    field("claim", Kind::Choice(&["lease", "rename"])),
    field("after", Kind::OneOf(&[Kind::Choice(&["delete", "keep"]), Kind::Table(&AFTER)])),
    field("error_directory", Kind::Directory),
    field("expect", Kind::Table(&EXPECT)),
    field("stream", Kind::Bool),
    field("retry", Kind::Table(&RETRY)),
    field("attachments", Kind::Choice(&["each", "zip"])),
    field("body", Kind::Choice(&["ignore", "take"])),
    field("search", Kind::Table(&SEARCH)),
    field("largest", Kind::Size),
])
.with(&[
    Rule::ExactlyOne(&["endpoint", "listener"]),
    Rule::AtMostOne(&["every", "cron"]),
    Rule::Needs("time_zone", "cron"),
]);
static AFTER: Group = Group::of(&[
    field("archive", Kind::Directory),
    field("archive_locally", Kind::Text),
    field("move", Kind::Directory),
    field("timestamp", Kind::Bool),
    field("keep_for", Kind::Duration),
])
.with(&[Rule::ExactlyOne(&["archive", "archive_locally", "move"]), Rule::Needs("keep_for", "archive")]);
static EXPECT: Group =
    Group::of(&[field("by", Kind::Text), field("at_least", Kind::Integer { min: 1, max: 1_000_000 })]);
static RETRY: Group = Group::of(&[
    field("attempts", Kind::Integer { min: 1, max: 10_000 }),
    field("first", Kind::Duration),
    field("longest", Kind::Duration),
]);
static SEARCH: Group = Group::of(&[field("unseen", Kind::Bool), field("from", TEXTS)]);
static DESTINATION: Group = Group::of(&[
    field("endpoint", NAME),
    field("directory", Kind::Template),
    field("file_name", Kind::Template),
    field("overwrite", Kind::Choice(&["refuse", "replace", "rename", "skip_same", "append"])),
    field("temporary", Kind::OneOf(&[Kind::Choice(&["none"]), Kind::Table(&TEMPORARY)])),
    field("verify", Kind::Choice(&["size", "checksum", "none"])),
    field("permissions", Kind::Text),
    field("keep_time", Kind::Bool),
    field("create_directories", Kind::Bool),
    field("marker", Kind::Template),
    field("retry", Kind::Table(&RETRY)),
    field("expires_after", Kind::Duration),
    field("from", Kind::Text),
    field("subject", Kind::Template),
    field("attach", Kind::Bool),
    field("method", Kind::Template),
    field("path", Kind::Template),
    field("query", Kind::Map(&Kind::Template)),
    field("headers", Kind::Map(&Kind::Template)),
    field("send", Kind::Choice(&["chunked", "sized"])),
    field("compress", Kind::Choice(&["gzip", "none"])),
    field("statuses", Kind::List(&Kind::Table(&STATUS))),
    field("response", Kind::OneOf(&[Kind::Choice(&["evidence"]), Kind::Table(&RESPONSE)])),
]);
static TEMPORARY: Group = Group::of(&[
    field("suffix", Kind::Text),
    field("prefix", Kind::Text),
    field("directory", Kind::Directory),
])
.with(&[Rule::ExactlyOne(&["suffix", "prefix", "directory"])]);
static STATUS: Group =
    Group::of(&[field("is", Kind::Text), field("means", Kind::Choice(&["delivered", "retry", "failed"]))]);
static RESPONSE: Group = Group::of(&[field("flow", Kind::Name(Section::FLOW))]);

static LISTENER: Group = Group::of(&[
    field("transport", Kind::Text),
    field("server", Kind::Server),
    field("path", Kind::Text),
    field("https_only", Kind::Bool),
    field("certificate", KEYS),
    field(
        "authenticate",
        Kind::List(&Kind::OneOf(&[
            Kind::Choice(&["basic", "client_certificate"]),
            Kind::Table(&AUTHENTICATE),
        ])),
    ),
    field("allow", Kind::Table(&ALLOW)),
    field("accept", Kind::List(&Kind::Choice(&["body", "form", "put"]))),
    field("compression", Kind::Table(&COMPRESSION)),
    field("headers", Kind::Text),
    field("respond", Kind::OneOf(&[Kind::Choice(&["stored"]), Kind::Table(&RESPOND)])),
    field("largest", Kind::Size),
]);
static ALLOW: Group = Group::of(&[field("users", Kind::List(&Kind::Name(USER))), field("networks", TEXTS)]);
static COMPRESSION: Group = Group::of(&[field("enabled", Kind::Bool), field("buffer", Kind::Bool)]);
static RESPOND: Group = Group::of(&[field("after_delivery", Kind::Duration)]);

static IDENTITY: Group = Group::of(&[field("title", Kind::Text), field("any", Kind::Table(&OWN))]);
static OWN: Group = Group::of(&[
    field("id", Kind::Text),
    field("keys", Kind::List(&Kind::OneOf(&[KEYS, Kind::Table(&DATED)]))),
]);
static DATED: Group = Group::of(&[field("name", KEYS), field("from", Kind::Time)]);
static PARTNER: Group = Group::of(&[
    field("title", Kind::Text),
    field("contact", Kind::Text),
    field("any", Kind::Table(&AGREED)),
]);
static AGREED: Group = Group::of(&[
    field("id", Kind::Text),
    field("certificates", Kind::List(&Kind::OneOf(&[Kind::Name(Section::CERTIFICATE), Kind::Table(&DATED)]))),
    field("send", Kind::Map(&Kind::Text)),
    field("receive", Kind::Table(&RECEIVE)),
    field("mdn", Kind::Table(&MDN)),
    field("restart", Kind::Table(&RESTART)),
    field("legacy", Kind::Bool),
    field("preset", Kind::Text),
]);
static RECEIVE: Group = Group::of(&[
    field("security", Kind::Text),
    field("largest", Kind::Size),
    field("duplicates", Kind::Text),
]);
static MDN: Group =
    Group::of(&[field("ask", Kind::Text), field("reply_to", Kind::NameOf(&[Section::LISTENER]))]);
static RESTART: Group = Group::of(&[field("from_size", Kind::Size)]);

const DOCUMENT: &str = include_str!("seven.toml");

/// What is defined beside the document's own.
const MORE: [(Section, &[&str]); 8] = [
    (Section::CREDENTIAL, &["acme"]),
    (Section::KEY, &["acme-ssh", "acme-tls"]),
    (Section::CERTIFICATE, &["acme-ca"]),
    (Section::PROXY, &["corporate"]),
    (SMTP, &["relay"]),
    (POOL, &["slow"]),
    (CALENDAR, &["holidays"]),
    (USER, &["acme"]),
];
const CLIENTS: [&str; 2] = ["mail-client", "globex-api"];

fn group_of(section: &str) -> &'static Group {
    match section {
        "endpoint" => &ENDPOINT,
        "flow" => &FLOW,
        "listener" => &LISTENER,
        "identity" => &IDENTITY,
        "partner" => &PARTNER,
        other => panic!("{other}"),
    }
}

/// Reads every definition; what is wrong, and the values by `section.name`.
fn read(text: &str) -> (Vec<String>, BTreeMap<String, Values>) {
    let (table, problems) = tree::parse(&"seven.toml".into(), text.as_bytes());
    assert!(problems.is_empty(), "{problems:?}");
    let (roots, machine) = (roots(), machine());
    let mut context = Context::new(&roots, &machine);
    let mut names: BTreeMap<Section, std::collections::BTreeSet<&str>> =
        MORE.into_iter().map(|(section, names)| (section, names.iter().copied().collect())).collect();
    names.insert(OAUTH, CLIENTS.into());
    for section in [Section::ENDPOINT, Section::FLOW, Section::LISTENER] {
        let Written::Table(named) = &table[section.as_str()].node.value else { panic!("tables") };
        names.insert(section, named.keys().map(String::as_str).collect());
    }
    context.among(names);
    let mut read = BTreeMap::new();
    for (section, entry) in &table {
        let Written::Table(named) = &entry.node.value else { panic!("{section}") };
        for (name, entry) in named {
            let group = group_of(section);
            let place = Place::whole(&"seven.toml".into());
            let key = format!("{section}.{name}");
            let reader =
                Reader::open(&context, &place, &entry.node, key.clone(), Declared::from(group)).unwrap();
            if let Some(values) = reader.values(group.fields) {
                read.insert(key, values);
            }
        }
    }
    (context.into_problems().iter().map(ToString::to_string).collect(), read)
}

#[test]
fn the_language_carries_every_line_of_seven_transports() {
    let (problems, read) = read(DOCUMENT);
    assert!(problems.is_empty(), "{problems:#?}");
    let everything = &read["endpoint.everything"];
    let weights: Vec<_> = everything
        .list("url")
        .iter()
        .map(|url| url.as_table().and_then(|url| url.integer("weight")))
        .collect();
    assert_eq!(weights, [Some(2), None]);
    assert_eq!(everything.table("throttle").list("between").len(), 1);
    assert_eq!(everything.table("offline").integer("after"), Some(5));
    assert_eq!(read["endpoint.never-offline"].get("offline"), Some(&Value::Bool(false)));
    assert_eq!(read["flow.orders"].list("destination").len(), 4);
    let first = read["flow.uploads"].list("destination")[0].as_table().unwrap();
    assert_eq!(first.map("query").unwrap()["color"].as_text(), Some("black"));
    assert_eq!(first.list("statuses").len(), 2);
    let keys = read["identity.acme"].table("any").list("keys");
    assert_eq!(keys[1].as_table().unwrap().time("from").unwrap().timestamp(), 1_798_761_600);
    assert_eq!(read["partner.ajax"].table("any").table("mdn").text("reply_to"), Some("listener:uploads"));
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
        (
            "steps = [{ convert_charset",
            "steps = [{ unzip = true, convert_charset",
            "flow.orders.steps[1].unzip: cannot be used together with 'convert_charset'",
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
            "identity.acme.any.keys[2].from: must be a time",
        ),
        (
            "reply_to = \"listener:uploads\"",
            "reply_to = \"uploads\"",
            "partner.ajax.any.mdn.reply_to: must be \"listener:NAME\"",
        ),
        (
            "reply_to = \"listener:uploads\"",
            "reply_to = \"listener:upload\"",
            "there is no listener 'upload'; did you mean 'uploads'?",
        ),
        (
            "weight = 2",
            "weight = 0",
            "endpoint.everything.url[1].weight: must be a whole number from 1 to 1000",
        ),
    ] {
        let text = DOCUMENT.replacen(from, to, 1);
        assert_ne!(text, DOCUMENT, "{from}");
        let (problems, _) = read(&text);
        assert!(
            problems.iter().any(|line| line.contains(expected)),
            "{to}\nexpected: {expected}\n{problems:#?}"
        );
    }
}
