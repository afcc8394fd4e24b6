//! `waybill cert`: what it makes is read by OpenSSL and by a gateway, what OpenSSL makes is read by it.

use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use suites::pair::{Pair, Terms};
use suites::waybill;
use tempfile::TempDir;

/// What a command gave.
struct Said {
    code: i32,
    out: Vec<u8>,
    error: String,
}

impl Said {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }
}

fn said(output: Output) -> Said {
    Said {
        code: output.status.code().unwrap(),
        out: output.stdout,
        error: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A directory with the settings of a gateway that never ran, and a directory of definitions.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::Builder::new().prefix("waybill-cert-").tempdir().unwrap());
        fs::create_dir(desk.path("definitions")).unwrap();
        let settings = format!(
            "state_directory = \"state\"\n[listen.http.partners]\naddress = \"127.0.0.1:1\"\n[roots]\nsecrets = [\"{root}\"]\n\
             files = [\"{root}\"]\n",
            root = desk.0.path().canonicalize().unwrap().display()
        );
        fs::write(desk.path("waybill.toml"), settings).unwrap();
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `waybill cert …` in this directory, without a terminal.
    fn cert(&self, arguments: &[&str]) -> Said {
        let mut command = Command::new("setsid");
        command.current_dir(self.0.path()).arg("--wait").arg(waybill());
        command.args(["--config", "waybill.toml", "cert"]).args(arguments);
        said(command.stdin(Stdio::null()).output().unwrap())
    }

    /// The same, which must succeed.
    fn makes(&self, arguments: &[&str]) -> Said {
        let said = self.cert(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {}", said.error);
        assert!(!said.error.contains("PRIVATE KEY") && !said.text().contains("PRIVATE KEY"), "{arguments:?}");
        said
    }

    /// The same, which must fail with these words and leave no file that was not there.
    fn refuses(&self, arguments: &[&str], words: &str) {
        let before = self.files();
        let said = self.cert(arguments);
        assert!(said.code == 1 && said.error.contains(words), "{arguments:?}: {} {}", said.code, said.error);
        assert_eq!(self.files(), before, "{arguments:?}");
    }

    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.0.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                found.push((path.clone(), fs::read(path).unwrap()));
            }
        }
        found.sort();
        found
    }

    /// Puts a document into the definitions, and checks all of them.
    fn define(&self, name: &str, text: &str) {
        fs::write(self.path("definitions").join(name), text).unwrap();
        let output = Command::new(waybill())
            .current_dir(self.0.path())
            .args(["--config", "waybill.toml", "validate", "--definitions", "definitions"])
            .output()
            .unwrap();
        let said = said(output);
        assert!(
            said.code == 0 && said.text().contains("0 errors, 0 warnings"),
            "{}{}",
            said.text(),
            said.error
        );
    }

    /// `openssl …` in this directory; its standard output.
    fn openssl(&self, arguments: &[&str]) -> String {
        let output = Command::new("openssl").current_dir(self.0.path()).args(arguments).output().unwrap();
        let said = said(output);
        assert_eq!(said.code, 0, "{arguments:?}: {}", said.error);
        said.text()
    }

    /// A certificate authority, and a certificate of it for a key that OpenSSL makes: `ca.pem`, `leaf.key`, `leaf.pem`.
    fn authority(&self) {
        self.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
            "-subj",
            "/CN=Authority",
            "-days",
            "90",
        ]);
        self.openssl(&[
            "req", "-newkey", "rsa:2048", "-nodes", "-keyout", "leaf.key", "-out", "leaf.csr", "-subj",
            "/CN=Leaf",
        ]);
        self.openssl(&[
            "x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "80", "-out",
            "leaf.pem",
        ]);
    }

    fn fingerprint(&self, file: &str) -> String {
        let line = self.openssl(&["x509", "-noout", "-fingerprint", "-sha256", "-in", file]);
        line.trim().rsplit('=').next().unwrap().replace(':', "").to_lowercase()
    }
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn keys_of_every_type_are_made_with_certificates_that_openssl_reads() {
    let desk = Desk::new();
    for (key_type, shown) in [
        ("rsa2048", "(2048 bit)"),
        ("rsa3072", "(3072 bit)"),
        ("rsa4096", "(4096 bit)"),
        ("ec-p256", "NIST CURVE: P-256"),
        ("ec-p384", "NIST CURVE: P-384"),
        ("ec-p521", "NIST CURVE: P-521"),
        ("ed25519", "ED25519"),
    ] {
        let made = desk.makes(&[
            "make",
            key_type,
            "--type",
            key_type,
            "--subject",
            "CN=Acme,O=Acme Ltd\\, Köln,C=DE",
            "--host",
            "as2.acme.example",
            "--host",
            "192.0.2.7",
            "--email",
            "as2@acme.example",
            "--days",
            "400",
        ]);
        let (key, certificate) = (format!("{key_type}.key.pem"), format!("{key_type}.cert.pem"));
        assert_eq!(mode(&desk.path(&key)), 0o600);
        let text = desk.openssl(&["x509", "-noout", "-text", "-in", &certificate]);
        for words in [
            shown,
            "CA:FALSE",
            "X509v3 Key Usage: critical",
            "Digital Signature",
            "X509v3 Subject Key Identifier",
            "DNS:as2.acme.example",
            "IP Address:192.0.2.7",
            "email:as2@acme.example",
            "CN = Acme",
        ] {
            assert!(text.contains(words), "{key_type}, {words}: {text}");
        }
        desk.openssl(&["verify", "-CAfile", &certificate, &certificate]);
        let public = desk.openssl(&["pkey", "-pubout", "-in", &key]);
        assert_eq!(public, desk.openssl(&["x509", "-pubkey", "-noout", "-in", &certificate]));
        assert!(made.error.contains(&desk.fingerprint(&certificate)), "{}", made.error);
        desk.define(&format!("{key_type}.toml"), &made.text());
        // Nothing is replaced, also where one of both files is gone.
        desk.refuses(&["make", key_type], "is not replaced");
        fs::remove_file(desk.path(&certificate)).unwrap();
        desk.refuses(&["make", key_type], "is not replaced");
        // The same key again: partners go on with the public key that they have.
        desk.makes(&["make", key_type, "--key", &key]);
        assert_eq!(public, desk.openssl(&["x509", "-pubkey", "-noout", "-in", &certificate]));
    }
    desk.refuses(&["make", "acme", "--subject", "Acme"], "CN=Acme AS2");
    let (code, error) = {
        let said = desk.cert(&["make", "Acme"]);
        (said.code, said.error)
    };
    assert!(code == 1 && error.contains("lower-case letters"), "{error}");
}

