use super::{BASE, check, flow};
use crate::{Documents, Environment as _, ReadFile};
use model::definition::{FlowSource, Order, SettleWhen};
use std::time::Duration;

#[test]
fn definitions_come_out_with_references_resolved_and_defaults_filled() {
    let text = r#"
[endpoint.by-name]
transport = "sftp"
url = "sftp://h:2222//abs"
credential = "login"
key = "locked"
node = "n1"
host_key = ["a", "b"]
timeout = "10s"
retries = "${env:UNSET:-3}"
window = 4096
[key.locked]
private_key = "${file:/pem/locked.key}"
passphrase = "${env:OPEN}${env:SESAME}"
[key.ssh]
private_key = "${file:/secret/ssh}"
[flow.full]
enabled = true
ordered = true
retention = "7d"
[flow.full.source]
endpoint = "by-name"
mask = ["${env:MASK}", "*.x12"]
exclude = "~*"
every = "10s"
read_limit = 0
order = "arrival"
recursive = true
after = { archive = "done", timestamp = false }
error_directory = "../bad"
settle = "after_delivery"
retry = { attempts = 3, first = "1s", longest = "10s" }
[[flow.full.destination]]
endpoint = "globex-as2"
file_name = "{stem}-{received:%Y%m%d}{ext}"
expires_after = "2d"
[[flow.full.destination]]
endpoint = "folder"
name = "copy"
[flow.inbound]
source = { listener = "as2", partner = "globex", mask = "*", ignore_case = true, where = { as2_subject = ["*urgent*", "a/b"] } }
[[flow.inbound.destination]]
endpoint = "folder"
file_name = "{metadata.as2_subject}-{name}"
"#;
    let (definitions, problems) = check(text);
    assert!(problems.is_empty(), "{problems:#?}");
    let definitions = definitions.unwrap();

    assert_eq!(definitions.endpoints["orders"].url().unwrap().host_str(), Some("sftp.example"));
    let endpoint = &definitions.endpoints["by-name"];
    assert_eq!(
        (endpoint.options.text("credential"), endpoint.options.text("key")),
        (Some("login"), Some("locked"))
    );
    assert_eq!(definitions.keys["locked"].passphrase.as_ref().unwrap().reveal(), "opensesame");
    assert!(endpoint.options.texts("host_key").eq(["a", "b"]));
    assert_eq!(endpoint.options.integer("retries"), Some(3));
    assert_eq!(endpoint.options.size("window"), Some(4096));
    assert_eq!(endpoint.node.as_deref(), Some("n1"));

    let full = &definitions.flows["full"];
    let FlowSource::Poll(poll) = &full.source else { panic!("polls") };
    assert!(poll.mask.matches(b"a.edi") && poll.mask.matches(b"a.x12") && !poll.mask.matches(b"~a.edi"));
    assert_eq!(
        (poll.schedule.interval(), poll.options.duration("stable_for")),
        (Some(Duration::from_secs(10)), Some(Duration::from_secs(5)))
    );
    assert_eq!((poll.read_limit, poll.order, poll.options.bool("recursive")), (0, Order::Arrival, true));
    let after = poll.options.table("after");
    assert_eq!((after.text("archive"), after.bool("timestamp")), (Some("done"), false));
    assert_eq!(poll.options.text("error_directory"), Some("../bad"));
    assert_eq!(poll.settle, SettleWhen::AfterDelivery);
    assert_eq!(poll.retry.attempts, 3);
    assert_eq!(full.destinations[0].name, "globex-as2");
    assert_eq!(full.destinations[0].retry, model::definition::RetryPolicy::default());
    assert_eq!(full.destinations[1].name, "copy");
    assert_eq!(full.retention, Duration::from_secs(7 * 86_400));

    let FlowSource::Receive(receive) = &definitions.flows["inbound"].source else { panic!("receives") };
    assert_eq!((receive.listener.as_str(), receive.partner.as_deref()), ("as2", Some("globex")));
    for (subject, is_met) in [("Very Urgent", true), ("A/B", true), ("b", false)] {
        let subject = serde_json::Value::from(subject);
        let unmet = receive.conditions.unmet(|key| (key == "as2_subject").then_some(&subject));
        assert_eq!(unmet.is_none(), is_met, "{subject}: {unmet:?}");
    }
    // Nothing is written of how messages are sent, so that the defaults of that table hold.
    let agreement = definitions.partners["globex"].agreement("as2").unwrap();
    assert_eq!(
        (agreement.text("id"), agreement.table("send").text("cipher")),
        (Some("GLOBEX"), Some("aes256-cbc"))
    );
    assert_eq!(definitions.listeners["as2"].options.text("server"), Some("partners"));
    assert!(definitions.keys["ours"].certificate.as_ref().unwrap().starts_with("-----BEGIN CERTIFICATE"));
    assert!(!format!("{definitions:?}").contains("hunter2"));
}

