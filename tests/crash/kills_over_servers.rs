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

/// An FTP server for the routes of other suites.
pub struct FtpRoutes {
    server: Server,
    password: PathBuf,
}

impl FtpRoutes {
    /// Starts it; its password is below `root`.
    pub fn start(root: &Path) -> Self {
        let server = Server::start("ftp", &["--server", "proftpd"]);
        let password = password_of("ftp", &server, root);
        Self { server, password }
    }

    /// Moves one end of a route between folders (`in` or `out`) to the server, in the route and in the document of its flow.
    pub fn take_over(&self, end: &str, route: &mut Route, document: &str) -> String {
        let here = if end == "in" { &mut route.into } else { &mut route.out };
        let local = format!("transport = \"file\"\nurl = \"file://{}\"\n", here.display());
        let error_directory = format!("\"{}-bad\"", here.display());
        *here = make(&self.server, end);
        let (port, user) = (self.server.port(), self.server.text("user"));
        let password = self.password.display();
        let remote = format!(
            r#"transport = "ftp"
url = "ftp://127.0.0.1:{port}/files/{end}"
security = "none"
username = "{user}"
password = "${{file:{password}}}"
"#
        );
        assert!(document.contains(&local), "{document}");
        document.replace(&local, &remote).replace(&error_directory, "\"files/bad\"")
    }
}

/// The file with a server's password.
fn password_of(name: &str, server: &Server, root: &Path) -> PathBuf {
    let path = root.join(format!("{name}-password"));
    fs::write(&path, server.text("password")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
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
        password_of(name, server, root.path());
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
