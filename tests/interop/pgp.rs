//! PGP/MIME: two gateways with keys that GnuPG made, and messages that GnuPG packaged.

use crate::hub::{Hub, PATIENCE, random};
use crate::raw::post;
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use suites::eventually;

/// A GnuPG home that ends with the test, its agent with it.
pub(crate) struct Gpg(tempfile::TempDir);

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.0.path()).args(["--kill", "all"]).status();
    }
}

impl Gpg {
    pub(crate) fn new() -> Self {
        // Short, as the agent's socket is in it.
        let home = tempfile::Builder::new().prefix("gpg").tempdir_in("/tmp").unwrap();
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
        Self(home)
    }

    pub(crate) fn run(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut child = Command::new("gpg")
            .arg("--homedir")
            .arg(self.0.path())
            .args(["--batch", "--yes", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""])
            .args(["--trust-model", "always"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("gpg (Debian: gnupg)");
        let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
        let writing = std::thread::spawn(move || stdin.write_all(&input));
        let output = child.wait_with_output().unwrap();
        let _ = writing.join();
        assert!(output.status.success(), "gpg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Makes a key with a subkey to encrypt for, dated yesterday, as the clocks of a message and of its key may differ by a
    /// second.
    pub(crate) fn generate(&self, user: &str, sign: &str, encrypt: &str) {
        let dated = ["--faked-system-time", "20260101T000000"];
        let make = ["--quick-generate-key", user, sign, "sign,cert", "never"];
        self.run(&[&dated[..], &make].concat(), b"");
        let listed = String::from_utf8(self.run(&["--with-colons", "--list-keys", user], b"")).unwrap();
        let fingerprint = listed.lines().find(|line| line.starts_with("fpr")).unwrap();
        let fingerprint = fingerprint.split(':').nth(9).unwrap();
        let add = ["--quick-add-key", fingerprint, encrypt, "encr", "never"];
        self.run(&[&dated[..], &add].concat(), b"");
    }

    pub(crate) fn export(&self, user: &str, directory: &Path, name: &str) {
        fs::create_dir_all(directory).unwrap();
        let public = self.run(&["--armor", "--export", user], b"");
        fs::write(directory.join(format!("{name}.public.asc")), public).unwrap();
        let private = self.run(&["--armor", "--export-secret-keys", user], b"");
        let path = directory.join(format!("{name}.private.asc"));
        fs::write(&path, private).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// The definitions of one side, whose AS2 name is `us` and whose partner is `them`.
pub(crate) fn define(hub: &Hub, us: &str, them: &str, their_url: &str, agreement: &str) {
    hub.gateway.define("hub.toml", &document(hub, us, them, their_url, agreement));
}

fn document(hub: &Hub, us: &str, them: &str, their_url: &str, agreement: &str) -> String {
    format!(
        r#"[identity.waybill.as2]
id = "{us}"
keys = ["waybill"]
pgp_keys = ["ours"]
[key.waybill]
private_key = "${{file:{root}/keys/waybill.key.pem}}"
certificate = "${{file:{root}/keys/waybill.cert.pem}}"
[key.ours]
private_key = "${{file:{root}/keys/{us}.private.asc}}"
[partner.peer.as2]
id = "{them}"
pgp_keys = ["theirs"]
{agreement}
[certificate.theirs]
pem = "${{file:{root}/keys/{them}.public.asc}}"
[endpoint.out]
transport = "file"
url = "file://{root}/out"
[endpoint.in]
transport = "file"
url = "file://{root}/in"
[endpoint.peer-as2]
transport = "as2"
partner = "peer"
identity = "waybill"
url = "{their_url}"
media_type = "application/octet-stream"
[flow.outgoing]
source = {{ endpoint = "out", mask = "*", every = "1s", stable_for = "0s", read_limit = 0, after = "delete", error_directory = "{root}/errors" }}
[[flow.outgoing.destination]]
endpoint = "peer-as2"
retry = {{ attempts = 60, first = "1s", longest = "1s" }}
[listener.as2]
transport = "as2"
server = "partners"
[flow.incoming]
source = {{ listener = "as2", partner = "peer", mask = "*" }}
[[flow.incoming.destination]]
endpoint = "in"
"#,
        root = hub.root.path().display(),
    )
}

/// Two sides with keys of these algorithms.
pub(crate) fn two(algorithms: [(&str, &str); 2]) -> (Gpg, Hub, Hub) {
    let (gpg, one, other) = (Gpg::new(), Hub::alone(), Hub::alone());
    for (name, (sign, encrypt)) in ["ONE", "OTHER"].into_iter().zip(algorithms) {
        gpg.generate(&format!("<{}@waybill.example>", name.to_lowercase()), sign, encrypt);
        for hub in [&one, &other] {
            gpg.export(
                &format!("<{}@waybill.example>", name.to_lowercase()),
                &hub.root.path().join("keys"),
                name,
            );
        }
    }
    (gpg, one, other)
}

#[test]
fn two_gateways_exchange_files_by_pgp_in_every_form() {
    let (_gpg, mut one, mut other) = two([("ed25519", "cv25519"), ("rsa3072", "rsa3072")]);
    define(&other, "OTHER", "ONE", &one.url(), "send.packaging = \"pgp\"\nreceive.security = \"none\"");
    other.gateway.start();
    let forms = [
        ("signed", "send.security = \"signed\""),
        ("encrypted", "send.security = \"encrypted\""),
        ("nested", "send.order = \"sign_then_encrypt\""),
        ("reversed", "send.order = \"encrypt_then_sign\""),
        ("in-one", "send.signature_form = \"opaque\"\nsend.compress = \"before_signing\""),
    ];
    for (number, (name, form)) in forms.into_iter().enumerate() {
        if number > 0 {
            one.gateway.stop();
        }
        define(&one, "ONE", "OTHER", &other.url(), &format!("send.packaging = \"pgp\"\n{form}"));
        one.gateway.start();
        let content = random(300_000);
        one.put(name, &content);
        let way = one.ended(name);
        assert_eq!(way["state"], "completed", "{name}: {way}");
        assert_eq!(other.wait_for_file(name), content, "{name}");
        let came = other.ended(name);
        let metadata = &came["metadata"];
        assert_eq!(metadata["as2_cipher"].is_string(), name != "signed", "{name}: {metadata}");
        assert_eq!(metadata["as2_signer"].is_string(), name != "encrypted", "{name}: {metadata}");
        // Both sides name the keys that were used.
        let told = |is: bool, key: &str| if is { json!(key) } else { Value::Null };
        let (signed, encrypted) = (name != "encrypted", name != "signed");
        let receipt = &way["deliveries"][0]["receipt"]["detail"];
        for (at, key, expected) in [
            (receipt, "sent_signed_with", told(signed, "ours")),
            (receipt, "sent_encrypted_with", told(encrypted, "theirs")),
            (receipt, "signed_with", json!("theirs")),
            (metadata, "as2_verified_with", told(signed, "theirs")),
            (metadata, "as2_decrypted_with", told(encrypted, "ours")),
        ] {
            assert_eq!(at[key], expected, "{name}, {key}: {at}");
        }
    }
    assert!(other.events("certificate.fallback_used").is_empty());
    // The other way, with keys of the other kind.
    let content = random(2_000_000);
    other.put("back", &content);
    assert_eq!(other.ended("back")["state"], "completed");
    assert_eq!(one.wait_for_file("back"), content);
}

#[test]
fn a_message_goes_out_again_as_it_was_made_though_the_key_has_changed() {
    let (gpg, mut one, mut other) = two([("ed25519", "cv25519"), ("ed25519", "cv25519")]);
    define(&one, "ONE", "OTHER", &other.url(), "send.packaging = \"pgp\"");
    one.gateway.start();
    let content = random(50_000);
    one.put("waits", &content);
    eventually("the first attempt has failed", PATIENCE, || {
        (!one.events("delivery.retrying").is_empty()).then_some(())
    });
    one.gateway.stop();
    // Another key in its place, made after the message: the other side does not know it.
    gpg.run(&["--quick-generate-key", "<new@waybill.example>", "ed25519", "sign,cert", "never"], b"");
    gpg.export("<new@waybill.example>", &one.root.path().join("keys"), "ONE");
    define(&other, "OTHER", "ONE", &one.url(), "send.packaging = \"pgp\"");
    other.gateway.start();
    one.gateway.start();
    let way = one.ended("waits");
    assert_eq!(way["state"], "completed", "{way}");
    assert_eq!(other.wait_for_file("waits"), content);
    assert!(other.events("message.refused").is_empty(), "{:?}", other.events("message.refused"));
}

#[test]
fn a_key_that_is_used_before_its_time_is_told_of() {
    let (gpg, mut one, mut other) = two([("ed25519", "cv25519"), ("ed25519", "cv25519")]);
    // OTHER expects the old key of ONE until the time that was agreed.
    gpg.generate("<old@waybill.example>", "ed25519", "cv25519");
    gpg.export("<old@waybill.example>", &other.root.path().join("keys"), "OLD");
    let next = "{ name = \"theirs\", from = \"2099-01-01T00:00:00Z\" }";
    let old = format!(
        "[certificate.old]\npem = \"${{file:{}/keys/OLD.public.asc}}\"\n",
        other.root.path().display()
    );
    let text = document(&other, "OTHER", "ONE", &one.url(), "send.packaging = \"pgp\"");
    let text = text.replace("pgp_keys = [\"theirs\"]", &format!("pgp_keys = [\"old\", {next}]"));
    other.gateway.define("hub.toml", &format!("{text}{old}"));
    other.gateway.start();
    define(&one, "ONE", "OTHER", &other.url(), "send.packaging = \"pgp\"");
    one.gateway.start();
    one.put("early", &random(5000));
    assert_eq!(one.ended("early")["state"], "completed");
    let told = other.events("certificate.fallback_used");
    let used = told[0]["detail"]["used"].as_str().unwrap();
    assert!(
        told.len() == 1 && used.contains("OpenPGP key 'theirs'") && used.contains("changed early"),
        "{told:?}"
    );
}

/// The fields of a message from ONE to OTHER.
fn fields(id: &str, media: &str, length: usize) -> String {
    format!(
        "AS2-Version: 1.0\r\nAS2-From: ONE\r\nAS2-To: OTHER\r\nMessage-ID: <{id}@one>\r\nMIME-Version: 1.0\r\n\
         Disposition-Notification-To: one\r\n\
         Disposition-Notification-Options: signed-receipt-protocol=required, pgp-signature; \
         signed-receipt-micalg=optional, sha-256\r\nContent-Type: {media}; boundary=\"b1\"\r\n\
         Content-Length: {length}\r\n"
    )
}

#[test]
fn a_message_that_gnupg_packaged_is_taken_and_its_receipt_verifies_there() {
    let (gpg, one, mut other) = two([("rsa3072", "rsa3072"), ("ed25519", "cv25519")]);
    define(&other, "OTHER", "ONE", &one.url(), "send.packaging = \"pgp\"");
    other.gateway.start();
    let content = b"UNB+UNOA:1+ONE+OTHER'\r\nUNZ+0+1'\r\n";
    let entity = [
        b"Content-Type: application/edifact\r\nContent-Disposition: attachment; filename=order.edi\r\n\r\n",
        content.as_slice(),
    ]
    .concat();
    let arguments =
        ["--armor", "-u", "one@waybill.example", "-r", "other@waybill.example", "--sign", "--encrypt"];
    let object = gpg.run(&arguments, &entity);
    let packaged = |object: &[u8]| {
        [
            b"--b1\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\r\n--b1\r\n\
              Content-Type: application/octet-stream\r\n\r\n",
            object,
            b"\r\n--b1--\r\n",
        ]
        .concat()
    };
    let media = "multipart/encrypted; protocol=\"application/pgp-encrypted\"";
    let send = |id: &str, object: &[u8]| {
        let body = packaged(object);
        post(other.gateway.http, &fields(id, media, body.len()), &body).unwrap()
    };
    let answer = send("good", &object);
    let text = answer.text();
    assert!(text.contains("; processed"), "{text}");
    assert_eq!(other.wait_for_file("order.edi"), content);

    // Its receipt is signed by OpenPGP, over the report between the boundaries.
    let start = answer.head.find("application/pgp-signature").expect("a receipt signed by OpenPGP");
    let boundary = answer.head[start..].split("boundary=").nth(1).unwrap();
    let boundary = boundary.trim_start_matches('"').split(['"', '\r', ';']).next().unwrap();
    let parts: Vec<&str> = text.split(&format!("--{boundary}")).collect();
    let report = parts[1].strip_prefix("\r\n").unwrap().strip_suffix("\r\n").unwrap();
    let signature = other.root.path().join("receipt.asc");
    fs::write(&signature, &parts[2][parts[2].find("-----BEGIN").unwrap()..]).unwrap();
    gpg.run(&["--verify", signature.to_str().unwrap(), "-"], report.as_bytes());

    // Changed on the way: refused with one text, whatever was changed, and nothing of it is taken.
    let mut changed = object.clone();
    let middle = changed.len() / 2;
    changed[middle] = if changed[middle] == b'A' { b'B' } else { b'A' };
    let answer = send("changed", &changed);
    assert!(answer.text().contains("decryption-failed"), "{}", answer.text());
    assert!(answer.head.contains("application/pgp-signature"), "{}", answer.head);
    // Under the Message-ID of one that was accepted, nothing signed denies it.
    let answer = send("good", &changed);
    assert!(answer.text().contains("decryption-failed"), "{}", answer.text());
    assert!(answer.head.contains("multipart/report"), "{}", answer.head);
    // Only encrypted, where a signature was agreed.
    let unsigned = gpg.run(&["--armor", "-r", "other@waybill.example", "--encrypt"], &entity);
    let answer = send("unsigned", &unsigned);
    assert!(answer.text().contains("insufficient-message-security"), "{}", answer.text());
    let kept: Vec<Value> = other.inbox().into_iter().map(|(name, _)| Value::from(name)).collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
}

/// The form of appendix B ("HTTP Transport for Secure EDI") with an object in its `input-data`: header fields and fields as they
/// are printed there; the print has lost the boundaries.
fn appendix_b(object: &[u8], more: &[(&str, &str)]) -> (String, Vec<u8>) {
    let field = |(name, value): (&str, &str)| {
        format!("--GISB9876\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let said = [
        ("from", "ONE"),
        ("to", "OTHER"),
        ("Version", "1.3"),
        ("receipt-disposition-to", "ONE"),
        ("receipt-report-type", "GISB-Acknowledgement-Receipt"),
        ("input-format", "X12"),
    ];
    let fields: String = said.into_iter().chain(more.iter().copied()).map(field).collect();
    let body = [
        fields.as_bytes(),
        b"--GISB9876\r\nContent-Disposition: form-data; name=\"input-data\"; filename=\"c:\\edi\\po850.pgp\"\r\n\
          Content-Type: multipart/encrypted; boundary=\"b1\"; protocol=\"application/pgp-encrypted\"\r\n\r\n\
          --b1\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\r\n--b1\r\n\
          Content-Type: application/octet-stream\r\n\r\n",
        object,
        b"\r\n--b1--\r\n\r\n--GISB9876--\r\n",
    ]
    .concat();
    let head = format!(
        "Referer: http://www.get.a.life/upl.htm\r\nUser-Agent: brow v0.1 XYZ Corp.\r\n\
         Accept: image/gif, image/x-xbitmap, image/jpeg, image/pjpeg, */*\r\n\
         Content-type: multipart/form-data;\r\n boundary=GISB9876\r\nContent-Length: {}\r\n",
        body.len()
    );
    (head, body)
}

#[test]
fn a_form_of_appendix_b_with_an_object_of_gnupg_is_taken_and_acknowledged() {
    let (gpg, one, mut other) = two([("rsa3072", "rsa3072"), ("rsa3072", "rsa3072")]);
    define(&other, "OTHER", "ONE", &one.url(), "send.packaging = \"pgp\"");
    other.gateway.start();
    // An X12 transaction with its header of RFC 1767, signed and encrypted in one object.
    let content = b"ISA*00*printed*IEA\r\n";
    let transaction = |name: &str| {
        let header =
            format!("Content-Type: application/edi-x12\r\nContent-Disposition: attachment; filename={name}");
        [header.as_bytes(), b"\r\n\r\n", content].concat()
    };
    let for_other = ["--armor", "-u", "one@waybill.example", "-r", "other@waybill.example"];
    let both = ["--digest-algo", "SHA512", "--sign", "--encrypt"];
    let entity = transaction("po850.x12");
    let object = gpg.run(&[&for_other[..], &both].concat(), &entity);
    let (head, body) = appendix_b(&object, &[("RefNum", "850")]);
    let answer = post(other.gateway.http, &head, &body).unwrap();
    let text = answer.text();
    assert!(text.contains("request-status=ok*") && text.contains("Original-RefNum: 850"), "{text}");
    assert!(
        answer.head.to_lowercase().contains("report-type=\"gisb-acknowledgement-receipt\""),
        "{}",
        answer.head
    );
    // The MIC is by the signature's digest, over what was signed.
    let mic = openssl::base64::encode_block(&openssl::sha::sha512(&entity)).replace('\n', "");
    assert!(text.contains(&format!("Received-Content-MIC: {mic}")), "{mic}: {text}");
    assert_eq!(other.wait_for_file("po850.x12"), content);
    let metadata = &other.ended("po850.x12")["metadata"];
    assert!(metadata["as2_cipher"].is_string() && metadata["as2_signer"].is_string(), "{metadata}");
    assert_eq!(metadata["form_input_data"], "c:\\edi\\po850.pgp", "{metadata}");

    // The same form again gets the same answer, and is no second file.
    let again = post(other.gateway.http, &head, &body).unwrap();
    assert_eq!(again.body, answer.body);
    // A receipt that is signed, where the sender asks for that.
    let signed = ("receipt-security-selection", "signed-receipt-protocol=required, pgp-signature");
    let object = gpg.run(&[&for_other[..], &both].concat(), &transaction("po851.x12"));
    let (head, body) = appendix_b(&object, &[("RefNum", "851"), signed]);
    let answer = post(other.gateway.http, &head, &body).unwrap();
    let is_signed = answer.head.contains("application/pgp-signature");
    assert!(is_signed && answer.text().contains("request-status=ok*"), "{} {}", answer.head, answer.text());
    // Only encrypted, where an encapsulated signature was agreed.
    let unsigned = gpg.run(&[&for_other[..], &["--encrypt"]].concat(), &entity);
    let (head, body) = appendix_b(&unsigned, &[("RefNum", "852")]);
    let answer = post(other.gateway.http, &head, &body).unwrap();
    assert!(answer.text().contains("request-status=error"), "{}", answer.text());
    assert_eq!(other.wait_for_file("po851.x12"), content);
    assert_eq!(other.inbox().len(), 2, "{:?}", other.inbox());
}

#[test]
fn two_gateways_exchange_forms_by_the_gisb_profile() {
    let (_gpg, mut one, mut other) = two([("rsa3072", "rsa3072"), ("rsa3072", "rsa3072")]);
    let agreement = "send.packaging = \"pgp\"\nsend.signature_form = \"opaque\"\nform.post = true\n\
        form.version = \"1.3\"\nform.input_format = \"X12\"\nmdn.report_type = \"GISB-Acknowledgement-Receipt\"\n";
    define(&other, "OTHER", "ONE", &one.url(), "send.packaging = \"pgp\"");
    other.gateway.start();
    for ask in ["unsigned", "signed"] {
        let form = format!("{agreement}mdn.ask = \"{ask}\"");
        define(&one, "ONE", "OTHER", &other.url(), &form);
        one.gateway.start();
        let (name, content) = (format!("{ask}.x12"), random(200_000));
        one.put(&name, &content);
        let way = one.ended(&name);
        assert_eq!(way["state"], "completed", "{ask}: {way}");
        assert_eq!(way["deliveries"][0]["receipt"]["detail"]["mic_matched"], true, "{ask}: {way}");
        assert_eq!(other.wait_for_file(&name), content, "{ask}");
        let metadata = &other.ended(&name)["metadata"];
        assert_eq!(metadata["form_version"], "1.3", "{ask}: {metadata}");
        assert!(metadata["as2_cipher"].is_string() && metadata["as2_signer"].is_string(), "{metadata}");
        one.gateway.stop();
    }
}
