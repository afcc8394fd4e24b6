//! Evidence packages: saved by the command line, checked by the commands that they state for OpenSSL alone, and by
//! `as2 verify`; and what somebody changed in them is found.

use crate::hub::{Hub, random, received, start_peer, tell};
use crate::raw::Message;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use suites::KeyPair;

/// Saves the evidence of a file's transfer.
pub(crate) fn save(hub: &Hub, id: &str, name: &str) -> PathBuf {
    save_one(hub, id, name, &[])
}

/// The same, where further options say which of several packages.
pub(crate) fn save_one(hub: &Hub, id: &str, name: &str, which: &[&str]) -> PathBuf {
    let file = hub.root.path().join(name);
    let config = hub.gateway.config();
    let arguments =
        ["--config", config.to_str().unwrap(), "transfer", "evidence", id, "--out", file.to_str().unwrap()];
    let arguments = [&arguments[..], which].concat();
    let (status, out, error) = suites::run(&arguments);
    assert!(status.success() && out.contains("README.txt"), "{arguments:?}: {out} {error}");
    file
}

/// What `as2 verify` says, offline: without settings, in a directory of its own.
pub(crate) fn verify(package: &Path, more: &[&str]) -> (i32, Value) {
    let mut arguments = vec!["--output", "json", "as2", "verify"];
    arguments.extend(more);
    arguments.push(package.to_str().unwrap());
    let (status, out, error) = suites::run(&arguments);
    let said = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out} {error}"));
    (status.code().unwrap(), said)
}

/// What a check found, in words.
fn found<'a>(said: &'a Value, check: &str) -> &'a str {
    let mut checks = said["checks"].as_array().unwrap().iter();
    checks.find(|one| one["check"] == check).unwrap()["found"].as_str().unwrap()
}

/// The outcome of a check, or of several, in their order.
pub(crate) fn outcomes(said: &Value, check: &str) -> Vec<String> {
    let checks = said["checks"].as_array().unwrap();
    let of = checks.iter().filter(|one| one["check"] == check);
    of.map(|one| one["outcome"].as_str().unwrap().to_owned()).collect()
}

/// Takes a package apart by Python's own reader of ZIP archives.
pub(crate) fn unpacked(hub: &Hub, package: &Path) -> PathBuf {
    let directory = hub.root.path().join(format!("{}.d", package.file_name().unwrap().to_str().unwrap()));
    let done =
        Command::new("python3").args(["-m", "zipfile", "-e"]).arg(package).arg(&directory).status().unwrap();
    assert!(done.success());
    directory
}

/// The commands that a package's README states for a check by hand.
fn stated_commands(directory: &Path) -> Vec<String> {
    let text =
        fs::read_to_string(directory.join("README.txt")).unwrap().replace("\r\n", "\n").replace("\\\n", " ");
    let commands = text.lines().filter_map(|line| line.strip_prefix("    ")).map(str::trim);
    let checks = |line: &&str| {
        ["cat ", "openssl cms ", "openssl dgst -sha256 -binary ", "mkdir ", "gpg "]
            .iter()
            .any(|c| line.starts_with(c))
    };
    commands.filter(checks).map(str::to_owned).collect()
}

/// Does what a package's README states, and gives what the commands print.
pub(crate) fn checked_by_hand(directory: &Path) -> String {
    let commands = stated_commands(directory);
    assert!(commands.len() >= 3, "{commands:?}");
    let mut said = String::new();
    for command in commands {
        let done = Command::new("sh").args(["-c", &command]).current_dir(directory).output().unwrap();
        let text = [done.stdout, done.stderr].concat();
        assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&text));
        said.push_str(&format!("{}\n", String::from_utf8_lossy(&text)));
    }
    said
}