#[test]
fn an_encrypted_key_takes_its_passphrase_from_a_file_alone() {
    let desk = Desk::new();
    fs::write(desk.path("passphrase"), "open sesame\n").unwrap();
    fs::set_permissions(desk.path("passphrase"), fs::Permissions::from_mode(0o600)).unwrap();
    let made = desk.makes(&["make", "acme", "--type", "ec-p256", "--key-passphrase-file", "passphrase"]);
    assert!(fs::read_to_string(desk.path("acme.key.pem")).unwrap().contains("BEGIN ENCRYPTED PRIVATE KEY"));
    desk.openssl(&["pkey", "-noout", "-in", "acme.key.pem", "-passin", "pass:open sesame"]);
    assert!(made.text().contains("passphrase = \"${file:"), "{}", made.text());
    desk.define("acme.toml", &made.text());
    desk.makes(&["request", "again", "--key", "acme.key.pem", "--key-passphrase-file", "passphrase"]);
    fs::write(desk.path("wrong"), "open barley").unwrap();
    desk.refuses(
        &["request", "third", "--key", "acme.key.pem", "--key-passphrase-file", "wrong"],
        "passphrase is wrong",
    );
    // Nobody is there to be asked.
    desk.refuses(&["request", "third", "--key", "acme.key.pem"], "--key-passphrase-file FILE");
    desk.refuses(&["make", "third", "--ask-key-passphrase"], "--key-passphrase-file FILE");
    fs::write(desk.path("empty"), "\n").unwrap();
    desk.refuses(&["make", "third", "--key-passphrase-file", "empty"], "it is empty");
}

