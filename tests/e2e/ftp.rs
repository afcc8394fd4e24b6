//! From a local directory to an FTP server, and from there back into one: with TLS and ProFTPD, in the clear and vsftpd.

use model::Purpose;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use suites::pair::{PATIENCE, files_in, put, random};
use suites::{Gateway, GatewayBuilder, Server, eventually};

fn goes_there_and_back(server: &Server, security: &str) {
    let root = tempfile::Builder::new().prefix("waybill-e2e-").tempdir().unwrap();
    let place = root.path();
    for directory in ["from", "refused", "to"] {
        fs::create_dir(place.join(directory)).unwrap();
    }
    let password = place.join("password");
    fs::write(&password, server.text("password")).unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    // Definitions read only files below the gateway's own roots.
    let certificate = place.join("server.pem");
    fs::copy(server.text("certificate"), &certificate).unwrap();
    // What a person looks for an error with must not show the password either.
    let mut gateway = GatewayBuilder::new(place, "node").variable("RUST_LOG", "trace").build();
    let at = place.display();
    let document = format!(
        r#"
[certificate.server]
pem = "${{file:{certificate}}}"
[endpoint.here]
transport = "file"
url = "file://{at}/from"
[endpoint.there]
transport = "ftp"
url = "ftp://127.0.0.1:{port}/files"
username = "{user}"
password = "${{file:{password}}}"
{security}
[endpoint.back]
transport = "file"
url = "file://{at}/to"
[flow.out]
source = {{ endpoint = "here", mask = "*", every = "1s", stable_for = "0s", after = "delete", error_directory = "{at}/refused" }}
[[flow.out.destination]]
endpoint = "there"
[flow.in]
source = {{ endpoint = "there", mask = "*", every = "1s", stable_for = "0s", after = "delete" }}
[[flow.in.destination]]
endpoint = "back"
"#,
        certificate = certificate.display(),
        port = server.port(),
        user = server.text("user"),
        password = password.display(),
    );
    gateway.define("flows.toml", &document);
    gateway.start();
    let content = random(1_500_000);
    let mut expected = vec![
        ("an order.edi".to_owned(), b"an order".to_vec()),
        ("empty".to_owned(), Vec::new()),
        ("käse.bin".to_owned(), content),
    ];
    expected.sort();
    for (name, bytes) in &expected {
        put(&place.join("from"), name.as_bytes(), bytes);
    }
    let found = eventually("the files are back", PATIENCE, || {
        let found = files_in(&place.join("to"));
        (found.len() >= expected.len()).then_some(found)
    });
    assert_eq!(found, expected);
    gateway.wait_for("completed", 6, PATIENCE);
    assert_eq!(fs::read_dir(place.join("from")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(server.text("folder")).unwrap().count(), 0);
    let log = gateway.log();
    assert!(!log.contains(server.text("password")), "the password is in the log");
    let rows = gateway.connections();
    let of_server = |purpose| {
        rows.iter()
            .filter(|row| row.endpoint.as_deref() == Some("there") && row.purpose == Some(purpose))
            .count()
    };
    for purpose in [Purpose::Poll, Purpose::Deliver, Purpose::Data] {
        assert!(of_server(purpose) > 0, "{purpose}: {rows:?}");
    }
    // Each transfer names the data connection that its file went over, and the connection which that belongs to.
    for (flow, purpose) in [("out", "deliver"), ("in", "poll")] {
        shows_its_data_connection(&gateway, flow, purpose);
    }
}

fn shows_its_data_connection(gateway: &Gateway, flow: &str, purpose: &str) {
    let list = gateway.json(&["transfer", "list", "--flow", flow]);
    let id = list[0]["id"].as_str().unwrap();
    let shown = gateway.json(&["transfer", "show", id]);
    let connections = shown["connections"].as_array().unwrap();
    let data = connections.iter().find(|connection| connection["purpose"] == "data");
    let data = data.unwrap_or_else(|| panic!("{shown}"));
    let control = connections.iter().find(|connection| connection["id"] == data["control"]);
    assert_eq!(control.unwrap_or_else(|| panic!("{shown}"))["purpose"], purpose, "{shown}");
    assert_eq!(data["endpoint"], "there", "{shown}");
}

#[test]
fn files_go_to_an_ftp_server_and_back_under_tls() {
    let server = Server::start("ftp", &["--server", "proftpd", "--tls", "explicit"]);
    goes_there_and_back(&server, "trust = { authorities = [\"server\"] }");
}

#[test]
fn files_go_to_an_ftp_server_and_back_in_the_clear() {
    let server = Server::start("ftp", &["--server", "vsftpd"]);
    goes_there_and_back(&server, "security = \"none\"");
}
