//! SFTP and AS2 through proxies: the process's own, and one that an endpoint names.

use serde_json::Value;
use std::fs;
use std::path::Path;
use suites::pair::{PATIENCE, Pair, Terms, put};
use suites::{Server, eventually};

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
