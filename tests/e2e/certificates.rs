//! A server that shows another TLS certificate than the pinned one, from one day to the next: ProFTPD by FTPS, and Apache by
//! WebDAV over TLS. Nothing goes there, the delivery waits, and goes on once the pin is corrected.

use openssl::hash::MessageDigest;
use openssl::x509::X509;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use suites::pair::{PATIENCE, events, files_in, put};
use suites::{Gateway, GatewayBuilder, Server, eventually};
use tempfile::TempDir;

/// A gateway that delivers to a server whose certificate it pins.
struct Pinned {
    gateway: Gateway,
    server: Server,
    /// How the endpoint reaches the server.
    place: String,
    /// Where the server keeps key and certificate.
    key: PathBuf,
    certificate: PathBuf,
    root: TempDir,
}

/// `sha256:` and the fingerprint of a certificate.
fn pin(certificate: &Path) -> String {
    let certificate = X509::from_pem(&fs::read(certificate).unwrap()).unwrap();
    let digest = certificate.digest(MessageDigest::sha256()).unwrap();
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

impl Pinned {
    fn new(server: Server, place: &str, key: &str, certificate: &str) -> Self {
        let root = tempfile::Builder::new().prefix("waybill-e2e-").tempdir().unwrap();
        fs::create_dir(root.path().join("from")).unwrap();
        let password = root.path().join("password");
        fs::write(&password, server.text("password")).unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
        let gateway = GatewayBuilder::new(root.path(), "node").build();
        let (key, certificate) = (server.directory().join(key), server.directory().join(certificate));
        let pinned = Self { gateway, server, place: place.to_owned(), key, certificate, root };
        pinned.define();
        pinned
    }

    /// Defines the endpoint with the pin of the certificate that the server has now.
    fn define(&self) {
        let at = self.root.path().display();
        let document = format!(
            r#"
[endpoint.here]
transport = "file"
url = "file://{at}/from"
[endpoint.there]
{place}
username = "{user}"
password = "${{file:{at}/password}}"
trust = {{ pins = "{pin}" }}
[flow.out]
source = {{ endpoint = "here", mask = "*", every = "1s", stable_for = "0s", after = "delete" }}
[[flow.out.destination]]
endpoint = "there"
retry = {{ attempts = 2, first = "1s", longest = "1s" }}
"#,
            place = self.place,
            user = self.server.text("user"),
            pin = pin(&self.certificate),
        );
        self.gateway.define("flows.toml", &document);
    }

    fn send(&self, name: &str) {
        put(&self.root.path().join("from"), name.as_bytes(), name.as_bytes());
    }

    fn arrives(&self, name: &str) {
        let folder = PathBuf::from(self.server.text("folder"));
        eventually(&format!("{name} arrives\n{}", self.gateway.log()), PATIENCE, || {
            files_in(&folder)
                .iter()
                .any(|(found, bytes)| found == name && bytes == name.as_bytes())
                .then_some(())
        });
    }

    /// Another key and certificate for the same name, in the files of those before.
    fn change_certificate(&self) {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
            .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
            .arg("-keyout")
            .arg(self.root.path().join("new.key"))
            .arg("-out")
            .arg(self.root.path().join("new.pem"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        // In place, so that the server may still read them.
        fs::write(&self.key, fs::read(self.root.path().join("new.key")).unwrap()).unwrap();
        fs::write(&self.certificate, fs::read(self.root.path().join("new.pem")).unwrap()).unwrap();
        self.server.command("restart", &[]);
    }
}

fn waits_for_the_pin_and_recovers(mut pinned: Pinned) {
    pinned.gateway.start();
    pinned.send("first.edi");
    pinned.arrives("first.edi");
    pinned.gateway.wait_for("completed", 1, PATIENCE);
    let before = pin(&pinned.certificate);
    pinned.change_certificate();
    let now = pin(&pinned.certificate);
    pinned.send("second.edi");
    // It says which certificate was expected and which one the server shows.
    let offline = eventually("the endpoint is offline", PATIENCE, || {
        events(&pinned.gateway, "endpoint.offline").into_iter().next()
    });
    let text = offline.to_string();
    let shows_both =
        |text: &str| text.contains(&before) && text.contains(now.strip_prefix("sha256:").unwrap());
    assert!(text.contains("trust_failed") && shows_both(&text), "{text}");
    // The delivery waits, however few attempts it may have.
    let shown = pinned.gateway.json(&["endpoint", "list"]).to_string();
    assert!(shows_both(&shown), "{shown}");
    eventually("it is recorded", PATIENCE, || {
        (events(&pinned.gateway, "transfer.recorded").len() == 2).then_some(())
    });
    assert!(pinned.gateway.json(&["transfer", "list", "--state", "failed"]).as_array().unwrap().is_empty());
    let folder = fs::read_dir(pinned.server.text("folder")).unwrap();
    let names: Vec<_> =
        folder.map(|entry| entry.unwrap().file_name()).filter(|name| name != ".DAV").collect();
    assert_eq!(names, ["first.edi"]);
    // The corrected pin ends the wait.
    pinned.define();
    pinned.gateway.signal("HUP");
    pinned.arrives("second.edi");
    pinned.gateway.wait_for("completed", 2, PATIENCE);
    assert!(pinned.gateway.json(&["transfer", "list", "--state", "failed"]).as_array().unwrap().is_empty());
    assert!(!pinned.gateway.log().contains(pinned.server.text("password")));
}

#[test]
fn an_ftp_server_with_another_certificate_is_sent_nothing_until_the_pin_is_corrected() {
    let server = Server::start("ftp", &["--server", "proftpd", "--tls", "explicit"]);
    let place = format!("transport = \"ftp\"\nurl = \"ftp://127.0.0.1:{}/files\"", server.port());
    waits_for_the_pin_and_recovers(Pinned::new(server, &place, "keys/server.key", "keys/server.pem"));
}

#[test]
fn a_webdav_server_with_another_certificate_is_sent_nothing_until_the_pin_is_corrected() {
    let server = Server::start("apache", &["--tls"]);
    let place = format!("transport = \"webdav\"\nurl = \"{}/\"", server.text("url"));
    waits_for_the_pin_and_recovers(Pinned::new(server, &place, "key.pem", "certificate.pem"));
}
