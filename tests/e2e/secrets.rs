//! Secrets: what a document may say of them, and that nothing shows them.

use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use suites::pair::{PATIENCE, Pair, Terms, put};
use suites::{cookie, fresh_database, run, waybill};

/// Every file below a directory.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.append(&mut files_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// The value of a cookie that is sent as `name=value`.
fn value(cookie: &str) -> String {
    cookie.split_once('=').unwrap().1.to_owned()
}

/// A key that is not to be seen: the last lines of its file. The first ones have the modulus, which is in the certificate too.
fn lines_of(key: &Path) -> Vec<String> {
    let text = fs::read_to_string(key).unwrap();
    text.lines().rev().filter(|line| line.len() > 40).take(3).map(str::to_owned).collect()
}

const VERBOSE: &str = "trace,hyper=trace,sqlx=trace,russh=trace,h2=trace,tower=trace,mio=trace,engine=trace";

/// Logs in everywhere with everything that has a password, the log as talkative as it gets, and looks for
/// each secret in everything that is left: the log, the records, the database, what commands print.
#[test]
fn no_secret_reaches_a_log_a_record_or_a_database() {
    let database = fresh_database("secrets").replacen("@", ":the-database-s-own@", 1);
    assert!(database.contains(":the-database-s-own@"), "{database}");
    let settings = "[audit]\nseal_every = \"1s\"\n[log]\nlevel = \"trace\"";
    let mut pair = Pair::new(&Terms { receivers_database: Some(&database), settings, ..Terms::default() });
    let login = pair.password_login(pair.sshd.text("password"));
    pair.acme.define("acme.toml", &pair.acme_document(&Terms { login: Some(&login), ..Terms::default() }));
    for gateway in [&mut pair.acme, &mut pair.globex] {
        gateway.set_variable("RUST_LOG", Some(VERBOSE));
    }
    put(&pair.folder(), b"order.edi", b"an order");
    pair.start();
    pair.acme.wait_for("completed", 1, PATIENCE);

    let mut secrets = vec![pair.sshd.text("password").to_owned(), "the-database-s-own".to_owned()];
    for name in ["acme", "globex"] {
        secrets.append(&mut lines_of(&pair.root.path().join(format!("keys/{name}.key.pem"))));
    }
    let mut tokens = Vec::new();
    for gateway in [&pair.acme, &pair.globex] {
        let token = gateway.setup_token();
        let link = format!("/setup/{token} HTTP/1.1");
        let form = |password| [("user", "ada"), ("password", password), ("again", password)];
        assert_eq!(gateway.ask(&format!("GET {link}"), &[]).0, 200);
        // Refused requests are logged with their path.
        assert_eq!(gateway.ask(&format!("POST {link}"), &form("tooshort#1")).0, 422);
        assert!((400..500).contains(&gateway.ask(&format!("PUT {link}"), &[]).0));
        let (status, answer) = gateway.ask(&format!("POST {link}"), &form("the administrator's own"));
        assert_eq!(status, 303, "{answer}");
        secrets.push(value(cookie(&answer)));
        assert_eq!(gateway.ask(&format!("GET {link}"), &[]).0, 410);
        let form = |password| [("user", "ada"), ("password", password)];
        assert_eq!(gateway.ask("POST /login HTTP/1.1", &form("a wrong guess of it")).0, 403);
        let (status, answer) = gateway.ask("POST /login HTTP/1.1", &form("the administrator's own"));
        assert_eq!(status, 303, "{answer}");
        let session = cookie(&answer);
        let (status, _) = gateway.ask(&format!("GET / HTTP/1.1\r\nCookie: {session}"), &[]);
        assert_eq!(status, 200);
        secrets.push(value(session));
        tokens.push(token);
    }
    secrets.extend(["tooshort#1", "the administrator's own", "a wrong guess of it"].map(str::to_owned));

    // Commands beside the gateways, as talkative.
    let mut said = Vec::new();
    for gateway in [&pair.acme, &pair.globex] {
        let (config, definitions) = (gateway.config(), gateway.directory().join("definitions"));
        for command in [
            &["audit", "search", "--limit", "1000"][..],
            &["--output", "json", "audit", "search", "--limit", "1000"],
            &["--output", "json", "transfer", "list"],
            &["audit", "export-seals"],
            &["audit", "verify"],
            &["endpoint", "test", "acme-folder"],
            &["endpoint", "test", "warehouse"],
            &["--output", "json", "validate", "--definitions", definitions.to_str().unwrap()],
        ] {
            let output = Command::new(waybill())
                .args(["--config", config.to_str().unwrap()])
                .args(command)
                .env("RUST_LOG", VERBOSE)
                .stdin(Stdio::null())
                .output()
                .unwrap();
            said.extend([output.stdout, output.stderr].concat());
        }
    }
    assert!(pair.acme.stop().success() && pair.globex.stop().success());

    for gateway in [&pair.acme, &pair.globex] {
        let log = gateway.log();
        assert!(log.contains("TRACE") || log.contains("DEBUG"), "the log is not talkative: {log}");
        for token in &tokens {
            assert!(log.matches(token.as_str()).count() <= 1, "a link is in the log again:\n{log}");
        }
        for secret in &secrets {
            assert!(!log.contains(secret.as_str()), "{secret:?} is in the log of {:?}", gateway.directory());
        }
        // SQLite's files, the journal of connections, staged payloads: whatever a gateway keeps.
        for path in files_below(&gateway.directory().join("state")) {
            let bytes = fs::read(&path).unwrap();
            for secret in secrets.iter().chain(&tokens) {
                assert!(!holds(&bytes, secret), "{secret:?} is in {}", path.display());
            }
        }
    }
    for secret in secrets.iter().chain(&tokens) {
        assert!(!holds(&said, secret), "a command shows {secret:?}");
    }
}

