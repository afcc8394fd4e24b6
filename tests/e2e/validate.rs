//! `waybill validate`: mistakes are named with file, line and what was meant.

use std::fs;
use std::path::Path;
use suites::pair::{Pair, Terms};
use suites::{GatewayBuilder, KeyPair, repository, run};

struct Desk {
    pair: Pair,
    document: String,
}

impl Desk {
    fn new() -> Self {
        let pair = Pair::new(&Terms::default());
        let document = pair.acme_document(&Terms::default());
        Self { pair, document }
    }

    /// Exit code and what was said of a document.
    fn said(&self, document: &str) -> (i32, String) {
        let directory = self.pair.root.path().join("to-check");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("acme.toml"), document).unwrap();
        let (config, directory) = (self.pair.acme.config(), directory.to_str().unwrap().to_owned());
        let (status, out, error) =
            run(&["--config", config.to_str().unwrap(), "validate", "--definitions", &directory]);
        (status.code().unwrap(), out + &error)
    }

    /// That the document with `from` changed to `to` is refused at that line, with these words.
    fn refuses(&self, from: &str, to: &str, words: &[&str]) {
        assert!(self.document.contains(from), "no {from:?}");
        let document = self.document.replacen(from, to, 1);
        let (code, said) = self.said(&document);
        assert_eq!(code, 2, "{to}: {said}");
        for word in words {
            assert!(said.contains(word), "{to}: no {word:?} in\n{said}");
        }
        let wrong = to.lines().next().unwrap();
        let line = 1 + document.lines().position(|line| line.contains(wrong)).unwrap();
        assert!(said.contains(&format!("acme.toml:{line}:")), "{to}: not at line {line}:\n{said}");
        // And nothing is started with it.
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[test]
fn a_sound_directory_is_said_to_be_sound() {
    let desk = Desk::new();
    let (code, said) = desk.said(&desk.document);
    assert_eq!(code, 0, "{said}");
    let config = desk.pair.acme.config();
    let directory = desk.pair.acme.directory().join("definitions");
    let (status, out, _) = run(&[
        "--config",
        config.to_str().unwrap(),
        "--output",
        "json",
        "validate",
        "--definitions",
        directory.to_str().unwrap(),
    ]);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(status.success());
    assert_eq!((report["valid"].as_bool(), report["errors"].as_u64()), (Some(true), Some(0)), "{report}");
}

#[test]
fn mistakes_are_refused_where_they_stand() {
    let desk = Desk::new();
    let port = desk.pair.sshd.port();
    desk.refuses("username = ", "usrname = ", &["usrname", "username"]);
    desk.refuses("every = \"1s\"", "evry = \"1s\"", &["evry", "every"]);
    desk.refuses("host_key = ", "hostkey = ", &["hostkey", "host_key"]);
    desk.refuses("endpoint = \"globex-as2\"", "endpoint = \"globex-as3\"", &["globex-as3", "globex-as2"]);
    desk.refuses("transport = \"sftp\"", "transport = \"sfpt\"", &["sfpt", "sftp"]);
    desk.refuses("id = \"ACME\"", "id = \"${env:NO_SUCH_VARIABLE}\"", &["NO_SUCH_VARIABLE"]);
    desk.refuses(
        &format!("sftp://127.0.0.1:{port}"),
        "sftp://127.0.0.1:99999",
        &["endpoint.acme-folder.url"],
    );
    desk.refuses(&format!("url = \"sftp://127.0.0.1:{port}/"), "url = \"http://127.0.0.1/", &["sftp://"]);
    desk.refuses("after = \"delete\"", "after = \"deltee\"", &["deltee", "delete"]);
    desk.refuses("certificates = [\"globex\"]", "certificates = [\"glbex\"]", &["glbex", "globex"]);
    let keys = desk.pair.root.path().join("keys/ssh");
    desk.refuses(&format!("${{file:{}}}", keys.display()), "${file:/etc/shadow}", &["/etc/shadow"]);
    desk.refuses(
        &format!("${{file:{}}}", keys.display()),
        &format!("${{file:{}-missing}}", keys.display()),
        &["missing"],
    );
}

#[test]
fn folders_outside_the_roots_and_folders_that_overlap_are_refused() {
    let desk = Desk::new();
    let root = desk.pair.root.path().display().to_string();
    let folders = |first: &str, second: &str| {
        format!(
            "{}\n[endpoint.one]\ntransport = \"file\"\nurl = \"file://{first}\"\n\
             [endpoint.two]\ntransport = \"file\"\nurl = \"file://{second}\"\n\
             [flow.one]\nsource = {{ endpoint = \"one\", after = \"delete\", error_directory = \"{root}/errors\" }}\n\
             [[flow.one.destination]]\nendpoint = \"globex-as2\"\n\
             [flow.two]\nsource = {{ endpoint = \"two\", after = \"delete\", error_directory = \"{root}/errors\" }}\n\
             [[flow.two.destination]]\nendpoint = \"globex-as2\"\n",
            desk.document
        )
    };
    let (code, said) = desk.said(&folders(&format!("{root}/a"), &format!("{root}/b")));
    assert_eq!(code, 0, "{said}");
    let (code, said) = desk.said(&folders("/etc", &format!("{root}/b")));
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("endpoint.one.url") && said.contains("/etc"), "{said}");
    let (code, said) = desk.said(&folders(&format!("{root}/../elsewhere"), &format!("{root}/b")));
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("'..'"), "{said}");
    let (code, said) = desk.said(&folders(&format!("{root}/a"), &format!("{root}/a/")));
    assert_eq!(code, 2, "{said}");
    assert!(
        said.contains("flow.two.source.endpoint") && said.contains("same directory as flow 'one'"),
        "{said}"
    );
}

#[test]
fn serve_refuses_what_validate_refuses() {
    let desk = Desk::new();
    desk.pair.acme.define("acme.toml", &desk.document.replace("username = ", "usrname = "));
    let directory = desk.pair.acme.directory().join("definitions");
    let config = desk.pair.acme.config();
    let (status, out, error) =
        run(&["--config", config.to_str().unwrap(), "serve", "--definitions", directory.to_str().unwrap()]);
    assert!(!status.success());
    assert!((out.clone() + &error).contains("usrname"), "{out} {error}");
}

#[test]
fn the_shipped_examples_are_sound_with_keys_of_ones_own() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    let gateway = GatewayBuilder::new(root, "desk").build();
    let put = |from: &Path, name: &str| fs::copy(from, root.join(name)).map(drop).unwrap();
    let (acme, globex) = (KeyPair::make(root, "acme"), KeyPair::make(root, "globex"));
    put(&acme.key, "acme-2026.key");
    put(&acme.certificate, "acme-2026.pem");
    put(&globex.certificate, "globex-2026.pem");
    put(&acme.key, "acme_key");
    let own = root.display().to_string();
    for entry in fs::read_dir(repository().join("config/examples")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let text =
            text.replace("/etc/waybill", &own).replace("/run/secrets", &own).replace("/srv/waybill", &own);
        // The variable would have to be named among those that may be used.
        let text = text.replace("${env:ACME_HOST:-sftp.acme.example}", "sftp.acme.example");
        gateway.define(path.file_name().unwrap().to_str().unwrap(), &text);
    }
    let (config, definitions) = (gateway.config(), gateway.directory().join("definitions"));
    let (status, out, error) = run(&[
        "--config",
        config.to_str().unwrap(),
        "validate",
        "--definitions",
        definitions.to_str().unwrap(),
    ]);
    assert!(status.success() && out.contains("12 definitions in 3 files: 0 errors"), "{out} {error}");
}
