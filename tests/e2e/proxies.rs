//! Connections through proxies: SFTP and AS2 by the process's own and one that an endpoint names, FTP and WebDAV by the latter.

use model::Purpose;
use serde_json::Value;
use std::fs;
use std::path::Path;
use suites::pair::{PATIENCE, Pair, Terms, files_in, put, random};
use suites::{GatewayBuilder, Server, eventually};

const LOGIN: &str = "ada:the proxy's password";

/// A proxy as documents write it, its password in a file.
fn written(proxy: &Server, secrets: &Path) -> String {
    let (user, password) = LOGIN.split_once(':').unwrap();
    let file = secrets.join("proxy-password");
    fs::write(&file, password).unwrap();
    fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let (url, file) = (proxy.text("url"), file.display());
    format!("url = \"{url}\"\nusername = \"{user}\"\npassword = \"${{file:{file}}}\"\n")
}

/// A pair whose SFTP goes through one proxy, which the endpoint names, and whose AS2 goes through the process's.
fn pair(own: &Server, process: &Server) -> Pair {
    let sshd = Server::start("sshd", &[]);
    let pair = Pair::with_server(sshd, &Terms::default());
    let secrets = pair.root.path().join("keys");
    let login = format!("{}\nproxy = \"own\"", pair.usual_login());
    let terms = Terms { login: Some(&login), ..Terms::default() };
    pair.acme.define("acme.toml", &pair.acme_document(&terms));
    pair.acme.define("proxies.toml", &format!("[proxy.own]\n{}", written(own, &secrets)));
    let mut settings = fs::read_to_string(pair.acme.config()).unwrap();
    settings.push_str(&format!("[network.proxy]\n{}", written(process, &secrets)));
    fs::write(pair.acme.config(), settings).unwrap();
    pair
}

fn goes_through(pair: &Pair, endpoint: &str, proxy: &Server) {
    let rows = pair.acme.connections();
    let mut of_endpoint = rows.iter().filter(|row| row.endpoint.as_deref() == Some(endpoint)).peekable();
    assert!(of_endpoint.peek().is_some(), "{endpoint}: {rows:?}");
    for row in of_endpoint {
        assert_eq!(row.proxy.as_deref(), Some(proxy.text("url")), "{endpoint}: {row:?}");
    }
}

fn says_nothing_of_the_password(pair: &Pair, event: &Value) {
    for text in [event.to_string(), pair.acme.log()] {
        assert!(!text.contains("the proxy's password"), "{text}");
    }
}

#[test]
fn sftp_and_as2_go_through_http_and_socks5_proxies_with_passwords() {
    let squid = Server::start("squid", &["--password", LOGIN]);
    let socks = Server::start("socks", &["--password", LOGIN]);
    for (own, process) in [(&squid, &socks), (&socks, &squid)] {
        let mut pair = pair(own, process);
        put(&pair.folder(), b"order.edi", b"an order");
        pair.start();
        assert_eq!(pair.wait_for_files(1), [("order.edi".to_owned(), b"an order".to_vec())]);
        pair.acme.wait_for("completed", 1, PATIENCE);
        goes_through(&pair, "acme-folder", own);
        goes_through(&pair, "globex-as2", process);
        says_nothing_of_the_password(&pair, &Value::Null);
    }
}

#[test]
fn a_proxy_that_fails_is_told_apart_from_the_partner_and_nothing_is_lost() {
    let squid = Server::start("squid", &["--password", LOGIN]);
    let socks = Server::start("socks", &["--password", LOGIN]);
    let mut pair = pair(&socks, &squid);
    // The proxy answers, and what is behind it does not.
    put(&pair.folder(), b"order.edi", b"an order");
    pair.acme.start();
    let event = pair.wait_for_event("delivery.retrying", "the proxy could not reach the host");
    assert!(event.to_string().contains("ERR_CONNECT_FAIL"), "{event}");
    says_nothing_of_the_password(&pair, &event);
    // The proxy itself is away.
    squid.command("kill", &[]);
    let event = pair.wait_for_event("delivery.retrying", "connect to the proxy");
    assert!(event.to_string().contains(squid.text("url")), "{event}");
    squid.command("restart", &[]);
    pair.globex.start();
    assert_eq!(pair.wait_for_files(1), [("order.edi".to_owned(), b"an order".to_vec())]);
    pair.acme.wait_for("completed", 1, PATIENCE);
}