/// Changes a package by a few lines of Python: `files` holds its files by name.
pub(crate) fn changed(hub: &Hub, package: &Path, name: &str, change: &str) -> PathBuf {
    let file = hub.root.path().join(name);
    let script = format!(
        "import sys, zipfile, json, hashlib\n\
         with zipfile.ZipFile(sys.argv[1]) as z: files = {{n: z.read(n) for n in z.namelist()}}\n\
         manifest = json.loads(files['evidence.json'])\n\
         {change}\n\
         for one in manifest['files']:\n\
         \x20   data = files.get(one['path'], b'')\n\
         \x20   one['bytes'], one['sha256'] = len(data), hashlib.sha256(data).hexdigest()\n\
         files['evidence.json'] = json.dumps(manifest).encode()\n\
         with zipfile.ZipFile(sys.argv[2], 'w', zipfile.ZIP_DEFLATED) as z:\n\
         \x20   for n, data in files.items(): z.writestr(n, data)\n"
    );
    let done = Command::new("python3").args(["-c", &script]).arg(package).arg(&file).status().unwrap();
    assert!(done.success(), "{change}");
    file
}

fn path(text: &Path) -> &str {
    text.to_str().unwrap()
}

#[test]
fn evidence_of_a_received_message_is_checked_by_openssl_and_offline() {
    let mut hub = Hub::alone();
    hub.define("http://127.0.0.1:9/as2", "");
    hub.gateway.start();
    let payload = random(200_000);
    let answer = hub.good("orders.bin", &payload).post(hub.gateway.http).unwrap();
    let id = hub.ended("orders.bin")["id"].as_str().unwrap().to_owned();
    // It seals what it did before it ends.
    assert!(hub.gateway.stop().success());
    let package = save(&hub, &id, "received.zip");

    // By what stands in it, with OpenSSL alone.
    let directory = unpacked(&hub, &package);
    let said = checked_by_hand(&directory);
    assert_eq!(said.matches("CMS Verification successful").count(), 2, "{said}");
    assert_eq!(fs::read(directory.join("message/content")).unwrap(), payload);
    assert!(fs::read(directory.join("verified.bin")).unwrap().ends_with(&payload));
    let mic =
        answer.text().lines().find_map(|line| line.strip_prefix("Received-content-MIC: ").map(str::to_owned));
    assert!(said.contains(mic.unwrap().split(',').next().unwrap()), "{said}");

    // By Waybill, without anything of the gateway's.
    let (code, said) = verify(&package, &[]);
    assert_eq!(code, 0, "{said}");
    // Whichever of its threads ends last.
    for _ in 0..60 {
        assert_eq!(verify(&package, &[]).0, 0);
    }
    for check in ["files", "content", "signature", "MIC", "receipt", "disposition", "Original-Message-ID"] {
        assert_eq!(outcomes(&said, check), ["holds"], "{check}: {said}");
    }
    assert_eq!(outcomes(&said, "events"), ["holds"], "{said}");
    // Whose certificates and seals they are is for the reader to say: what the events say is worth as much as their seals.
    let by_events = ["evidence in the audit trail", "dates in the audit trail", "transfer"];
    for check in by_events {
        assert_eq!(outcomes(&said, check), ["open"], "{check}: {said}");
    }
    assert_eq!(outcomes(&said, "certificate"), ["open", "open"], "{said}");
    assert!(outcomes(&said, "seals").iter().all(|outcome| outcome == "open"), "{said}");
    let seal_key = hub.gateway.directory().join("state/seal.key.pub");
    let known = ["--certificate", path(&hub.peer_certificate), "--certificate", path(&hub.own.certificate)];
    let (code, said) = verify(&package, &[&known[..], &["--trust", path(&seal_key)]].concat());
    assert_eq!((code, outcomes(&said, "certificate")), (0, vec!["holds".into(), "holds".into()]), "{said}");
    assert!(outcomes(&said, "seals").iter().all(|outcome| outcome == "holds"), "{said}");
    for check in by_events {
        assert_eq!(outcomes(&said, check), ["holds"], "{check}: {said}");
    }
    let (sender, receiver) = (path(&hub.peer_certificate), path(&hub.own.certificate));
    let (code, said) = verify(&package, &["--sender", sender, "--receiver", receiver]);
    assert_eq!((code, outcomes(&said, "certificate")), (0, vec!["holds".into(), "holds".into()]), "{said}");
    let (code, said) = verify(&package, &["--sender", receiver, "--receiver", sender]);
    assert_eq!((code, outcomes(&said, "certificate")), (2, vec!["fails".into(), "fails".into()]), "{said}");
    let stranger = KeyPair::make(&hub.root.path().join("keys"), "stranger");
    let (code, said) = verify(&package, &["--certificate", path(&stranger.certificate)]);
    assert_eq!((code, outcomes(&said, "certificate")), (2, vec!["fails".into(), "fails".into()]), "{said}");

    // What somebody changed is found, also where the list of the files was changed with it.
    for (name, change, check) in [
        ("content", "files['message/content'] = files['message/content'][:-1] + b'x'", "signature"),
        ("head", "files['message/signed-head.txt'] = b'X: y\\r\\n\\r\\n'", "signature"),
        (
            "mic",
            "m = manifest['message']; m['mic'] = ('C' if m['mic'][0] == 'B' else 'B') + m['mic'][1:]",
            "MIC",
        ),
        ("id", "manifest['message']['message_id'] = '<other@peer>'", "Original-Message-ID"),
        (
            "receipt",
            "files['receipt/receipt.eml'] = files['receipt/receipt.eml'].replace(b'; processed', b';  processed')",
            "receipt",
        ),
        ("name", "manifest['message']['as2_from'] = 'SOMEBODY'", "evidence in the audit trail"),
        (
            "event",
            "files['audit/events.jsonl'] = files['audit/events.jsonl'].replace(b'orders.bin', b'others.bin')",
            "events",
        ),
        ("list", "n = [n for n in files if n.endswith('.members')][0]; files[n] = files[n][48:]", "seals"),
        ("recorded", "manifest['recorded'] = '2020-01-01T00:00:00Z'", "dates in the audit trail"),
        ("kept", "manifest['kept_until'] = '2090-01-01T00:00:00Z'", "dates in the audit trail"),
        // Also with an event that says so, which no seal covers.
        (
            "file",
            "manifest['transfers'][0]['file_name'] = 'others.bin'; e = files['audit/events.jsonl'].splitlines()[0]; \
             e = json.loads(e); e['id'] = '01890a5d-ac96-774b-bcce-b302099a8057'; e['kind'] = 'transfer.recorded'; \
             e['transfer'] = manifest['transfers'][0]['transfer']; e['detail']['file_name'] = 'others.bin'; \
             files['audit/events.jsonl'] = json.dumps(e).encode() + b'\\n' + files['audit/events.jsonl']",
            "transfer",
        ),
        (
            "stated",
            "files['message/content'] = b'x' * 9; manifest['content']['bytes'] = 9; \
             manifest['content']['sha256'] = hashlib.sha256(b'x' * 9).hexdigest()",
            "content",
        ),
        (
            "canonical",
            "files['message/canonical'] = b'x'; manifest['files'].append({'path': 'message/canonical'})",
            "files",
        ),
        ("parts", "files['receipt/signed.bin'] += b'x'", "files"),
        ("other", "files['other/x'] = b'x'; manifest['files'].append({'path': 'other/x'})", "files"),
        ("moved", "manifest['pieces']['signature'] = 'message/content'", "files"),
        ("unsigned", "del manifest['pieces']['signature']", "signature"),
    ] {
        let (code, said) =
            verify(&changed(&hub, &package, &format!("{name}.zip"), change), &["--trust", path(&seal_key)]);
        assert_eq!(code, 2, "{name}: {said}");
        assert!(outcomes(&said, check).contains(&"fails".to_owned()), "{name}: {said}");
    }
    // Events that no seal covers prove nothing, whatever they say.
    let unsealed = "e = [json.loads(line) for line in files['audit/events.jsonl'].splitlines()]\n\
                    for n, x in enumerate(e): x['id'] = '01890a5d-ac96-774b-bcce-%012d' % n\n\
                    files['audit/events.jsonl'] = b''.join(json.dumps(x).encode() + b'\\n' for x in e)";
    let (code, said) =
        verify(&changed(&hub, &package, "unsealed.zip", unsealed), &["--trust", path(&seal_key)]);
    assert_eq!(code, 0, "{said}");
    for check in by_events.into_iter().chain(["events"]) {
        assert_eq!(outcomes(&said, check), ["open"], "{check}: {said}");
    }
    // And where it was not.
    let raw = fs::read(&package).unwrap();
    let cut = hub.root.path().join("cut.zip");
    fs::write(&cut, &raw[..raw.len() - 30]).unwrap();
    let (status, _, error) = suites::run(&["as2", "verify", path(&cut)]);
    assert!(status.code() == Some(1) && error.contains("not a whole ZIP archive"), "{error}");
}