#[test]
fn an_authority_answers_a_request_and_its_answer_goes_to_the_key() {
    let desk = Desk::new();
    desk.authority();
    for key_type in ["rsa3072", "ec-p384", "ed25519"] {
        let made = desk.makes(&[
            "request",
            key_type,
            "--type",
            key_type,
            "--subject",
            "CN=Acme",
            "--host",
            "as2.acme.example",
        ]);
        let (key, csr) = (format!("{key_type}.key.pem"), format!("{key_type}.csr.pem"));
        assert!(
            made.out.is_empty() && made.error.contains(&format!("--name {key_type} --key ")),
            "{}",
            made.error
        );
        assert_eq!(mode(&desk.path(&key)), 0o600);
        let text = desk.openssl(&["req", "-verify", "-noout", "-text", "-in", &csr]);
        assert!(text.contains("CN = Acme") && text.contains("DNS:as2.acme.example"), "{text}");
        assert!(text.contains("X509v3 Key Usage"), "{text}");
        desk.openssl(&[
            "x509",
            "-req",
            "-in",
            &csr,
            "-copy_extensions",
            "copy",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-days",
            "80",
            "-out",
            "answer.pem",
        ]);
        // Many authorities answer with PKCS #7, in an order of its own.
        desk.openssl(&[
            "crl2pkcs7",
            "-nocrl",
            "-certfile",
            "ca.pem",
            "-certfile",
            "answer.pem",
            "-outform",
            "DER",
            "-out",
            "answer.p7b",
        ]);
        desk.refuses(&["import", &csr, "--name", key_type], "this is a certificate request");
        let imported = desk.makes(&["import", "answer.p7b", "--name", key_type, "--key", &key]);
        let certificate = format!("{key_type}.cert.pem");
        assert_eq!(desk.fingerprint(&certificate), desk.fingerprint("answer.pem"));
        assert_eq!(
            fs::read_to_string(desk.path(&certificate)).unwrap().matches("BEGIN CERTIFICATE").count(),
            2
        );
        desk.define(&format!("{key_type}.toml"), &imported.text());
        desk.refuses(
            &["import", "answer.p7b", "--name", "other", "--key", "leaf.key"],
            "no certificate of the file belongs",
        );
    }
}

