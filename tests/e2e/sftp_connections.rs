//! Which connection a file came over and which it went over: what commands and pages tell of it is on record.

use model::{ConnectionId, Purpose};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use store::ConnectionView;
use suites::pair::{PATIENCE, events};
use suites::{Gateway, GatewayBuilder, Server, eventually, fresh_database};
use testkit::sftp::{Op, PASSWORD, SftpServer, Switch, USER};

/// The connection that an event names, as it is on record.
fn recorded(gateway: &Gateway, event: &Value) -> ConnectionView {
    let named = event["connection"].as_str().unwrap_or_else(|| panic!("no connection in {event:#}"));
    let id: ConnectionId = named.parse().unwrap();
    eventually("the connection is on record", PATIENCE, || {
        gateway.connections().into_iter().find(|row| row.id == id)
    })
}

fn is(row: &ConnectionView, purpose: Purpose, endpoint: &str) {
    // Endpoints of one account share connections: the record names the one that a connection was made for.
    let name = row.endpoint.as_deref().unwrap_or_default();
    let shared = ["orders", "locked"].contains(&endpoint) && ["orders", "locked"].contains(&name);
    assert_eq!(row.purpose, Some(purpose), "{row:?}");
    assert!(name == endpoint || shared, "{row:?}");
}

fn first(gateway: &Gateway, kind: &str) -> Value {
    eventually(&format!("{kind}\n{}", gateway.log()), PATIENCE, || events(gateway, kind).into_iter().next())
}

#[test]
fn a_waybill_leads_to_the_connections_that_its_file_came_and_went_over() {
    for database in [None, Some(fresh_database("connections"))] {
        let server = SftpServer::start().unwrap();
        for directory in ["in", "locked", "empty", "out"] {
            fs::create_dir(server.at(directory)).unwrap();
        }
        let root = tempfile::Builder::new().prefix("waybill-e2e-").tempdir().unwrap();
        let place = root.path();
        fs::write(place.join("password"), PASSWORD).unwrap();
        fs::write(place.join("wrong"), "another password").unwrap();
        let mut gateway = GatewayBuilder::new(place, "node").database(database.as_deref()).build();
        let endpoint = |name: &str, directory: &str, password: &str| {
            format!(
                "[endpoint.{name}]\ntransport = \"sftp\"\nurl = \"{}\"\nusername = \"{USER}\"\n\
                 password = \"${{file:{}}}\"\nhost_key = \"{}\"\n",
                server.url(directory),
                place.join(password).display(),
                server.fingerprint(),
            )
        };
        let flow = |name: &str| {
            format!(
                "[flow.{name}]\nsource = {{ endpoint = \"{name}\", mask = \"*\", every = \"1s\", stable_for = \"0s\", \
                 after = \"delete\" }}\n[[flow.{name}.destination]]\nendpoint = \"warehouse\"\n\
                 retry = {{ attempts = 9, first = \"1s\", longest = \"1s\" }}\n"
            )
        };
        let document = [
            endpoint("orders", "in", "password"),
            endpoint("locked", "locked", "password"),
            endpoint("refused", "empty", "wrong"),
            endpoint("warehouse", "out", "password"),
            flow("orders"),
            flow("locked"),
            flow("refused"),
        ]
        .concat();
        gateway.define("flows.toml", &document);
        server.put("in/a.edi", b"an order");
        server.put("locked/b.edi", b"not to be read");
        server.switch("locked/b.edi", Switch::Status(Op::OpenRead, 3, "Permission denied"));
        server.switch_times("out/*", 1, Switch::Status(Op::OpenWrite, 4, "Failure"));
        gateway.start();

        let completed = gateway.wait_for("completed", 1, PATIENCE);
        let id = completed[0]["id"].as_str().unwrap();
        let waybill = gateway.json(&["transfer", "show", id]);
        let event = |kind: &str| {
            let all = waybill["events"].as_array().unwrap();
            all.iter().find(|event| event["kind"] == kind).unwrap_or_else(|| panic!("{kind} in {waybill:#}"))
        };
        let (came, went) = (event("transfer.recorded"), event("delivery.delivered"));
        is(&recorded(&gateway, came), Purpose::Poll, "orders");
        is(&recorded(&gateway, event("delivery.retrying")), Purpose::Deliver, "warehouse");
        is(&recorded(&gateway, went), Purpose::Deliver, "warehouse");
        assert_eq!(waybill["deliveries"][0]["receipt"]["connection"], went["connection"]);

        let session = gateway.first_login();
        let page = gateway.page(&format!("/transfers/{id}"), &session);
        for named in [came, went] {
            let link = format!("/connections/{}", named["connection"].as_str().unwrap());
            assert!(page.contains(&format!("href=\"{link}\"")), "{link} in {page}");
            assert!(gateway.page(&link, &session).contains(id), "the way back from {link}");
        }

        // What fails at the source tells on which connection, too.
        is(&recorded(&gateway, &first(&gateway, "offer.backed_off")), Purpose::Poll, "locked");
        let refused = recorded(&gateway, &first(&gateway, "poll.failed"));
        is(&refused, Purpose::Poll, "refused");
        assert_eq!(refused.failed, Some(true), "{refused:?}");
    }
}

#[test]
fn a_jump_host_is_tested_by_its_login_alone_and_the_list_says_who_needs_it() {
    let jump = Server::start("sshd", &["--extra", "Subsystem sftp /bin/false"]);
    let server = Server::start("sshd", &[]);
    let root = tempfile::Builder::new().prefix("waybill-e2e-").tempdir().unwrap();
    let place = root.path();
    let endpoint = |name: &str, of: &Server, more: &str| {
        let password = place.join(format!("{name}.password"));
        fs::write(&password, of.text("password")).unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
        format!(
            "[endpoint.{name}]\ntransport = \"sftp\"\nurl = \"sftp://127.0.0.1:{}/\"\nusername = \"{}\"\n\
             password = \"${{file:{}}}\"\nhost_key = \"{}\"\n{more}\n",
            of.port(),
            of.text("password_user"),
            password.display(),
            of.text("fingerprint"),
        )
    };
    let mut gateway = GatewayBuilder::new(place, "node").build();
    let document = endpoint("bastion", &jump, "") + &endpoint("behind", &server, "jump = \"bastion\"");
    gateway.define("endpoints.toml", &document);
    gateway.start();
    for (name, role) in [("bastion", "jump_host"), ("behind", "destination")] {
        let tested = gateway.json(&["endpoint", "test", name]);
        assert_eq!(
            (&tested["passed"], &tested["steps"][0]["role"]),
            (&Value::from(true), &Value::from(role)),
            "{tested}"
        );
    }
    let list = gateway.json(&["endpoint", "list"]);
    assert_eq!(
        (&list[0]["name"], &list[0]["leads_to"][0]),
        (&Value::from("bastion"), &Value::from("behind")),
        "{list}"
    );
    let config = gateway.config();
    let (_, text, error) = suites::run(&["--config", config.to_str().unwrap(), "endpoint", "list"]);
    assert!(text.contains("endpoint behind (jump)"), "{text} {error}");
}