#[test]
fn evidence_of_a_sent_message_holds_the_receipt_of_pyas2lib() {
    let peer = start_peer();
    let mut hub = Hub::for_peer(&peer);
    tell(&peer, &json!({ "partner_cert": hub.own.certificate }));
    hub.define(peer.text("url"), "");
    hub.gateway.start();
    let payload = random(50_000);
    hub.put("invoice.bin", &payload);
    let way = hub.ended("invoice.bin");
    assert_eq!(way["state"], "completed", "{way}");
    assert_eq!(way["evidence"].as_array().unwrap().len(), 1, "{way}");
    let seen = received(&peer).remove(0);
    let package = save(&hub, way["id"].as_str().unwrap(), "sent.zip");
    let directory = unpacked(&hub, &package);
    let said = checked_by_hand(&directory);
    assert_eq!(said.matches("CMS Verification successful").count(), 2, "{said}");
    assert!(said.contains(seen["mic"].as_str().unwrap().split(',').next().unwrap()), "{said}");
    assert_eq!(fs::read(directory.join("message/content")).unwrap(), payload);
    let known = ["--certificate", path(&hub.peer_certificate), "--certificate", path(&hub.own.certificate)];
    let (code, said) = verify(&package, &known);
    assert_eq!(code, 0, "{said}");
    for check in ["content", "signature", "MIC", "receipt", "Original-Message-ID", "Received-content-MIC"] {
        assert_eq!(outcomes(&said, check), ["holds"], "{check}: {said}");
    }
    assert_eq!(outcomes(&said, "certificate"), ["holds", "holds"], "{said}");
    // The export is on record.
    assert_eq!(hub.events("evidence.exported").len(), 1);
}

