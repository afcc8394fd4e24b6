//! The list of known hosts: one for all nodes, changed beside them and followed without a restart.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use suites::{Gateway, GatewayBuilder, Server, eventually, fresh_database, run};

const PATIENCE: Duration = Duration::from_secs(60);

/// The directory that a node's flow polls.
fn drop_folder(root: &Path, name: &str) -> PathBuf {
    root.join(format!("drop-{name}"))
}

fn flow(root: &Path, sshd: &Server, name: &str) -> String {
    // Beside the gateway's own directory, which has the node's name.
    fs::create_dir_all(drop_folder(root, name)).unwrap();
    format!(
        "[endpoint.here-{name}]\ntransport = \"file\"\nurl = \"file://{}\"\nnode = \"{name}\"\n\
         [endpoint.listed-{name}]\ntransport = \"sftp\"\nurl = \"sftp://127.0.0.1:{}/{}\"\nusername = \"{}\"\n\
         private_key = \"${{file:{}}}\"\n\
         [flow.to-{name}]\n\
         source = {{ endpoint = \"here-{name}\", mask = \"*\", every = \"1s\", stable_for = \"0s\", after = \"delete\", \
         error_directory = \"{root}/bad\" }}\n\
         [[flow.to-{name}.destination]]\nendpoint = \"listed-{name}\"\n",
        drop_folder(root, name).display(),
        sshd.port(),
        sshd.text("folder"),
        sshd.text("user"),
        root.join("ssh").display(),
        root = root.display(),
    )
}

fn waybill(gateway: &Gateway, arguments: &[&str]) -> (i32, String, String) {
    let config = gateway.config();
    let (status, out, error) = run(&[&["--config", config.to_str().unwrap()], arguments].concat());
    (status.code().unwrap(), out, error)
}

fn arrives(sshd: &Server, node: &Gateway, name: &str) {
    let file = Path::new(sshd.text("folder")).join(name);
    eventually(&format!("{name}\n{}", node.log()), PATIENCE, || file.is_file().then_some(()));
}

#[test]
fn two_nodes_follow_the_list_of_known_hosts() {
    let sshd = Server::start("sshd", &[]);
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    fs::copy(sshd.text("key"), root.join("ssh")).unwrap();
    for name in ["bad", "staging"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    let database = fresh_database("known_hosts");
    let document = format!("{}{}", flow(root, &sshd, "n1"), flow(root, &sshd, "n2"));
    let node = |name: &str| {
        let staging = root.join("staging");
        let gateway = GatewayBuilder::new(root, name).database(Some(&database)).staging(&staging).build();
        gateway.define("flow.toml", &document);
        gateway
    };
    let (mut one, mut two) = (node("n1"), node("n2"));
    one.start();
    two.start();

    // Nothing is on file: the test tells which key was shown, and it waits for a decision.
    let (code, out, error) = waybill(&one, &["endpoint", "test", "listed-n1"]);
    let fingerprint = sshd.text("fingerprint");
    assert_eq!(code, 2, "{out}{error}");
    for words in ["host key unknown", fingerprint, "known-host add --offered", "/known-hosts"] {
        assert!(out.contains(words), "{words}: {out}{error}");
    }
    let (_, out, error) = waybill(&two, &["known-host", "list"]);
    assert!(out.contains("no known hosts") && out.contains(fingerprint), "{out}{error}");

    // It is added only by somebody who says that they compared it.
    let host = format!("127.0.0.1:{}", sshd.port());
    let scan = one.json(&["known-host", "scan", &host]);
    let shown: Vec<&str> =
        scan["keys"].as_array().unwrap().iter().map(|key| key["fingerprint"].as_str().unwrap()).collect();
    assert!(shown.contains(&fingerprint) && shown.len() >= 3, "{scan}");
    let line = format!("getafix,127.0.0.1 {}", sshd.info["host_keys"]["ed25519"]["public"].as_str().unwrap());
    let (code, _, error) = waybill(&one, &["known-host", "add", &line]);
    assert!(code == 1 && error.contains("--confirm") && error.contains(fingerprint), "{error}");
    let (code, out, error) = waybill(&one, &["known-host", "add", &line, "--confirm", fingerprint]);
    assert!(code == 0 && out.contains("added getafix,127.0.0.1"), "{out}{error}");

    // Both nodes deliver without a restart.
    for (node, name) in [(&one, "n1"), (&two, "n2")] {
        fs::write(drop_folder(root, name).join(format!("first-{name}")), name).unwrap();
        arrives(&sshd, node, &format!("first-{name}"));
    }
    let list = one.json(&["known-host", "list"]);
    assert_eq!(list["hosts"][0]["used_by"], serde_json::json!(["listed-n1", "listed-n2"]), "{list}");
    assert_eq!(list["offered"], serde_json::json!([]), "{list}");

    // Removed, it is trusted by no node: the connections that are open are used no more.
    let (code, _, error) = waybill(&two, &["known-host", "remove", fingerprint]);
    assert!(code == 1 && error.contains("--yes"), "{error}");
    let (code, out, error) = waybill(&two, &["known-host", "remove", fingerprint, "--yes"]);
    assert_eq!(code, 0, "{out}{error}");
    for (node, name) in [(&one, "n1"), (&two, "n2")] {
        eventually(&format!("{name} has read the list\n{}", node.log()), PATIENCE, || {
            (node.log().matches("the list of known hosts has changed").count() >= 2).then_some(())
        });
        fs::write(drop_folder(root, name).join(format!("second-{name}")), name).unwrap();
        // Its delivery waits for the endpoint, which is offline with the cause.
        eventually("the endpoint is offline", PATIENCE, || {
            let offline = one.json(&["audit", "search", "--kind", "endpoint.offline"]).to_string();
            offline.contains("trust_failed").then_some(())
        });
        assert!(!Path::new(sshd.text("folder")).join(format!("second-{name}")).exists());
    }
    let trail = one.json(&["audit", "search", "--kind", "known_host"]).to_string();
    for words in ["known_host.added", "known_host.removed", fingerprint, "getafix,127.0.0.1"] {
        assert!(trail.contains(words), "{words}: {trail}");
    }
    // The nodes may not have vouched for each other's keys yet.
    let key = two.directory().join("state/seal.key.pub");
    let (code, out, error) =
        waybill(&one, &["audit", "verify", "--records", "--trust", key.to_str().unwrap()]);
    assert_eq!(code, 0, "{out}{error}");
    two.stop();
    one.stop();
}
