//! From an FTP server to a WebDAV server and from there back to the FTP server, the gateway killed at every step of the way.

use crate::Database;
use crate::kills::Ordeal;
use crate::traffic::{Route, Traffic};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use suites::{GatewayBuilder, Server};

/// The points between claiming a source's file and having settled it.
const POINTS: [&str; 11] = [
    "stage.copied",
    "stage.committed",
    "record.after",
    "settle.before",
    "settle.after",
    "deliver.claimed",
    "deliver.noted",
    "deliver.before_act",
    "deliver.sent",
    "finish.before",
    "finish.after",
];

#[test]
fn kills_over_ftp_and_webdav_on_sqlite() {
    run(Database::Sqlite);
}

#[test]
fn kills_over_ftp_and_webdav_on_postgres() {
    run(Database::Postgres);
}

/// A directory among a server's files that it may write to.
fn make(server: &Server, name: &str) -> PathBuf {
    let files = Path::new(server.text("folder"));
    let path = files.join(name);
    fs::create_dir(&path).unwrap();
    let owner = fs::metadata(files).unwrap();
    chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    path
}

fn run(database: Database) {
    let root = tempfile::tempdir().unwrap();
    let url = database.url("servers");
    let ftp = Server::start("ftp", &["--server", "proftpd"]);
    let dav = Server::start("apache", &[]);
    for (name, server) in [("ftp", &ftp), ("dav", &dav)] {
        let password = root.path().join(format!("{name}-password"));
        fs::write(&password, server.text("password")).unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let route = |name, into, out| Route { name, into, out, largest: 256 << 10, most: 8 };
    let there = route("there", make(&ftp, "in"), make(&dav, "out"));
    let back = route("back", make(&dav, "in"), make(&ftp, "out"));
    let at = root.path().display();
    let mut document = String::new();
    for directory in ["in", "out"] {
        document += &format!(
            r#"
[endpoint.ftp-{directory}]
transport = "ftp"
url = "ftp://127.0.0.1:{port}/files/{directory}"
security = "none"
username = "{user}"
password = "${{file:{at}/ftp-password}}"
[endpoint.dav-{directory}]
transport = "webdav"
url = "{url}/{directory}"
username = "{dav_user}"
password = "${{file:{at}/dav-password}}"
"#,
            port = ftp.port(),
            user = ftp.text("user"),
            url = dav.text("url"),
            dav_user = dav.text("user"),
        );
    }
    for (name, from, to) in [("there", "ftp-in", "dav-out"), ("back", "dav-in", "ftp-out")] {
        document += &format!(
            r#"
[flow.{name}]
source = {{ endpoint = "{from}", mask = "*.bin", every = "1s", stable_for = "0s", read_limit = 0, after = "delete" }}
[[flow.{name}.destination]]
endpoint = "{to}"
retry = {{ attempts = 1000, first = "1s", longest = "2s" }}
"#
        );
    }
    let gateway = GatewayBuilder::new(root.path(), "gateway")
        .database(url.as_deref())
        .settings("[audit]\nseal_every = \"2s\"")
        .build();
    gateway.define("flows.toml", &document);
    let traffic = Traffic::begin(root.path(), vec![there, back]);
    Ordeal { database, url: url.as_deref(), points: &POINTS, kills: POINTS.len(), ordered: None }
        .undergo(gateway, traffic);
}