#[test]
fn a_proxy_is_switched_off_for_one_endpoint_and_a_name_that_is_none_is_refused() {
    let socks = Server::start("socks", &["--password", LOGIN]);
    let mut pair = pair(&socks, &socks);
    let document = |proxy: &str| {
        let login = format!("{}\nproxy = \"{proxy}\"", pair.usual_login());
        pair.acme_document(&Terms { login: Some(&login), ..Terms::default() })
    };
    let (wrong, none) = (document("elsewhere"), document("none"));
    pair.acme.define("acme.toml", &wrong);
    let definitions = pair.acme.directory().join("definitions");
    let (code, said, error) = pair.command(&["validate", "--definitions", definitions.to_str().unwrap()]);
    assert_ne!(code, 0, "{said}");
    let text = format!("{said}{error}");
    assert!(text.contains("there is no proxy 'elsewhere'"), "{text}");
    pair.acme.define("acme.toml", &none);
    put(&pair.folder(), b"order.edi", b"an order");
    pair.start();
    pair.wait_for_files(1);
    let rows = eventually("connections", PATIENCE, || Some(pair.acme.connections()));
    let direct = rows.iter().filter(|row| row.endpoint.as_deref() == Some("acme-folder"));
    assert!(direct.clone().count() > 0 && direct.clone().all(|row| row.proxy.is_none()), "{rows:?}");
    goes_through(&pair, "globex-as2", &socks);
}

/// Files to a server and back, by FTP and by WebDAV at once.
fn goes_there_and_back_through(proxy: &Server) {
    let (ftp, dav) = (Server::start("ftp", &["--server", "proftpd"]), Server::start("apache", &[]));
    let root = tempfile::Builder::new().prefix("waybill-e2e-").tempdir().unwrap();
    let place = root.path();
    // Apart from the gateway's own state, which no endpoint's directory may hold.
    let files = place.join("files");
    for directory in ["from", "ftp", "dav"] {
        fs::create_dir_all(files.join(directory)).unwrap();
    }
    let own = written(proxy, place);
    let mut gateway = GatewayBuilder::new(place, "node").build();
    let login = |server: &Server, name: &str| {
        let file = place.join(name);
        fs::write(&file, server.text("password")).unwrap();
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let (user, file) = (server.text("user"), file.display());
        format!("username = \"{user}\"\npassword = \"${{file:{file}}}\"\nproxy = \"own\"")
    };
    let document = format!(
        r#"
[proxy.own]
{own}
[endpoint.ftp]
transport = "ftp"
url = "ftp://127.0.0.1:{port}/files"
security = "none"
{ftp_login}
[endpoint.dav]
transport = "webdav"
url = "{url}/"
{dav_login}
[endpoint.here]
transport = "file"
url = "file://{at}"
[flow.out]
source = {{ endpoint = "here", directory = "from", mask = "*", every = "1s", stable_for = "0s", after = "delete" }}
[[flow.out.destination]]
endpoint = "ftp"
[[flow.out.destination]]
endpoint = "dav"
[flow.from-ftp]
source = {{ endpoint = "ftp", mask = "*", every = "1s", stable_for = "0s", after = "delete" }}
[[flow.from-ftp.destination]]
endpoint = "here"
directory = "ftp"
[flow.from-dav]
source = {{ endpoint = "dav", mask = "*", every = "1s", stable_for = "0s", after = "delete" }}
[[flow.from-dav.destination]]
endpoint = "here"
directory = "dav"
"#,
        port = ftp.port(),
        url = dav.text("url"),
        at = files.display(),
        ftp_login = login(&ftp, "ftp-password"),
        dav_login = login(&dav, "dav-password"),
    );
    gateway.define("flows.toml", &document);
    gateway.start();
    let expected =
        vec![("large".to_owned(), random(1_500_000)), ("order.edi".to_owned(), b"an order".to_vec())];
    for (name, bytes) in &expected {
        put(&files.join("from"), name.as_bytes(), bytes);
    }
    for directory in ["ftp", "dav"] {
        let found = eventually("the files are back", PATIENCE, || {
            let found = files_in(&files.join(directory));
            (found.len() >= expected.len()).then_some(found)
        });
        assert_eq!(found, expected, "{directory}");
    }
    gateway.wait_for("completed", 6, PATIENCE);
    let rows = gateway.connections();
    for endpoint in ["ftp", "dav"] {
        let of_endpoint: Vec<_> =
            rows.iter().filter(|row| row.endpoint.as_deref() == Some(endpoint)).collect();
        assert!(!of_endpoint.is_empty(), "{rows:?}");
        for row in of_endpoint {
            assert_eq!(row.proxy.as_deref(), Some(proxy.text("url")), "{row:?}");
        }
    }
    assert!(rows.iter().any(|row| row.purpose == Some(Purpose::Data)), "{rows:?}");
    assert!(!gateway.log().contains("the proxy's password"));
}

#[test]
fn ftp_with_its_data_connections_and_webdav_go_through_an_http_proxy() {
    goes_there_and_back_through(&Server::start("squid", &["--password", LOGIN]));
}

#[test]
fn ftp_with_its_data_connections_and_webdav_go_through_a_socks5_proxy() {
    goes_there_and_back_through(&Server::start("socks", &["--password", LOGIN]));
}
