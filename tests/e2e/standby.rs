//! An endpoint with two addresses, each a real server, of which one is down: OpenSSH, ProFTPD and Apache. The other takes the
//! files, the receipt names it, and the first takes them again when it is back. With both down, the files wait.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use suites::pair::{PATIENCE, files_in, put};
use suites::{GatewayBuilder, Server, eventually};

/// Two servers with one login, and the fields of an endpoint that has both.
struct Both {
    servers: [Server; 2],
    endpoint: String,
}

/// A secret in a file that definitions may read.
fn secret(root: &Path, bytes: &[u8]) -> String {
    let file = root.join("secret");
    fs::write(&file, bytes).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    format!("\"${{file:{}}}\"", file.display())
}

fn openssh(root: &Path) -> Both {
    let servers = [Server::start("sshd", &[]), Server::start("sshd", &[])];
    let [first, second] = &servers;
    let public = fs::read(format!("{}.pub", first.text("key"))).unwrap();
    fs::write(second.directory().join("authorized_keys"), public).unwrap();
    let endpoint = format!(
        "transport = \"sftp\"\nurl = [\"sftp://127.0.0.1:{}\", \"sftp://127.0.0.1:{}\"]\nusername = \"{}\"\n\
         private_key = {}\nhost_key = [\"{}\", \"{}\"]",
        first.port(),
        second.port(),
        first.text("user"),
        secret(root, &fs::read(first.text("key")).unwrap()),
        first.text("fingerprint"),
        second.text("fingerprint"),
    );
    Both { servers, endpoint }
}

fn proftpd(root: &Path) -> Both {
    let servers =
        [Server::start("ftp", &["--server", "proftpd"]), Server::start("ftp", &["--server", "proftpd"])];
    let [first, second] = &servers;
    // acme:HASH:UID:GID:…, read at each login.
    let users = |server: &Server| fs::read_to_string(server.directory().join("users")).unwrap();
    let hash = |users: &str| users.split(':').nth(1).unwrap().to_owned();
    let changed = users(second).replace(&hash(&users(second)), &hash(&users(first)));
    fs::write(second.directory().join("users"), changed).unwrap();
    let endpoint = format!(
        "transport = \"ftp\"\nurl = [\"ftp://127.0.0.1:{}/files\", \"ftp://127.0.0.1:{}/files\"]\nsecurity = \"none\"\n\
         username = \"{}\"\npassword = {}",
        first.port(),
        second.port(),
        first.text("user"),
        secret(root, first.text("password").as_bytes()),
    );
    Both { servers, endpoint }
}

fn apache(root: &Path) -> Both {
    let servers = [Server::start("apache", &[]), Server::start("apache", &[])];
    let [first, second] = &servers;
    let endpoint = format!(
        "transport = \"webdav\"\nurl = [\"{}/\", \"{}/\"]\nusername = \"{}\"\npassword = {}",
        first.text("url"),
        second.text("url"),
        first.text("user"),
        secret(root, first.text("password").as_bytes()),
    );
    Both { servers, endpoint }
}

fn the_other_address_takes_the_files(both: impl FnOnce(&Path) -> Both) {
    let root = tempfile::Builder::new().prefix("waybill-e2e-").tempdir().unwrap();
    let from = root.path().join("from");
    fs::create_dir(&from).unwrap();
    let Both { servers: [first, second], endpoint } = both(root.path());
    let mut gateway = GatewayBuilder::new(root.path(), "node").build();
    let document = format!(
        r#"
[endpoint.here]
transport = "file"
url = "file://{from}"
[endpoint.there]
{endpoint}
balance = "failover"
connect_retries = 0
offline = {{ after = 1, for = "1s" }}
[flow.out]
source = {{ endpoint = "here", mask = "*", every = "1s", stable_for = "0s", after = "delete" }}
[[flow.out.destination]]
endpoint = "there"
retry = {{ attempts = 100, first = "1s", longest = "1s" }}
"#,
        from = from.display(),
    );
    gateway.define("flows.toml", &document);
    gateway.start();
    let send = |name: &str| put(&from, name.as_bytes(), name.as_bytes());
    let arrives = |server: &Server, name: &str| {
        let folder = PathBuf::from(server.text("folder"));
        eventually(&format!("{name} arrives\n{}", gateway.log()), PATIENCE, || {
            files_in(&folder)
                .iter()
                .any(|(found, bytes)| found == name && bytes == name.as_bytes())
                .then_some(())
        });
    };
    // The address of the receipt.
    let taken_by = |server: &Server, count: usize, name: &str| {
        gateway.wait_for("completed", count, PATIENCE);
        let shown = gateway.json(&["transfer", "list", "--limit", "1000"]);
        let one = shown.as_array().unwrap().iter().find(|one| one.to_string().contains(name)).unwrap();
        let shown = gateway.json(&["transfer", "show", one["id"].as_str().unwrap()]);
        let url = shown["deliveries"][0]["receipt"]["detail"]["url"].to_string();
        assert!(url.contains(&format!(":{}", server.port())), "{shown:#}");
    };
    send("both-up.edi");
    arrives(&first, "both-up.edi");
    taken_by(&first, 1, "both-up.edi");
    first.command("kill", &[]);
    for number in 0..3 {
        send(&format!("one-down-{number}.edi"));
    }
    for number in 0..3 {
        arrives(&second, &format!("one-down-{number}.edi"));
    }
    taken_by(&second, 4, "one-down-0.edi");
    second.command("kill", &[]);
    send("both-down.edi");
    eventually("it waits", PATIENCE, || {
        let list = gateway.json(&["transfer", "list", "--limit", "1000"]);
        list.as_array().unwrap().iter().any(|one| one.to_string().contains("both-down.edi")).then_some(())
    });
    first.command("restart", &[]);
    arrives(&first, "both-down.edi");
    taken_by(&first, 5, "both-down.edi");
    // Nothing went twice, and no unfinished file stays.
    for (server, count) in [(&first, 2), (&second, 3)] {
        let names = fs::read_dir(server.text("folder")).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.filter(|name| name != ".DAV").count(), count);
    }
}

#[test]
fn the_other_openssh_takes_the_files() {
    the_other_address_takes_the_files(openssh);
}

#[test]
fn the_other_ftp_server_takes_the_files() {
    the_other_address_takes_the_files(proftpd);
}

#[test]
fn the_other_webdav_server_takes_the_files() {
    the_other_address_takes_the_files(apache);
}
