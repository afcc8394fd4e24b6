//! Files from a WebDAV server to this machine and back, through the whole gateway.

use std::fs;
use suites::pair::{PATIENCE, events, files_in, random};
use suites::{Gateway, GatewayBuilder, eventually, fresh_database};
use tempfile::TempDir;
use testkit::server::Server;

/// A gateway between directories of a WebDAV server and of this machine: `dav/in` to `out`, and `in` to `dav/out`.
struct Ground {
    gateway: Gateway,
    server: Server,
    root: TempDir,
}

impl Ground {
    fn new(database: Option<&str>) -> Self {
        let server = Server::start("apache", &["--authentication", "digest", "--tls"]);
        let root = tempfile::Builder::new().prefix("waybill-e2e-").tempdir().unwrap();
        let place = root.path();
        fs::write(place.join("password"), server.text("password")).unwrap();
        fs::copy(server.text("certificate"), place.join("dav.pem")).unwrap();
        for name in ["in", "out", "bad"] {
            fs::create_dir(place.join(name)).unwrap();
        }
        let gateway = GatewayBuilder::new(place, "node").database(database).build();
        let document = format!(
            r#"[certificate.dav]
pem = "${{file:{place}/dav.pem}}"

[endpoint.dav-in]
transport = "webdav"
url = "{url}/in"
username = "{user}"
password = "${{file:{place}/password}}"
authentication = "digest"
trust = {{ authorities = "dav" }}

[endpoint.dav-out]
transport = "webdav"
url = "{url}/out/deep"
username = "{user}"
password = "${{file:{place}/password}}"
authentication = "digest"
lock = true
trust = {{ authorities = "dav" }}

[endpoint.in]
transport = "file"
url = "file://{place}/in"

[endpoint.out]
transport = "file"
url = "file://{place}/out"

[flow.fetch]
source = {{ endpoint = "dav-in", mask = "*", every = "1s", stable_for = "0s", after = {{ archive = "done", timestamp = false }} }}
[[flow.fetch.destination]]
endpoint = "out"

[flow.send]
source = {{ endpoint = "in", mask = "*", every = "1s", stable_for = "0s", after = "delete", error_directory = "{place}/bad" }}
[[flow.send.destination]]
endpoint = "dav-out"
create_directories = true
"#,
            url = server.text("url"),
            user = server.text("user"),
            place = place.display(),
        );
        gateway.define("dav.toml", &document);
        Self { gateway, server, root }
    }
}

fn moves_both_ways(database: Option<&str>) {
    let mut ground = Ground::new(database);
    let files: Vec<(String, Vec<u8>)> = [("a b+c%20.edi", 1), ("empty", 0), ("käse.bin", 700_001)]
        .map(|(name, length)| (name.to_owned(), random(length)))
        .into();
    let folder = std::path::PathBuf::from(ground.server.text("folder"));
    let open = |path: &std::path::Path| {
        use std::os::unix::fs::PermissionsExt;
        fs::create_dir(path).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
    };
    open(&folder.join("in"));
    for (name, bytes) in &files {
        fs::write(folder.join("in").join(name), bytes).unwrap();
        fs::write(ground.root.path().join("in").join(name), bytes).unwrap();
    }
    ground.gateway.start();
    for place in [ground.root.path().join("out"), folder.join("out/deep"), folder.join("done")] {
        let found =
            eventually(&format!("files in {}\n{}", place.display(), ground.gateway.log()), PATIENCE, || {
                let found = if place.exists() { files_in(&place) } else { Vec::new() };
                (found.len() >= files.len()).then_some(found)
            });
        let mut expected = files.clone();
        expected.sort();
        assert!(found == expected, "{}", place.display());
    }
    eventually("settled sources", PATIENCE, || {
        (events(&ground.gateway, "offer.settled").len() == 2 * files.len()).then_some(())
    });
    assert!(files_in(&folder.join("in")).is_empty() && files_in(&ground.root.path().join("in")).is_empty());
    let log = ground.gateway.log();
    assert!(!log.contains(ground.server.text("password")), "the password is in the log");
}

#[test]
fn files_move_from_webdav_and_to_webdav() {
    moves_both_ways(None);
    moves_both_ways(Some(&fresh_database("webdav")));
}