#[test]
fn certificates_of_partners_are_imported_from_every_form() {
    let desk = Desk::new();
    desk.authority();
    desk.openssl(&["x509", "-in", "leaf.pem", "-outform", "DER", "-out", "leaf.der"]);
    desk.openssl(&["crl2pkcs7", "-nocrl", "-certfile", "leaf.pem", "-outform", "DER", "-out", "one.p7b"]);
    desk.openssl(&["crl2pkcs7", "-nocrl", "-certfile", "leaf.pem", "-out", "pem.p7b"]);
    let pem = fs::read_to_string(desk.path("pem.p7b")).unwrap();
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect::<Vec<_>>().join("\r\n");
    fs::write(desk.path("base64.p7b"), base64).unwrap();
    // Some programs write PKCS #7 under this label.
    fs::write(desk.path("label.p7b"), pem.replace("PKCS7", "CERTIFICATE")).unwrap();
    let fingerprint = desk.fingerprint("leaf.pem");
    for (at, file) in
        ["leaf.pem", "leaf.der", "one.p7b", "pem.p7b", "base64.p7b", "label.p7b"].into_iter().enumerate()
    {
        let name = format!("globex-{at}");
        let imported = desk.makes(&["import", file, "--name", &name]);
        let certificate = format!("{name}.cert.pem");
        assert_eq!(desk.fingerprint(&certificate), fingerprint, "{file}");
        assert!(imported.text().starts_with(&format!("[certificate.{name}]\n")), "{}", imported.text());
        desk.define(&format!("{name}.toml"), &imported.text());
        desk.refuses(&["import", file, "--name", &name], "is not replaced");
        // The definitions read the file itself as well.
        let path = desk.0.path().canonicalize().unwrap().join(file);
        desk.define(
            &format!("{name}-direct.toml"),
            &format!("[certificate.direct-{at}]\npem = \"${{file:{}}}\"\n", path.display()),
        );
    }
    let list = desk.makes(&["show", "--definitions", "definitions"]).text();
    assert_eq!(list.matches("CN=Leaf").count(), 12, "{list}");
    // Several: each has a definition of its own, the leaf the name that was given.
    desk.openssl(&[
        "crl2pkcs7",
        "-nocrl",
        "-certfile",
        "ca.pem",
        "-certfile",
        "leaf.pem",
        "-outform",
        "DER",
        "-out",
        "two.p7b",
    ]);
    let imported = desk.makes(&["import", "two.p7b", "--name", "two"]);
    assert_eq!(desk.fingerprint("two.cert.pem"), fingerprint);
    assert_eq!(desk.fingerprint("two-2.cert.pem"), desk.fingerprint("ca.pem"));
    assert!(imported.text().contains("[certificate.two-2]\n"), "{}", imported.text());
    desk.define("two.toml", &imported.text());
    fs::write(desk.path("nothing"), "hunter2").unwrap();
    desk.refuses(&["import", "nothing", "--name", "nothing"], "it holds no certificate");
    desk.refuses(&["import", "missing", "--name", "nothing"], "missing");
}