/// Documents that hold or show a secret: what is written for what, and what `validate` answers.
#[test]
fn documents_neither_hold_secrets_nor_show_them() {
    let pair = Pair::new(&Terms::default());
    let document = pair.acme_document(&Terms::default());
    let key = pair.root.path().join("keys/acme.key.pem");
    let password = pair.root.path().join("keys/password");
    fs::write(&password, "hunter2-in-a-file").unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let (key_file, password_file) =
        (format!("${{file:{}}}", key.display()), format!("${{file:{}}}", password.display()));
    let ssh_key = format!("${{file:{}}}", pair.root.path().join("keys/ssh").display());
    let certificate = format!("${{file:{}}}", pair.root.path().join("keys/globex.cert.pem").display());
    let user = format!("username = \"{}\"", pair.sshd.text("user"));
    let config = pair.acme.config();
    let inline_key = fs::read_to_string(&key).unwrap().replace('\n', "\\n");
    for (from, to, expected) in [
        (ssh_key.as_str(), "hunter2-written-down", "contains a secret in plain text"),
        (&ssh_key, "${env:NOT_SET:-hunter2-written-down}", "contains a secret in plain text"),
        (&ssh_key, &inline_key, "contains a secret in plain text"),
        (&key_file, &inline_key, "contains a secret in plain text"),
        ("id = \"ACME\"", &format!("id = \"{key_file}\""), "cannot use ${file:…}"),
        ("id = \"ACME\"", &format!("id = \"{password_file}\""), "cannot use ${file:…}"),
        ("id = \"ACME\"", &format!("id = \"{inline_key}\""), "contains a private key"),
        (&user, &format!("username = \"{password_file}\""), "cannot use ${file:…}"),
        ("mask = \"*\"", &format!("mask = \"{password_file}\""), "cannot use ${file:…}"),
        (&certificate, &key_file, "contains a private key"),
        (&certificate, &password_file, "but the value of"),
        ("url = \"sftp://", &format!("url = \"sftp://{password_file}@"), "cannot use ${file:…}"),
        ("url = \"sftp://", "url = \"sftp://waybill:hunter2-written-down@", "contains a user or password"),
    ] {
        assert!(document.contains(from), "no {from:?} in\n{document}");
        pair.acme.define("acme.toml", &document.replacen(from, to, 1));
        let directory = pair.acme.directory().join("definitions");
        let definitions = ["--definitions", directory.to_str().unwrap()];
        for command in [
            &["validate"][..],
            &["--output", "json", "validate"],
            &["serve"],
            &["endpoint", "test", "acme-folder"],
        ] {
            let (status, out, error) =
                run(&[&["--config", config.to_str().unwrap()], command, &definitions].concat());
            let said = out + &error;
            assert!(!status.success() && said.contains(expected), "{to}: {command:?}\n{said}");
            assert!(!said.contains("hunter2"), "{command:?} shows a password:\n{said}");
            for line in lines_of(&key) {
                assert!(!said.contains(&line), "{command:?} shows a private key:\n{said}");
            }
        }
        for path in files_below(&pair.acme.directory().join("state")) {
            assert!(!holds(&fs::read(&path).unwrap(), "hunter2"), "{}", path.display());
        }
    }
}