#[test]
fn a_transport_that_declares_nothing_for_sources_is_polled() {
    let text = r#"
[endpoint.feed]
transport = "feed"
url = "feed://news.example/a"
[flow.news]
source = { endpoint = "feed" }
destination = [{ endpoint = "folder" }]
"#;
    let (documents, _) = Documents::parse([("base.toml", BASE.as_bytes()), ("x.toml", text.as_bytes())]);
    let catalogue = super::super::fixture::catalogue_with_feed();
    let (definitions, problems) = documents.check(&catalogue, &super::roots(), &super::machine());
    assert!(problems.is_empty(), "{problems:?}");
    assert!(definitions.unwrap().flows.contains_key("news"));
    let text = text.replace("\"feed\" }", "\"feed\", after = \"keep\" }");
    let (documents, _) = Documents::parse([("base.toml", BASE.as_bytes()), ("x.toml", text.as_bytes())]);
    let (_, problems) = documents.check(&catalogue, &super::roots(), &super::machine());
    assert!(problems[0].to_string().contains("unknown key 'after'"), "{}", problems[0]);
}

#[test]
fn stored_documents_are_the_written_ones() {
    let text = flow("after = \"keep\", read_limit = 5, recursive = true", "endpoint = \"folder\"");
    let (documents, _) = Documents::parse([("base.toml", BASE.as_bytes()), ("x.toml", text.as_bytes())]);
    let stored = documents.definitions("/etc/flows");
    let written = serde_json::to_string(&stored).unwrap();
    assert!(written.contains("${file:/pem/good.key}"), "references stay references");
    assert!(!written.contains("hunter2"));
    let back = Documents::from_definitions(&stored).unwrap();
    let documents_of = |all: Vec<model::StoredDefinition>| -> Vec<_> {
        all.into_iter().map(|d| (d.section, d.name, d.file, d.document)).collect()
    };
    assert_eq!(documents_of(back.definitions("/etc/flows")), documents_of(stored.clone()));
    let texts = documents.texts("/etc/flows", crate::Facts::new(&super::catalogue()));
    assert!(texts.len() == 2 && texts[0].text == BASE && texts[1].text == text);
    let (definitions, problems) = back.check(&super::catalogue(), &super::roots(), &super::machine());
    assert!(definitions.is_some() && problems.is_empty(), "{problems:?}");
    for wrong in ["{\"b\":null}", "{\"b\":1.5}"] {
        let mut stored = stored.clone();
        stored[0].document = serde_json::from_str(wrong).unwrap();
        assert!(Documents::from_definitions(&stored).is_err(), "{wrong}");
    }
}

#[test]
fn stored_documents_name_their_file_without_a_line() {
    let (documents, _) = Documents::parse([("x.toml", &b"[flow.f]\nsorce = 1"[..])]);
    let back = Documents::from_definitions(&documents.definitions("/etc/flows")).unwrap();
    let (_, problems) = back.check(&super::catalogue(), &super::roots(), &super::machine());
    assert!(problems[0].to_string().starts_with("/etc/flows/x.toml: error: flow.f: "), "{}", problems[0]);
}

#[test]
fn links_of_the_real_file_system_are_followed_before_roots_are_compared() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("secrets");
    std::fs::create_dir(&root).unwrap();
    std::fs::write(directory.path().join("outside"), "x").unwrap();
    std::fs::write(root.join("inside"), "secret\r\n\n").unwrap();
    std::os::unix::fs::symlink(directory.path().join("outside"), root.join("out")).unwrap();
    std::os::unix::fs::symlink(root.join("inside"), root.join("in")).unwrap();
    let environment = crate::ProcessEnvironment::at(super::machine().now());
    let roots = crate::Roots::new([], [], [root.clone()]);
    let check = |name: &str| {
        let text = format!(
            "[credential.c]\nusername = \"u\"\npassword = \"${{file:{}}}\"",
            root.join(name).display()
        );
        let (documents, _) = Documents::parse([("x.toml", text.as_bytes())]);
        documents.check(&super::catalogue(), &roots, &environment)
    };
    let (definitions, _) = check("in");
    assert_eq!(definitions.unwrap().credentials["c"].password.reveal(), "secret\r\n");
    let (definitions, problems) = check("out");
    assert!(definitions.is_none());
    assert!(problems[0].message.contains("symbolic link"), "{}", problems[0]);
    let (_, problems) = check(".");
    assert!(problems[0].message.contains("not a regular file"), "{}", problems[0]);
    let ReadFile { bytes, .. } = environment.read(&root.join("inside"), 3).unwrap();
    assert_eq!(bytes, b"sec");
}

/// A preset that does not fit would silently be none at all.
#[test]
fn every_preset_fits_its_own_field() {
    let groups = crate::SECTIONS.iter().map(|spec| spec.group).chain([&crate::settings::SETTINGS]);
    for group in groups {
        crate::check::fixture::presets_fit(group);
    }
}

#[test]
fn one_address_with_its_weight_needs_no_list() {
    let text = "[endpoint.e]\ntransport = \"as2\"\npartner = \"globex\"\nidentity = \"acme\"\n";
    for (url, weights) in [
        ("{ url = \"https://one.example/\", weight = 2 }", &[2][..]),
        (
            "[{ url = \"https://one.example/\", weight = \"${env:UNSET:-7}\" }, \"https://two.example/\"]",
            &[7, 1],
        ),
    ] {
        let (definitions, problems) = check(&format!("{text}url = {url}\n"));
        let endpoint = &definitions.unwrap_or_else(|| panic!("{problems:#?}")).endpoints["e"];
        let found: Vec<u32> = endpoint.urls.iter().map(|url| url.weight).collect();
        assert_eq!(found, weights);
    }
}