/// What was signed is kept where it is not the payload itself; a signature that would differ if it were made again is the one
/// that was sent.
#[test]
fn evidence_of_sent_messages_is_whole_in_every_form() {
    let peer = start_peer();
    let mut hub = Hub::for_peer(&peer);
    tell(&peer, &json!({ "partner_cert": hub.own.certificate }));
    let forms = [
        ("payload", "send.security = \"none\""),
        ("encrypted", "send.security = \"encrypted\""),
        ("inside", "send.compress = \"before_signing\""),
        ("outside", "send.compress = \"after_signing\""),
        ("salted", "send.rsa_signature = \"pss\""),
        ("both", "send.rsa_signature = \"pss\"\nsend.compress = \"before_signing\""),
    ];
    for (name, agreed) in forms {
        hub.define(peer.text("url"), agreed);
        hub.gateway.start();
        let (file, bytes) = (format!("{name}.bin"), [random(20_000), vec![b'a'; 50_000]].concat());
        // The second attempt is the one that is proved.
        tell(&peer, &json!({ "status": 503, "times": 1 }));
        hub.put(&file, &bytes);
        let way = hub.ended(&file);
        assert_eq!(way["state"], "completed", "{agreed}: {way}");
        hub.gateway.stop();
        let package = save(&hub, way["id"].as_str().unwrap(), &format!("{name}.zip"));
        let (code, said) = verify(&package, &[]);
        assert_eq!(code, 0, "{agreed}: {said}");
        let signed = !agreed.contains("security");
        for check in ["content", "MIC", "receipt"] {
            assert_eq!(outcomes(&said, check), ["holds"], "{agreed}, {check}: {said}");
        }
        // pyas2lib names no MIC of a message that is not signed.
        let outcome = if signed { "holds" } else { "open" };
        for check in ["signature", "Received-content-MIC"] {
            assert_eq!(outcomes(&said, check), [outcome], "{agreed}, {check}: {said}");
        }
        let directory = unpacked(&hub, &package);
        let by_hand = checked_by_hand(&directory);
        let verified = by_hand.matches("CMS Verification successful").count();
        assert_eq!(verified, if signed { 2 } else { 1 }, "{agreed}: {by_hand}");
    }
}