/// Keys of 32 bytes as `[secrets] master_key` takes them, the newest first, each in a file of its own.
fn master_keys(root: &Path, ids: &[(&str, u8)]) -> String {
    let entry = |(id, byte): &(&str, u8)| {
        let path = root.join(format!("master-{id}-{byte}"));
        let key =
            Command::new("sh").arg("-c").arg(format!("printf '%032d' {byte} | base64")).output().unwrap();
        fs::write(&path, key.stdout).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        format!("{{ id = \"{id}\", key = \"${{file:{}}}\" }}", path.display())
    };
    format!("master_key = [{}]", ids.iter().map(entry).collect::<Vec<_>>().join(", "))
}

/// Gives the gateway these master keys instead of those it had.
fn with_keys(pair: &Pair, ids: &[(&str, u8)]) {
    let config = pair.acme.config();
    let text = fs::read_to_string(&config).unwrap();
    let keys = master_keys(pair.root.path(), ids);
    let line = |line: &str| if line.starts_with("master_key") { keys.clone() } else { line.to_owned() };
    let text: Vec<String> = text.lines().map(line).collect();
    fs::write(&config, text.join("\n") + "\n").unwrap();
}

fn refused(pair: &Pair, words: &str) {
    let config = pair.acme.config();
    let (status, out, error) = run(&["--config", config.to_str().unwrap(), "serve"]);
    assert!(!status.success() && error.contains(words), "{words}: {out} {error}");
    assert!(!error.contains(pair.sshd.text("password")), "{error}");
}