#[test]
fn pkcs12_files_give_key_and_chain_also_those_of_old_programs() {
    let desk = Desk::new();
    desk.authority();
    for (name, words) in [("right", "sesame"), ("wrong", "barley"), ("new", "a new one")] {
        fs::write(desk.path(name), words).unwrap();
        fs::set_permissions(desk.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let export = |file: &str, passphrase: &str, more: &[&str]| {
        let usual = [
            "pkcs12",
            "-export",
            "-inkey",
            "leaf.key",
            "-in",
            "leaf.pem",
            "-certfile",
            "ca.pem",
            "-out",
            file,
            "-passout",
        ];
        let passphrase = format!("pass:{passphrase}");
        desk.openssl(&[&usual[..], &[passphrase.as_str()], more].concat());
    };
    export("modern.p12", "sesame", &[]);
    export("old.p12", "sesame", &["-legacy"]);
    export("open.p12", "", &[]);
    let key = desk.openssl(&["pkey", "-in", "leaf.key"]);
    let right = ["--passphrase-file", "right"];
    for (name, more) in [("modern", &right[..]), ("old", &right[..]), ("open", &[][..])] {
        let imported = desk.makes(&[&["import", &format!("{name}.p12"), "--name", name], more].concat());
        assert_eq!(desk.openssl(&["pkey", "-in", &format!("{name}.key.pem")]), key);
        assert_eq!(mode(&desk.path(&format!("{name}.key.pem"))), 0o600);
        let chain = fs::read_to_string(desk.path(&format!("{name}.cert.pem"))).unwrap();
        assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);
        assert_eq!(desk.fingerprint(&format!("{name}.cert.pem")), desk.fingerprint("leaf.pem"));
        desk.define(&format!("{name}.toml"), &imported.text());
        let shown = desk.makes(&[&["show", &format!("./{name}.p12")], more].concat()).text();
        assert!(shown.contains("CN=Leaf") && shown.contains("private key    RSA 2048"), "{shown}");
    }
    for file in ["modern.p12", "old.p12"] {
        desk.refuses(
            &["import", file, "--name", "x", "--passphrase-file", "wrong"],
            "the passphrase is wrong",
        );
        desk.refuses(&["import", file, "--name", "x"], "--passphrase-file FILE");
    }
    // The key is encrypted anew.
    let more = ["--passphrase-file", "right", "--key-passphrase-file", "new"];
    let imported = desk.makes(&[&["import", "modern.p12", "--name", "locked"], &more[..]].concat());
    assert_eq!(desk.openssl(&["pkey", "-in", "locked.key.pem", "-passin", "pass:a new one"]), key);
    desk.define("locked.toml", &imported.text());
    desk.refuses(
        &["import", "modern.p12", "--name", "x", "--passphrase-file", "right", "--key", "leaf.key"],
        "leave out --key",
    );
    desk.refuses(
        &["import", "leaf.pem", "--name", "x", "--ask-key-passphrase"],
        "no private key that a passphrase could be for",
    );
    // PEM with the key beside it.
    let both = [fs::read(desk.path("leaf.pem")).unwrap(), fs::read(desk.path("leaf.key")).unwrap()].concat();
    fs::write(desk.path("both.pem"), both).unwrap();
    desk.makes(&["import", "both.pem", "--name", "both"]);
    assert_eq!(desk.openssl(&["pkey", "-in", "both.key.pem"]), key);
    // A machine without OpenSSL's legacy provider says so, and reads modern files all the same.
    let without = |file: &str, name: &str| {
        let mut command = Command::new(waybill());
        command.current_dir(desk.0.path()).env("OPENSSL_MODULES", desk.0.path());
        command.args(["cert", "import", file, "--name", name, "--passphrase-file", "right"]);
        said(command.stdin(Stdio::null()).output().unwrap())
    };
    let refused = without("old.p12", "x");
    assert!(refused.code == 1 && refused.error.contains("legacy provider"), "{}", refused.error);
    assert!(!desk.path("x.key.pem").exists());
    assert_eq!(without("modern.p12", "y").code, 0);
}

#[test]
fn a_certificate_is_exported_in_the_form_that_a_partner_wants() {
    let desk = Desk::new();
    desk.authority();
    let both = ["leaf.pem", "ca.pem", "leaf.key"].map(|file| fs::read(desk.path(file)).unwrap());
    fs::write(desk.path("both.pem"), both.concat()).unwrap();
    let imported = desk.makes(&["import", "both.pem", "--name", "acme"]);
    desk.define("acme.toml", &imported.text());
    let export =
        |more: &[&str]| desk.makes(&[&["export", "acme", "--definitions", "definitions"], more].concat()).out;
    let fingerprint = desk.fingerprint("leaf.pem");
    fs::write(desk.path("out.pem"), export(&[])).unwrap();
    assert_eq!(desk.fingerprint("out.pem"), fingerprint);
    fs::write(desk.path("out.der"), export(&["--form", "der"])).unwrap();
    let der = desk.openssl(&["x509", "-inform", "DER", "-in", "out.der", "-outform", "PEM"]);
    fs::write(desk.path("der.pem"), der).unwrap();
    assert_eq!(desk.fingerprint("der.pem"), fingerprint);
    for (form, openssl) in [("pkcs7", "DER"), ("pkcs7-pem", "PEM")] {
        for (more, count) in [(&[][..], 1), (&["--chain"][..], 2)] {
            fs::write(desk.path("out.p7b"), export(&[&["--form", form], more].concat())).unwrap();
            let text = desk.openssl(&["pkcs7", "-inform", openssl, "-in", "out.p7b", "-print_certs"]);
            assert_eq!(text.matches("BEGIN CERTIFICATE").count(), count, "{form}: {text}");
            assert!(text.contains("CN = Leaf"), "{text}");
        }
    }
    assert_eq!(export(&["--chain"]).windows(17).filter(|part| *part == b"BEGIN CERTIFICATE").count(), 2);
    desk.makes(&["export", "key.acme", "--definitions", "definitions", "--out", "new.pem"]);
    assert_eq!(desk.fingerprint("new.pem"), fingerprint);
    let usual = ["export", "acme", "--definitions", "definitions"];
    desk.refuses(&[&usual[..], &["--out", "new.pem"]].concat(), "is not replaced");
    desk.refuses(&[&usual[..], &["--form", "der", "--chain"]].concat(), "DER holds one certificate");
    desk.refuses(&["export", "acne", "--definitions", "definitions"], "did you mean 'acme'");
}

#[test]
fn certificates_of_http_servers_are_listed_with_the_others() {
    let desk = Desk::new();
    desk.makes(&["make", "server", "--type", "ec-p256", "--host", "as2.acme.example"]);
    let settings = fs::read_to_string(desk.path("waybill.toml")).unwrap();
    let more = "[listen.http.secure]\naddress = \"127.0.0.1:2\"\ntls = { certificate = \"server.cert.pem\", private_key = \
                \"server.key.pem\" }\n";
    fs::write(desk.path("waybill.toml"), format!("{settings}{more}")).unwrap();
    let list = desk.makes(&["show"]).text();
    assert!(list.lines().any(|row| row.starts_with("listen.http.secure  EC P-256")), "{list}");
    let shown = desk.makes(&["show", "listen.http.secure"]).text();
    assert!(
        shown.contains(&desk.fingerprint("server.cert.pem")) && shown.contains("as2.acme.example"),
        "{shown}"
    );
    fs::remove_file(desk.path("server.cert.pem")).unwrap();
    let said = desk.makes(&["show"]);
    assert!(said.error.contains("[listen.http.secure]: cannot read"), "{}", said.error);
}

#[test]
fn a_gateway_runs_with_what_was_made_and_shows_where_it_is_used() {
    let mut pair = Pair::new(&Terms::default());
    let keys = pair.root.path().join("keys");
    for (name, key_type) in [("acme", "rsa3072"), ("globex", "rsa2048")] {
        for file in [format!("{name}.key.pem"), format!("{name}.cert.pem")] {
            fs::remove_file(keys.join(file)).unwrap();
        }
        let out = keys.display().to_string();
        let (code, text, error) = pair.command(&[
            "cert",
            "make",
            name,
            "--type",
            key_type,
            "--subject",
            &format!("CN={name}"),
            "--out",
            &out,
        ]);
        assert!(code == 0 && text.contains("private_key = "), "{error}");
    }
    pair.start();
    fs::write(pair.folder().join("order.edi"), "UNB+UNOC").unwrap();
    let files = pair.wait_for_files(1);
    assert_eq!(files[0].1, b"UNB+UNOC");
    let (_, list, error) = pair.command(&["cert", "show"]);
    let row = |name: &str| {
        list.lines().find(|row| row.starts_with(name)).unwrap_or_else(|| panic!("{list}{error}")).to_owned()
    };
    assert!(row("certificate.").contains("partner.globex (as2.certificates)"), "{list}");
    assert!(row("key.").contains("identity.acme (as2.keys)") && row("key.").contains("RSA 3072"), "{list}");
    // A file that a partner sent is compared with what is defined.
    let file = keys.join("globex.cert.pem").display().to_string();
    let shown: Value = pair.acme.json(&["cert", "show", &file]);
    let uses = shown["certificates"][0]["used_by"].as_array().unwrap();
    assert!(uses.iter().any(|each| each == "partner.globex (as2.certificates)"), "{shown}");
    assert_eq!(shown["private_key"], false);
    let (code, text, error) = pair.command(&["cert", "show", "nosuch"]);
    assert!(code == 1 && text.is_empty() && error.contains("find the certificate"), "{error}");
}