/// A message that OpenSSL signed by a digest, of an entity: detached, or with its content inside.
fn signed_by_openssl(hub: &Hub, entity: &[u8], (digest, opaque): (&str, bool), id: &str) -> Message {
    let file = |name: &str| hub.root.path().join(name);
    fs::write(file("entity"), entity).unwrap();
    let mut command = Command::new("openssl");
    command.args(["cms", "-sign", "-binary", "-md", digest, "-in"]).arg(file("entity"));
    command.arg("-signer").arg(&hub.peer_certificate).arg("-inkey").arg(&hub.peer_key);
    if opaque {
        command.args(["-nodetach", "-outform", "DER"]);
    }
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let head = |media: &str| {
        format!(
            "AS2-Version: 1.1\r\nAS2-From: PEER\r\nAS2-To: WAYBILL\r\nMessage-ID: {id}\r\nDisposition-Notification-To: x\r\n\
             Disposition-Notification-Options: signed-receipt-protocol=optional, pkcs7-signature; \
             signed-receipt-micalg=optional, sha-256\r\nContent-Type: {media}\r\n"
        )
    };
    let (media, body) = match opaque {
        true => ("application/pkcs7-mime; smime-type=signed-data".to_owned(), done.stdout),
        false => {
            let text = done.stdout;
            let at = text.windows(2).position(|two| two == b"\n\n").unwrap();
            let fields = String::from_utf8(text[..at].to_vec()).unwrap();
            let media =
                fields.lines().find_map(|line| line.strip_prefix("Content-Type: ")).unwrap().to_owned();
            (media, text[at + 2..].to_vec())
        }
    };
    Message { headers: head(&media), body: Vec::new() }.with_body(body)
}

#[test]
fn evidence_of_opaque_signatures_and_of_several_parts_is_checked_by_openssl_too() {
    let mut hub = Hub::alone();
    hub.define("http://127.0.0.1:9/as2", "receive.security = \"signed\"");
    hub.gateway.start();
    let plain = "Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=FILE\r\n\r\norders";
    let encoded = "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\
                   Content-Disposition: attachment; filename=FILE\r\n\r\nb3JkZXJz\r\n";
    let several = "Content-Type: multipart/mixed; boundary=x\r\n\r\n\
                   --x\r\nContent-Disposition: attachment; filename=FILE\r\n\r\none\r\n\
                   --x\r\nContent-Disposition: attachment; filename=second-FILE\r\n\r\ntwo\r\n--x--\r\n";
    for (what, entity, opaque) in [
        ("plain", plain, true),
        ("encoded", encoded, false),
        ("encoded", encoded, true),
        ("several", several, false),
        ("several", several, true),
    ] {
        let name = format!("{what}-{opaque}.bin");
        let entity = entity.replace("FILE", &name);
        let id = format!("<{name}@peer>");
        let message = signed_by_openssl(&hub, entity.as_bytes(), ("sha256", opaque), &id);
        let answer = message.post(hub.gateway.http).unwrap();
        assert!(answer.text().contains("; processed\r\n"), "{name}: {}", answer.text());
        let way = hub.ended(&name);
        let package = save(&hub, way["id"].as_str().unwrap(), &format!("{name}.zip"));
        let (code, said) = verify(&package, &[]);
        assert_eq!(code, 0, "{name}: {said}");
        for check in ["content", "signature", "MIC", "receipt", "Received-content-MIC"] {
            assert_eq!(outcomes(&said, check), ["holds"], "{name} {check}: {said}");
        }
        let directory = unpacked(&hub, &package);
        let said = checked_by_hand(&directory);
        assert_eq!(said.matches("CMS Verification successful").count(), 2, "{name}: {said}");
        assert_eq!(fs::read(directory.join("verified.bin")).unwrap(), entity.as_bytes(), "{name}");

        // The file that came is the content, or in it.
        let file = hub.root.path().join("file");
        fs::write(&file, if what == "several" { "one" } else { "orders" }).unwrap();
        let (code, said) = verify(&package, &["--payload", path(&file)]);
        let expected = if what == "plain" { "holds" } else { "open" };
        assert_eq!((code, outcomes(&said, "payload")), (0, vec![expected.to_owned()]), "{name}: {said}");
        fs::write(&file, "order").unwrap();
        let (code, said) = verify(&package, &["--payload", path(&file)]);
        assert_eq!((code, outcomes(&said, "payload")), (2, vec!["fails".to_owned()]), "{name}: {said}");
    }
}