#[test]
fn a_secret_in_a_document_is_encrypted_in_the_database() {
    let settings = "[secrets]\nmaster_key = []";
    let mut pair = Pair::new(&Terms { settings, ..Terms::default() });
    with_keys(&pair, &[("k1", 1)]);
    let password = pair.sshd.text("password").to_owned();
    let login = format!("password = \"{password}\"\nhost_key = \"{}\"", pair.sshd.text("fingerprint"));
    let document = pair.acme_document(&Terms { login: Some(&login), ..Terms::default() });
    pair.acme.define("acme.toml", &document);
    put(&pair.folder(), b"order.edi", b"an order");
    pair.start();
    pair.acme.wait_for("completed", 1, PATIENCE);
    let log = pair.acme.log();
    assert!(log.contains("contains a secret in plain text") && !log.contains(&password), "{log}");
    let (config, root) = (pair.acme.config(), pair.root.path().to_owned());
    let config = config.to_str().unwrap();
    let command = |arguments: &[&str]| {
        let (status, out, error) = run(&[&["--config", config], arguments].concat());
        assert!(!out.contains(&password) && !error.contains(&password), "{arguments:?}: {out} {error}");
        (status.code().unwrap(), out + &error)
    };
    // Nothing that is kept or shown holds it; the same document is no change.
    let definitions = pair.acme.directory().join("definitions");
    let (code, text) = command(&["plan", definitions.to_str().unwrap()]);
    assert!(code == 0 && text.ends_with("No change.\n"), "{code} {text}");
    let (export, stated) = (root.join("export"), "password = { kept = true }");
    assert_eq!(command(&["export", export.to_str().unwrap()]).0, 0);
    let exported = fs::read_to_string(export.join("acme.toml")).unwrap();
    assert_eq!(exported, document.replace(&format!("password = \"{password}\""), stated));
    assert_eq!(command(&["plan", export.to_str().unwrap()]).0, 0);
    let (code, text) = command(&["revisions", "1"]);
    assert!(code == 0, "{text}");
    // Kept, the gateway starts without the password in any file.
    pair.acme.define("acme.toml", &exported);
    assert!(pair.acme.stop().success());
    for path in files_below(&pair.acme.directory().join("state")) {
        assert!(!holds(&fs::read(&path).unwrap(), &password), "{}", path.display());
    }
    pair.acme.start();
    put(&pair.folder(), b"second.edi", b"another order");
    pair.acme.wait_for("completed", 2, PATIENCE);
    // Nobody who does not know it sends it elsewhere.
    pair.acme.define("acme.toml", &exported.replace("sftp://127.0.0.1", "sftp://localhost"));
    let (code, text) = command(&["apply", definitions.to_str().unwrap()]);
    assert!(code == 2 && text.contains("would send the stored secret to another server"), "{code} {text}");
    // Another password is a change of which nothing is shown.
    pair.acme.define("acme.toml", &document.replace(&password, "correcthorse"));
    let (code, text) = command(&["plan", definitions.to_str().unwrap()]);
    assert!(
        code == 3 && text.contains("the secret changes") && !text.contains("correcthorse"),
        "{code} {text}"
    );
    pair.acme.define("acme.toml", &exported);

    // Keys that are missing or wrong: refused at the start, nothing lost.
    assert!(pair.acme.stop().success());
    with_keys(&pair, &[]);
    refused(&pair, "add it to secrets.master_key");
    with_keys(&pair, &[("k2", 2)]);
    let (code, text) = command(&["key", "forget", "k1"]);
    assert!(
        code == 3 && text.contains("endpoint.acme-folder.password: in force; write it again"),
        "{code} {text}"
    );
    refused(&pair, "k1");
    with_keys(&pair, &[("k1", 2)]);
    refused(&pair, "another key of this id");

    // Rotated: killed in the middle, run again, and the old key is needed no more.
    with_keys(&pair, &[("k2", 2), ("k1", 1)]);
    let killed = Command::new(waybill())
        .args(["--config", config, "key", "rotate"])
        .env("WAYBILL_CRASH_AT", "rotate.batch:1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!killed.status.success(), "{}", String::from_utf8_lossy(&killed.stdout));
    pair.acme.start();
    let (code, text) = command(&["key", "rotate"]);
    assert!(code == 0 && text.contains("master key k2"), "{code} {text}");
    assert!(pair.acme.stop().success());
    with_keys(&pair, &[("k2", 2)]);
    pair.acme.start();
    put(&pair.folder(), b"third.edi", b"one more");
    pair.acme.wait_for("completed", 3, PATIENCE);
    // Also what earlier revisions hold.
    let (code, text) = command(&["rollback", "1"]);
    assert!(code == 0, "{text}");
    let (code, text) = command(&["audit", "verify", "--records"]);
    assert!(code == 0, "{text}");
    let (code, text) = command(&["key", "generate"]);
    assert!(code == 0 && text.trim().len() == 44, "{text}");
}

/// What a variable holds: named by its reference in every message, wherever it does not fit.
#[test]
fn variables_are_named_and_their_values_are_not_shown() {
    let settings = "[log]\nlevel = \"info\"";
    let mut pair = Pair::new(&Terms { settings, ..Terms::default() });
    let config = pair.acme.config();
    let text = fs::read_to_string(&config).unwrap();
    let lists = "[roots]\nvariables = [\"SHOWN_NAME\"]\nsecret_variables = [\"SFTP_PASSWORD\"]";
    fs::write(&config, text.replace("[roots]", lists)).unwrap();
    let document = pair.acme_document(&Terms::default());
    let check = |document: &str| -> String {
        pair.acme.define("acme.toml", document);
        let directory = pair.acme.directory().join("definitions");
        let output = Command::new(waybill())
            .args(["--config", config.to_str().unwrap(), "--output", "json", "validate", "--definitions"])
            .arg(directory)
            .envs([("SHOWN_NAME", "no \u{1f} name at all"), ("SFTP_PASSWORD", "hunter2-in-a-variable")])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(said["valid"], false, "{said}");
        said.to_string()
    };
    for (from, to, reference) in [
        ("id = \"ACME\"", "id = \"${env:SHOWN_NAME}\"", "${env:SHOWN_NAME}"),
        ("mask = \"*\"", "mask = \"${env:SHOWN_NAME}(\", mask_is_regex = true", "${env:SHOWN_NAME}"),
        ("id = \"ACME\"", "id = \"${env:SFTP_PASSWORD}\"", "SFTP_PASSWORD"),
        ("url = \"sftp://", "url = \"sftp://u:${env:SFTP_PASSWORD}@", "SFTP_PASSWORD"),
    ] {
        assert!(document.contains(from), "no {from:?} in\n{document}");
        let said = check(&document.replacen(from, to, 1));
        assert!(said.contains(reference), "{to}: {said}");
        assert!(!said.contains("name at all") && !said.contains("hunter2"), "{to}: {said}");
    }
    // Where it belongs it works.
    let login =
        format!("password = \"${{env:SFTP_PASSWORD}}\"\nhost_key = \"{}\"", pair.sshd.text("fingerprint"));
    pair.acme.define("acme.toml", &pair.acme_document(&Terms { login: Some(&login), ..Terms::default() }));
    let password = pair.sshd.text("password").to_owned();
    pair.acme.set_variable("SFTP_PASSWORD", Some(&password));
    put(&pair.folder(), b"order.edi", b"an order");
    pair.start();
    pair.acme.wait_for("completed", 1, PATIENCE);
    assert!(!pair.acme.log().contains(&password));
}
