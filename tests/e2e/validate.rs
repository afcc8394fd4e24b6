//! `waybill validate`: mistakes are named with file, line and what was meant.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use suites::pair::{Pair, Terms};
use suites::{Gateway, GatewayBuilder, KeyPair, repository, run};

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
    desk.refuses(
        &format!("private_key = \"${{file:{}}}", keys.display()),
        "agent = \"any\" # ",
        &["endpoint.acme-folder.agent", "ssh_agent in [roots]"],
    );
    desk.refuses(&format!("${{file:{}}}", keys.display()), "${file:/etc/shadow}", &["/etc/shadow"]);
    desk.refuses(
        &format!("${{file:{}}}", keys.display()),
        &format!("${{file:{}-missing}}", keys.display()),
        &["missing"],
    );
}

/// What only a transport can judge is told as everything else is: all of it in one run, each at its line.
#[test]
fn what_transports_find_is_told_at_its_own_line() {
    let desk = Desk::new();
    let host_key = desk.document.lines().find(|line| line.starts_with("host_key = ")).unwrap();
    let sftp = "host_key = \"SHA256:short\"";
    let as2 = "media_type = \"none at all\"\nidentity = ";
    let document = desk.document.replacen(host_key, sftp, 1).replacen("identity = ", as2, 1);
    let (code, said) = desk.said(&document);
    assert_eq!(code, 2, "{said}");
    let at = |wrong: &str| 1 + document.lines().position(|line| line.starts_with(wrong)).unwrap();
    for (line, words) in [
        (at("host_key = "), "error: endpoint.acme-folder.host_key: \"SHA256:short\": "),
        (at("media_type = "), "error: endpoint.globex-as2.media_type: must be a media type"),
    ] {
        let told = said.lines().filter(|told| told.contains(&format!("acme.toml:{line}:")));
        assert!(
            told.clone().count() == 1 && told.clone().all(|told| told.contains(words)),
            "{words}:\n{said}"
        );
    }
    assert!(said.contains("2 errors") && !said.contains("config_invalid"), "{said}");
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

/// A document of this many flows, each with two folders of its own.
fn many(root: &Path, flows: usize) -> String {
    let root = root.display();
    (0..flows)
        .map(|n| {
            format!(
                "[endpoint.in-{n}]\ntransport = \"file\"\nurl = \"file://{root}/in/{n}\"\n\
                 [endpoint.out-{n}]\ntransport = \"file\"\nurl = \"file://{root}/out/{n}\"\n\
                 [flow.f-{n}]\nsource = {{ endpoint = \"in-{n}\", mask = \"*\", every = \"60s\", after = \"delete\", \
                 error_directory = \"{root}/bad\" }}\n[[flow.f-{n}.destination]]\nendpoint = \"out-{n}\"\n"
            )
        })
        .collect()
}

/// Whatever is asked, it is answered while a person waits.
const AT_ONCE: Duration = Duration::from_secs(60);

#[test]
fn ten_thousand_definitions_are_checked_while_one_waits() {
    let desk = Desk::new();
    let sound = many(desk.pair.root.path(), 3334);
    let check = |what: &str, document: &str| {
        let begun = Instant::now();
        let (code, said) = desk.said(document);
        println!("{what}: {:?}", begun.elapsed());
        assert!(begun.elapsed() < AT_ONCE, "{what}: {:?}", begun.elapsed());
        (code, said)
    };
    let (code, said) = check("10,002 sound definitions", &sound);
    assert!(code == 0 && said.contains("10002 definitions"), "{said}");
    // One mistake among them is told where it stands, and nothing else.
    let wrong = sound.replace("endpoint = \"out-3333\"", "endpoint = \"out-3334\"");
    let line = 1 + wrong.lines().position(|line| line.contains("out-3334")).unwrap();
    let (code, said) = check("one of them wrong", &wrong);
    assert!(code == 2 && said.contains(&format!("acme.toml:{line}:")) && said.contains("1 error"), "{said}");
    // A mistake in each is not told ten thousand times.
    let (code, said) = check("all of them wrong", &sound.replace("transport =", "transprt ="));
    assert!(code == 2 && said.contains("more errors like this") && said.lines().count() < 100, "{said}");
}

#[test]
fn texts_of_a_mebibyte_are_told_in_a_few_lines() {
    let desk = Desk::new();
    let long = |part: &str| part.repeat((1 << 20) / part.len());
    for (from, to, words) in [
        ("mask = \"*\"", format!("mask = \"{}\"", long("x*")), "flow.orders.source.mask"),
        ("endpoint = \"globex-as2\"", format!("endpoint = \"{}\"", long("b")), "there is no endpoint"),
        ("[flow.orders]", format!("[flow.{}]", long("f")), "cannot be used: 1 to 64 of a-z"),
        ("every = \"1s\"", format!("{} = \"1s\"", long("e")), "unknown key"),
        ("id = \"ACME\"", format!("id = \"{}\"", long("A")), "identity.acme.as2"),
    ] {
        assert!(desk.document.contains(from), "{from}");
        let begun = Instant::now();
        let (code, said) = desk.said(&desk.document.replacen(from, &to, 1));
        println!("{words}: {:?}", begun.elapsed());
        assert!(begun.elapsed() < AT_ONCE, "{words}: {:?}", begun.elapsed());
        assert_eq!(code, 2, "{words}");
        assert!(said.contains(words) && said.len() < 10_000, "{words}: {} bytes: {:.2000}", said.len(), said);
    }
    // Where any text may stand, a long one may.
    let (code, said) = desk.said(&desk.document.replacen(
        "[flow.orders]",
        &format!("[flow.orders]\ntitle = \"{}\"", long("t")),
        1,
    ));
    assert_eq!(code, 0, "{said:.2000}");
}

#[test]
fn flows_that_pass_files_on_in_a_circle_are_told() {
    let desk = Desk::new();
    let root = desk.pair.root.path().display().to_string();
    let flow = |name: &str, from: &str, to: &str, mask: &str| {
        format!(
            "[flow.{name}]\nsource = {{ endpoint = \"{from}\", mask = \"{mask}\", after = \"delete\", \
             error_directory = \"{root}/bad\" }}\n[[flow.{name}.destination]]\nendpoint = \"{to}\"\n"
        )
    };
    let places: String = ["one", "two", "three"]
        .map(|name| format!("[endpoint.{name}]\ntransport = \"file\"\nurl = \"file://{root}/{name}\"\n"))
        .concat();
    let circle =
        flow("a", "one", "two", "*") + &flow("b", "two", "three", "*") + &flow("c", "three", "one", "*");
    let (code, said) = desk.said(&(places.clone() + &circle));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("pass their files on in a circle (a → b → c → a)"), "{said}");
    // A mask that none of the others' files fits ends it.
    let open =
        flow("a", "one", "two", "*.x") + &flow("b", "two", "three", "*") + &flow("c", "three", "one", "*.y");
    let (code, said) = desk.said(&(places.clone() + &open));
    assert!(code == 0 && !said.contains("circle"), "{said}");
    // What names itself where only another may be named is no endless search.
    let (code, said) = desk.said(
        &(places + "[partner.p.as2]\nid = \"P\"\ncertificates = [\"p\"]\n[certificate.p]\npem = \"p\"\n"),
    );
    assert!(code == 2 && said.contains("certificate.p.pem"), "{said}");
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

#[test]
fn a_root_directory_that_is_missing_is_named() {
    let root = tempfile::Builder::new().prefix("waybill-e2e-").tempdir().unwrap();
    let missing = root.path().join("not-mounted");
    let gateway = GatewayBuilder::new(root.path(), "node").build();
    let config = gateway.config();
    let settings = fs::read_to_string(&config).unwrap();
    let files = format!("files = [{:?}, ", missing.display().to_string());
    fs::write(&config, settings.replacen("files = [", &files, 1)).unwrap();
    gateway.define("a.toml", "[calendar.c]\n");
    let definitions = gateway.directory().join("definitions");
    let validate = || {
        let definitions = definitions.to_str().unwrap();
        let (status, out, error) =
            suites::run(&["--config", config.to_str().unwrap(), "validate", "--definitions", definitions]);
        assert_eq!(status.code(), Some(0), "it is a warning: {error}");
        out
    };
    let text = validate();
    let missing_text = missing.display().to_string();
    assert!(text.contains("warning: roots.files") && text.contains(&missing_text), "{text}");
    fs::create_dir(&missing).unwrap();
    assert!(!validate().contains("roots.files"));
}

#[test]
fn directories_of_the_gateway_itself_are_no_endpoints() {
    let root = tempfile::Builder::new().prefix("waybill-e2e-").tempdir().unwrap();
    let mut gateway = GatewayBuilder::new(root.path(), "node").build();
    let own = gateway.directory().to_owned();
    let define = |gateway: &Gateway, directory: &Path| {
        let document =
            format!("[endpoint.a]\ntransport = \"file\"\nurl = \"file://{}\"\n", directory.display());
        gateway.define("endpoints.toml", &document);
    };
    let config = gateway.config();
    let run = |command: &[&str]| {
        let definitions = own.join("definitions");
        let common = ["--config", config.to_str().unwrap()];
        let (status, out, error) =
            suites::run(&[&common[..], command, &[definitions.to_str().unwrap()]].concat());
        (status.code(), out + &error)
    };
    let state = own.join("state");
    // With its settings and definitions, its state, and within its state.
    for directory in [own.clone(), state.clone(), state.join("in"), own.join("definitions")] {
        define(&gateway, &directory);
        let (code, text) = run(&["validate", "--definitions"]);
        assert!(code == Some(2) && text.contains("the gateway's own"), "{}: {text}", directory.display());
    }
    fs::create_dir(root.path().join("in")).unwrap();
    define(&gateway, &root.path().join("in"));
    assert_eq!(run(&["validate", "--definitions"]).0, Some(0));
    gateway.start();
    define(&gateway, &own);
    let (code, text) = run(&["apply"]);
    assert!(code != Some(0) && text.contains("the gateway's own"), "{code:?} {text}");
}