#[test]
fn a_package_says_which_of_its_signatures_are_weak() {
    let mut hub = Hub::alone();
    hub.define("http://127.0.0.1:9/as2", "receive.security = \"signed\"\nlegacy = true");
    hub.gateway.start();
    let entity = b"Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=weak.bin\r\n\r\norders";
    let asked = "signed-receipt-protocol=optional, pkcs7-signature; signed-receipt-micalg=optional, sha1";
    let message = signed_by_openssl(&hub, entity, ("sha1", false), "<weak@peer>");
    let message = message.with("Disposition-Notification-Options", Some(asked));
    let answer = message.post(hub.gateway.http).unwrap();
    assert!(answer.text().contains("; processed\r\n"), "{}", answer.text());
    let way = hub.ended("weak.bin");
    let (code, said) = verify(&save(&hub, way["id"].as_str().unwrap(), "weak.zip"), &[]);
    assert_eq!(code, 0, "{said}");
    for check in ["signature", "MIC", "receipt", "Received-content-MIC"] {
        assert_eq!(outcomes(&said, check), ["holds"], "{check}: {said}");
        assert!(found(&said, check).ends_with("; weak by today's measure: SHA-1"), "{check}: {said}");
    }
}

#[test]
fn evidence_is_kept_as_agreed() {
    let mut hub = Hub::alone();
    hub.define("http://127.0.0.1:9/as2", "evidence = { retention = \"10d\", content = false }");
    hub.gateway.start();
    let payload = random(10_000);
    assert_eq!(hub.good("digest.bin", &payload).post(hub.gateway.http).unwrap().status, 200);
    let id = hub.ended("digest.bin")["id"].as_str().unwrap().to_owned();
    let package = save(&hub, &id, "whole.zip");
    assert_eq!(verify(&package, &[]).0, 0);
    // A file from elsewhere is compared with the content in the package.
    let file = hub.root.path().join("kept-elsewhere");
    let (status, _, error) = suites::run(&["as2", "verify", "--payload", path(&file), path(&package)]);
    assert!(status.code() == Some(1) && error.contains("kept-elsewhere"), "{error}");
    for (bytes, expected, outcome) in [(&payload[..], 0, "holds"), (&b"a forgery"[..], 2, "fails")] {
        fs::write(&file, bytes).unwrap();
        let (code, said) = verify(&package, &["--payload", path(&file)]);
        assert_eq!((code, outcomes(&said, "payload")), (expected, vec![outcome.to_owned()]), "{said}");
        assert_eq!(outcomes(&said, "content"), ["holds"], "{said}");
    }
    // As the flow's retention leaves it, which looks every ten minutes.
    assert!(hub.gateway.stop().success());
    suites::tamper(&hub.gateway, None, "UPDATE payloads SET removed_at = staged_at");
    let package = save(&hub, &id, "digest.zip");
    let (code, said) = verify(&package, &[]);
    assert_eq!(
        (code, outcomes(&said, "content"), outcomes(&said, "signature")),
        (0, vec!["open".into()], vec!["open".into()]),
        "{said}"
    );
    assert_eq!(outcomes(&said, "MIC"), ["holds"], "{said}");
    // Whoever has the file can prove it.
    fs::write(&file, &payload).unwrap();
    let (code, said) = verify(&package, &["--payload", path(&file)]);
    assert_eq!(
        (code, outcomes(&said, "content"), outcomes(&said, "signature")),
        (0, vec!["holds".into()], vec!["holds".into()]),
        "{said}"
    );
    fs::write(&file, b"something else").unwrap();
    let (code, said) = verify(&package, &["--payload", path(&file)]);
    assert_eq!(
        (code, outcomes(&said, "content"), outcomes(&said, "signature")),
        (2, vec!["fails".into()], vec!["fails".into()]),
        "{said}"
    );

    // None at all.
    hub.define("http://127.0.0.1:9/as2", "evidence = { retention = \"0s\" }");
    hub.gateway.start();
    assert_eq!(hub.good("none.bin", b"none").post(hub.gateway.http).unwrap().status, 200);
    let way = hub.ended("none.bin");
    assert_eq!(way["evidence"], json!([]), "{way}");
    let config = hub.gateway.config();
    let command = ["--config", path(&config), "transfer", "evidence", way["id"].as_str().unwrap()];
    let (status, _, error) = suites::run(&command);
    assert!(status.code() == Some(1) && error.contains("evidence.retention"), "{error}");
}
