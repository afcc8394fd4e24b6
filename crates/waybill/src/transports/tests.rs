//! Documents checked by the declarations of the real transports.

mod logins;
mod own_files;
mod pages;
mod pgp_keys;

use crate::commands::catalogue;
use config::{Documents, ProcessEnvironment, Report, Settings, Severity};
use model::Timestamp;
use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509NameBuilder};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

mod streaming;

/// Keys and certificates in a directory: `good` and `other` (RSA), `small` (1,024 bits), `curve` (EC),
/// `edwards` (Ed25519).
struct Desk {
    directory: TempDir,
    settings: Settings,
}

impl Desk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let rsa = |bits| PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap();
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let curve = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        let edwards = PKey::generate_ed25519().unwrap();
        let keys = [
            ("good", rsa(2048)),
            ("other", rsa(2048)),
            ("small", rsa(1024)),
            ("curve", curve),
            ("edwards", edwards),
        ];
        for (name, key) in keys {
            let put = |end: &str, bytes: &[u8]| {
                let path = directory.path().join(format!("{name}.{end}"));
                fs::write(&path, bytes).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            };
            put("key", &key.private_key_to_pem_pkcs8().unwrap());
            put("pem", &certificate(&key));
        }
        let text = format!(
            "[listen.http.partners]\naddress = \"127.0.0.1:8080\"\n[roots]\nfiles = [\"/srv/waybill\"]\n\
             variables = [\"ACME_HOST\"]\nsecrets = [{:?}]\nssh_agent = \"/run/agent.sock\"\n",
            directory.path()
        );
        let path = Path::new("/etc/waybill/waybill.toml");
        let (settings, problems) = Settings::parse(path, text.as_bytes(), [], &now()).unwrap();
        assert!(problems.is_empty(), "{problems:?}");
        Self { directory, settings }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Checks definitions without a mistake together with a text.
    fn check(&self, text: &str) -> (bool, Vec<String>) {
        self.check_beside(BASE, text)
    }

    /// Checks definitions that need no others.
    fn check_alone(&self, text: &str) -> (bool, Vec<String>) {
        self.check_beside("", text)
    }

    fn check_beside(&self, base: &str, text: &str) -> (bool, Vec<String>) {
        let text = text.replace("PEM", &self.directory.path().display().to_string());
        let base = base.replace("PEM", &self.directory.path().display().to_string());
        let (documents, mut problems) =
            Documents::parse([("base.toml", base.as_bytes()), ("x.toml", text.as_bytes())]);
        let (definitions, found) = documents.check(&catalogue(&self.settings), &self.settings.roots, &now());
        problems.extend(found);
        let error = problems.iter().any(|problem| problem.severity == Severity::Error);
        assert_eq!(definitions.is_none(), error, "{text}\n{problems:#?}");
        (definitions.is_some(), problems.iter().map(ToString::to_string).collect())
    }

    fn told(&self, table: &[(&str, &str)]) {
        for (text, expected) in table {
            let (_, lines) = self.check(text);
            assert!(
                lines.iter().any(|line| line.contains(expected)),
                "{text}\nexpected: {expected}\n{lines:#?}"
            );
        }
    }
}

fn now() -> ProcessEnvironment {
    ProcessEnvironment::at(Timestamp::from_timestamp(1_800_000_000, 0).unwrap())
}

fn certificate(key: &PKey<Private>) -> Vec<u8> {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "test").unwrap();
    let name = name.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(key).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(1_799_000_000).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::from_unix(1_900_000_000).unwrap()).unwrap();
    // Ed25519 has a digest of its own.
    let digest = match key.id() {
        Id::ED25519 => MessageDigest::null(),
        _ => MessageDigest::sha256(),
    };
    builder.sign(key, digest).unwrap();
    builder.build().to_pem().unwrap()
}

const BASE: &str = r#"
[key.ours]
private_key = "${file:PEM/good.key}"
certificate = "${file:PEM/good.pem}"
[key.curve]
private_key = "${file:PEM/curve.key}"
certificate = "${file:PEM/curve.pem}"
[key.bare]
private_key = "${file:PEM/good.key}"
[certificate.theirs]
pem = "${file:PEM/other.pem}"
[key.edwards]
private_key = "${file:PEM/edwards.key}"
certificate = "${file:PEM/edwards.pem}"

[certificate.curve]
pem = "${file:PEM/curve.pem}"

[certificate.edwards]
pem = "${file:PEM/edwards.pem}"
[identity.acme.as2]
id = "ACME"
keys = ["ours"]
[partner.globex.as2]
id = "GLOBEX"
certificates = ["theirs"]
[endpoint.folder]
transport = "file"
url = "file:///srv/waybill/in"
"#;

#[tokio::test]
async fn the_base_and_the_examples_are_valid() {
    let desk = Desk::new();
    let (valid, lines) = desk.check("");
    assert!(valid && lines.is_empty(), "{lines:?}");
    let definitions = tempfile::tempdir().unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/examples");
    for (name, key) in
        [("acme-2026.key", "good.key"), ("acme_key", "good.key"), ("acme-2026.pem", "good.pem")]
    {
        fs::copy(desk.path(key), desk.path(name)).unwrap();
    }
    fs::copy(desk.path("other.pem"), desk.path("globex-2026.pem")).unwrap();
    for entry in fs::read_dir(examples).unwrap() {
        let path = entry.unwrap().path();
        let here = desk.directory.path().display().to_string();
        let text =
            fs::read_to_string(&path).unwrap().replace("/etc/waybill", &here).replace("/run/secrets", &here);
        fs::write(definitions.path().join(path.file_name().unwrap()), text).unwrap();
    }
    let validate = |settings: &Settings| -> Report {
        config::validate(definitions.path(), settings, &catalogue(settings), &now())
    };
    let report = validate(&desk.settings);
    assert!(report.is_valid() && report.problems.is_empty(), "{report}");
    assert_eq!(report.to_string(), "12 definitions in 3 files: 0 errors, 0 warnings");
    // Without a server to listen at, the listener is told of where it stands.
    let mut deaf = desk.settings.clone();
    deaf.listen.http.clear();
    let report = validate(&deaf);
    assert!(
        !report.is_valid() && report.to_string().contains("listener.as2.server: waybill.toml has no"),
        "{report}"
    );
}

#[tokio::test]
async fn what_partners_and_identities_say_of_as2() {
    let desk = Desk::new();
    let partner = |rest: &str| format!("[partner.p.as2]\nid = \"P\"\n{rest}\n");
    let with = |rest: &str| partner(&format!("certificates = [\"theirs\"]\n{rest}"));
    let identity = |key: &str| format!("[identity.i.as2]\nid = \"I\"\nkeys = [\"{key}\"]");
    let small = "[certificate.c]\npem = \"${file:PEM/small.pem}\"\n";
    desk.told(&[
        (
            "[partner.p.as2]\nid = \"ACME\"\ncertificates = [\"theirs\"]",
            "x.toml:2:1: error: partner.p.as2.id: identity.acme already has the AS2 name 'ACME'",
        ),
        (
            "[partner.p.as2]\nid = \"GLOBEX\"\ncertificates = [\"theirs\"]",
            "error: partner.p.as2.id: partner.globex already has the AS2 name 'GLOBEX'",
        ),
        ("[partner.p.as2]\nid = \"\"\n", "error: partner.p.as2.id: AS2 name \"\": use 1 to 128 printable ASCII"),
        ("[partner.p.as2]\nid = \"  \"\n", "error: partner.p.as2.id: AS2 name \"  \": use 1 to 128 printable ASCII"),
        ("[partner.p.as2]\nid = \"Ä\"\n", "error: partner.p.as2.id: AS2 name"),
        ("[partner.p.as2]\n", "error: partner.p.as2: 'id' is missing"),
        (
            &partner(""),
            "error: partner.p.as2.certificates: at least one certificate is needed: to encrypt messages (send.security), to verify the signatures of messages (receive.security), to verify the signatures of receipts (mdn.ask)",
        ),
        (
            &partner("certificates = []\nsend.security = \"none\"\nreceive.security = \"none\""),
            "error: partner.p.as2.certificates: at least one certificate is needed: to verify the signatures of receipts (mdn.ask)",
        ),
        (
            &with("send.cipher = \"aes256\""),
            "error: partner.p.as2.send.cipher: must be one of aes128-cbc, aes192-cbc, aes256-cbc, aes128-gcm, aes192-gcm, aes256-gcm, 3des, not \"aes256\"; did you mean \"aes256-cbc\"?",
        ),
        (
            &with("send.cipher = \"3des\""),
            "x.toml:4:6: error: partner.p.as2.send.cipher: '3des' is not safe for large messages: agree on aes256-cbc",
        ),
        (
            &with("send.cipher = \"3des\"\nlegacy = true"),
            "x.toml:4:6: warning: partner.p.as2.send.cipher: legacy: '3des' is not safe",
        ),
        (
            &with("send.digest = \"sha1\""),
            "error: partner.p.as2.send.digest: 'sha1' signatures can be forged: agree on sha256 with the \
            partner, or allow them with legacy = true",
        ),
        (
            &with("send.digest = \"sha1\"\nlegacy = true"),
            "warning: partner.p.as2.send.digest: legacy: signatures by MD5 and SHA-1 can be forged",
        ),
        (&with("legacy = true"), "warning: partner.p.as2.legacy: legacy: 'true' accepts signatures that can be forged"),
        (&with("send.security = \"none\""), "warning: partner.p.as2.send.security: legacy: 'none' sends messages"),
        (&with("receive.security = \"none\""), "warning: partner.p.as2.receive.security: legacy: 'none' accepts messages"),
        (&with("mdn.ask = \"none\""), "warning: partner.p.as2.mdn.ask: legacy: 'none' gives no proof"),
        (&with("accept_expired = true"), "warning: partner.p.as2.accept_expired: legacy: 'true' accepts certificates"),
        (&with("receive.largest = 0"), "error: partner.p.as2.receive.largest: must be at least 1"),
        (&with("receive.largest = \"much\""), "error: partner.p.as2.receive.largest: must be a size"),
        (
            &format!("{small}{}", partner("certificates = [\"c\"]")),
            "error: partner.p.as2.certificates: certificate 'c' has a key of 1024 bits, which can be broken",
        ),
        (
            &partner("certificates = [\"edwards\"]"),
            "error: partner.p.as2.certificates: messages are encrypted for 'edwards', but its key is neither RSA nor EC",
        ),
        (
            &with("send.also_encrypt_for = [\"edwards\"]"),
            "error: partner.p.as2.send.also_encrypt_for: certificate 'edwards' has a key that is neither RSA nor EC",
        ),
        (
            &format!("{small}{}", with("send.also_encrypt_for = [\"c\"]")),
            "error: partner.p.as2.send.also_encrypt_for: certificate 'c' has a key of 1024 bits, which can be broken",
        ),
        (
            &with("send.security = \"signed\"\nsend.also_encrypt_for = [\"curve\"]"),
            "warning: partner.p.as2.send.also_encrypt_for: has no effect: messages to the partner are not encrypted",
        ),
        (&identity("ous"), "x.toml:3:9: error: identity.i.as2.keys: there is no key 'ous'; did you mean 'ours'?"),
        (&identity("bare"), "error: identity.i.as2.keys: key 'bare' has no 'certificate'"),
        (&identity("edwards"), "warning: identity.i.as2.keys: key 'edwards' is neither RSA nor EC"),
        ("[identity.i.as2]\nid = \"I\"\nkeys = []", "error: identity.i.as2.keys: must contain at least one key"),
    ]);
}

/// Certificates here are valid from January 2027 to March 2030.
#[tokio::test]
async fn what_windows_of_keys_and_certificates_say() {
    let desk = Desk::new();
    let identity = |keys: &str| format!("[identity.i.as2]\nid = \"I\"\nkeys = [{keys}]\n");
    let partner = |certificates: &str| {
        format!(
            "[certificate.next]\npem = \"${{file:PEM/other.pem}}\"\n\
            [partner.p.as2]\nid = \"P\"\ncertificates = [{certificates}]\n"
        )
    };
    let (valid, lines) = desk.check(&format!(
        "{}{}",
        identity("\"ours\", { name = \"curve\", from = \"2028-01-01T00:00:00Z\", until = \"2029-01-01T00:00:00Z\" }"),
        partner("{ name = \"theirs\", until = \"2028-01-01T00:00:00Z\" }, { name = \"next\", from = \"2028-01-01T00:00:00Z\" }")
    ));
    assert!(valid && lines.is_empty(), "{lines:?}");
    let turns = "must be later than 'from'";
    desk.told(&[
        (
            &identity("{ name = \"ours\", until = \"2028-01-01T00:00:00Z\" }, { name = \"curve\", from = \"2028-02-01T00:00:00Z\" }"),
            "from 2028-01-01T00:00:00+00:00 to 2028-02-01T00:00:00+00:00 none of them may sign",
        ),
        (
            &partner("{ name = \"theirs\", until = \"2028-01-01T00:00:00Z\" }, { name = \"next\", from = \"2028-02-01T00:00:00Z\" }"),
            "none of them may encrypt: let the windows meet or overlap",
        ),
        (&identity("{ name = \"ours\", from = \"2028-02-01T00:00:00Z\", until = \"2028-01-01T00:00:00Z\" }"), turns),
        (&identity("{ name = \"ours\", uses = [\"decrypt\"] }"), "none of them signs (uses): at least one key must"),
        (&identity("{ name = \"ours\", uses = [] }"), "must name a use: \"sign\", \"decrypt\" or both"),
        (&identity("{ name = \"ours\", uses = [\"encrypt\"] }"), "must be one of decrypt, sign"),
        (&identity("\"ours\", { name = \"ours\", from = \"2028-01-01T00:00:00Z\" }"), "names 'ours' a second time"),
        (&identity("{ name = \"ous\" }"), "there is no key 'ous'; did you mean 'ours'?"),
        (&identity("{ name = \"bare\" }"), "key 'bare' has no 'certificate'"),
        (
            &identity("\"ours\", { name = \"curve\", from = \"2020-01-01T00:00:00Z\" }"),
            "its certificate is valid only from 2027-01-",
        ),
        (
            &identity("\"ours\", { name = \"curve\", until = \"2040-01-01T00:00:00Z\" }"),
            "its certificate is valid only until 2030-03-",
        ),
        (
            &identity("{ name = \"ours\", from = \"2029-01-01T00:00:00Z\" }"),
            "warning: identity.i.as2.keys: none of the keys signs now",
        ),
        (
            &partner("{ name = \"theirs\", from = \"2029-01-01T00:00:00Z\" }"),
            "warning: partner.p.as2.certificates: none of the certificates is for encrypting now",
        ),
        (
            &partner("{ name = \"theirs\", uses = [\"verify\"] }"),
            "at least one certificate is needed: to encrypt messages (send.security)",
        ),
        (
            &partner("{ name = \"theirs\", uses = [\"encrypt\"] }"),
            "at least one certificate is needed: to verify the signatures of messages (receive.security), to verify",
        ),
        (
            &(partner("\"theirs\"") + "fallback = \"once\"\nmdn.ask = \"none\"\n"),
            "warning: partner.p.as2.fallback: has no effect: no receipt is asked for",
        ),
    ]);
}

#[tokio::test]
async fn what_endpoints_and_listeners_say_of_as2() {
    let desk = Desk::new();
    let endpoint = |partner: &str, identity: &str| {
        format!(
            "[endpoint.e]\ntransport = \"as2\"\nurl = \"https://h/\"\npartner = \"{partner}\"\nidentity = \"{identity}\"\n"
        )
    };
    let signed_by = |keys: &str, agreement: &str| {
        format!(
            "[identity.i.as2]\nid = \"I\"\nkeys = [{keys}]\n[partner.p.as2]\nid = \"P\"\ncertificates = [\"theirs\"]\n\
             {agreement}\n{}",
            endpoint("p", "i")
        )
    };
    let (valid, lines) = desk.check(&signed_by("\"curve\", \"edwards\"", "send.security = \"signed\""));
    assert!(valid && lines.iter().all(|line| line.contains("warning: identity.i.as2.keys")), "{lines:#?}");
    let by_md5 = "send.digest = \"md5\"\nlegacy = true";
    let refused = "error: endpoint.e.identity: messages to 'p' cannot be signed with key 'curve' of 'i': an EC key cannot sign by MD5";
    let listener = |name: &str, rest: &str| {
        format!("[listener.{name}]\ntransport = \"as2\"\nserver = \"partners\"\n{rest}\n")
    };
    desk.told(&[
        (&signed_by("\"curve\"", by_md5), refused),
        // Also a key that signs later.
        (&signed_by("\"ours\", { name = \"curve\", from = \"2028-01-01T00:00:00Z\" }", by_md5), refused),
        (
            &signed_by("\"edwards\"", ""),
            "error: endpoint.e.identity: messages to 'p' are encrypted, and 'i' has neither an RSA nor an EC key by which",
        ),
        (
            &format!("[partner.mute]\ntitle = \"Mute\"\n{}", endpoint("mute", "acme")),
            "error: endpoint.e.partner: 'mute' has no AS2 name: add a table [partner.mute.as2] with an id",
        ),
        (
            &(endpoint("globex", "acme") + "media_type = \"bad type\\r\\nX-Evil: 1\""),
            "x.toml:6:1: error: endpoint.e.media_type: must be a media type such as",
        ),
        (
            &(endpoint("globex", "acme") + "media_type = \" \""),
            "error: endpoint.e.media_type: must be a media type",
        ),
        (
            &(endpoint("globex", "acme") + "tls.client_key = \"bare\""),
            "error: endpoint.e.tls.client_key: key 'bare' has no 'certificate'",
        ),
        (
            &(endpoint("globex", "acme").replace("https", "http") + "trust.authorities = \"theirs\""),
            "warning: endpoint.e.trust: has no effect: the URL is http://",
        ),
        (&listener("l", "path = \"as2\""), "x.toml:4:1: error: listener.l.path: must begin with '/'"),
        (&listener("l", "host = \"as2.example:443\""), "error: listener.l.host: must be a host name"),
        (
            &listener("l", "certificate = \"bare\""),
            "error: listener.l.certificate: key 'bare' has no 'certificate'",
        ),
        (
            &format!("{}{}", listener("a", "path = \"/as2/\""), listener("b", "")),
            "error: listener.b.path: listener 'a' already uses this path",
        ),
        (
            &format!("{}{}", listener("a", ""), listener("b", "")),
            "error: listener.b.path: listener 'a' already uses this path at the same server and host",
        ),
    ]);
    let apart = format!("{}{}", listener("a", ""), listener("b", "host = \"b.example\""));
    assert!(desk.check(&apart).0);
}

#[tokio::test]
async fn what_endpoints_say_of_connections_is_told_all_at_once_each_at_its_line() {
    let desk = Desk::new();
    let text = "[endpoint.e]\ntransport = \"as2\"\nurl = \"https://h/\"\npartner = \"globex\"\nidentity = \"acme\"\n\
         media_type = \" \"\ntrust.pins = [\n  \"sha256:zz\",\n  \"x\",\n]\ntls.min = \"1.3\"\ntls.max = \"1.2\"\n\
         [endpoint.s]\ntransport = \"sftp\"\nurl = \"sftp://h/in\"\nusername = \"u\"\npassword = \"${file:PEM/good.pem}\"\n\
         host_key = [\n  \"MD5:00\",\n]\nprivate_key = \"${file:PEM/good.pem}\"\n";
    let (_, lines) = desk.check(text);
    for expected in [
        "x.toml:6:1: error: endpoint.e.media_type: must be a media type",
        "x.toml:8:3: error: endpoint.e.trust.pins: 'sha256:zz' is not a pin",
        "x.toml:9:3: error: endpoint.e.trust.pins: 'x' is not a pin",
        "x.toml:12:5: error: endpoint.e.tls.max: is lower than tls.min",
        "x.toml:19:3: error: endpoint.s.host_key: \"MD5:00\": MD5 fingerprints are not accepted",
        "x.toml:21:1: error: endpoint.s.private_key: cannot be used: it is neither an OpenSSH key nor PEM",
    ] {
        assert_eq!(
            lines.iter().filter(|line| line.starts_with(expected)).count(),
            1,
            "{expected}\n{lines:#?}"
        );
    }
    assert_eq!(lines.len(), 6, "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains("config_invalid")), "{lines:#?}");
}

#[tokio::test]
async fn what_flows_ask_of_folders() {
    let desk = Desk::new();
    let flow = |source: &str, destination: &str| {
        format!(
            "[flow.f]\nsource = {{ endpoint = \"folder\", {source} }}\n[[flow.f.destination]]\nendpoint = \"out\"\n{destination}\n\
             [endpoint.out]\ntransport = \"file\"\nurl = \"file:///srv/waybill/out\"\n"
        )
    };
    let fine = "after = \"keep\", error_directory = \"/srv/waybill/bad\"";
    desk.told(&[
        (&flow("after = \"keep\"", ""), "x.toml:2:1: warning: flow.f.source: has no 'error_directory'"),
        (
            &flow(&format!("{fine}, every = \"10s\", stable_for = \"20s\""), ""),
            "warning: flow.f.source.every: is shorter than stable_for (20s): each file is listed by several polls before it is read",
        ),
        (
            &flow(fine, "temporary = \"yes\""),
            "error: flow.f.destination[1].temporary: must be \"none\", not \"yes\"",
        ),
        (&flow(fine, "overwrite = \"renam\""), "did you mean \"rename\"?"),
        (&flow(fine, "prefix = \"a/b\""), "x.toml:5:1: error: flow.f.destination[1].prefix: contains '/'"),
        (
            &flow(fine, "permissions = \"0999\""),
            "x.toml:5:1: error: flow.f.destination[1].permissions: '0999' cannot",
        ),
        (
            &flow(&format!("{fine}, temporary_suffix = \"a/b\""), "suffix = \"*\""),
            "error: flow.f.source.temporary_suffix: contains '/'",
        ),
    ]);
    assert!(desk.check(&flow(fine, "temporary = { suffix = \".part\" }")).0);
    let ordered = |order: &str| {
        flow(&format!("{fine}, order = \"{order}\""), "").replacen(
            "[flow.f]\n",
            "[flow.f]\nordered = true\n",
            1,
        )
    };
    let (valid, lines) = desk.check(&ordered("listing"));
    assert!(valid && lines.len() == 1, "{lines:#?}");
    assert!(
        lines[0].contains("x.toml:2:1: warning: flow.f.ordered: delivers files in the order in which"),
        "{lines:#?}"
    );
    assert_eq!(desk.check(&ordered("arrival")), (true, vec![]));
    let appending = |second: &str| {
        let append = "overwrite = \"append\"\nfile_name = \"all.csv\"";
        let flow = flow(fine, append).replacen("[flow.f]\n", "[flow.f]\nordered = true\n", 1);
        flow.replacen("source = {", "source = { order = \"arrival\",", 1)
            + &format!(
                "[[flow.f.destination]]\nname = \"second\"\nendpoint = \"out\"\noverwrite = \"append\"\n{second}\n"
            )
    };
    let (valid, lines) = desk.check(&appending("file_name = \"all.csv\""));
    assert!(
        !valid
            && lines.iter().any(|line| line.contains(
                "error: flow.f.destination[2].overwrite: is append, and destination 'out' of flow 'f'"
            )),
        "{lines:#?}"
    );
    let (valid, lines) = desk.check(&appending("file_name = \"other.csv\""));
    assert!(
        valid && lines.iter().any(|line| line.contains("see that they never have the same name")),
        "{lines:#?}"
    );
}

/// What is wrong with an identity is told there, and not once more at everything that needs one.
#[tokio::test]
async fn what_endpoints_say_of_webdav() {
    let desk = Desk::new();
    let all = "[credential.acme]\nusername = \"acme\"\npassword = \"${file:PEM/good.key}\"\n[endpoint.share]\ntransport = \"webdav\"\n\
        url = \"davs://share.globex.example/documents\"\nserver = \"sharepoint\"\nlock = true\nauthentication = \"bearer\"\n\
        credential = \"acme\"\n";
    let (valid, lines) = desk.check(all);
    assert!(valid && lines.is_empty(), "{lines:?}");
    let share = "[endpoint.share]\ntransport = \"webdav\"\nurl = \"dav://h/in\"\n";
    desk.told(&[
        (&format!("{share}authentication = \"bearer\"\n"), "no token is given"),
        (&format!("{share}username = \"u\"\npassword = \"${{file:PEM/good.key}}\"\n"), "unencrypted"),
        (&format!("{share}tls = {{ client_key = \"bare\" }}\n"), "over HTTPS only"),
        (&format!("{share}server = \"sharpoint\"\n"), "sharepoint"),
    ]);
}

#[tokio::test]
async fn a_mistake_is_told_once() {
    let desk = Desk::new();
    let text = "[listener.l]\ntransport = \"as2\"\nserver = \"partners\"\n";
    let alone = |identity: &str| {
        let (documents, _) = Documents::parse([("x.toml", format!("{text}{identity}").as_bytes())]);
        let (_, problems) = documents.examine(&desk.settings, &catalogue(&desk.settings), &now());
        problems.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let lines = alone("[identity.i.as2]\nid = \"I\"\nkeys = [\"missing\"]\n");
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("there is no key 'missing'"), "{lines:#?}");
    let lines = alone("");
    assert!(lines.len() == 1 && lines[0].contains("no identity has an AS2 name"), "{lines:#?}");
}

/// An import keeps what logs in on our side; each transport must say what that is.
#[tokio::test]
async fn every_secret_and_every_credential_is_a_login() {
    use model::schema::{Group, Kind, Section};
    fn is_login(kind: Kind) -> bool {
        match kind {
            Kind::Secret => true,
            Kind::Name(section) => [Section::CREDENTIAL, Section::KEY].contains(&section),
            Kind::List(kind) | Kind::Map(kind) => is_login(*kind),
            Kind::OneOf(kinds) => kinds.iter().any(|kind| is_login(*kind)),
            _ => false,
        }
    }
    fn walk(group: &Group, missing: &mut Vec<&'static str>) {
        for field in group.fields.iter().filter(|field| !field.login) {
            if is_login(field.kind) {
                missing.push(field.name);
            }
            below(field.kind, missing);
        }
    }
    fn below(kind: Kind, missing: &mut Vec<&'static str>) {
        match kind {
            Kind::Table(group) => walk(group, missing),
            Kind::List(kind) | Kind::Map(kind) => below(*kind, missing),
            Kind::OneOf(kinds) => kinds.iter().for_each(|kind| below(*kind, missing)),
            _ => {}
        }
    }
    let desk = Desk::new();
    let catalogue = catalogue(&desk.settings);
    let mut missing = Vec::new();
    for spec in catalogue.iter() {
        for group in spec.endpoint.iter().chain(spec.listener).copied().chain(spec.identity) {
            walk(group, &mut missing);
        }
    }
    let login = [Section::CREDENTIAL, Section::KEY];
    for spec in catalogue.sections().filter(|spec| !login.contains(&spec.section)) {
        walk(spec.group, &mut missing);
    }
    assert!(missing.is_empty(), "{missing:?}");
}

/// A preset that does not fit would silently be none at all; and a field says what it is for.
#[tokio::test]
async fn every_field_of_every_transport_is_declared_well() {
    use model::schema::{Field, Group, Kind, Values};
    fn walk(group: &Group) {
        for Field { name, kind, doc, .. } in group.fields {
            assert!(doc.ends_with('.') && doc.len() > 10, "{name}: {doc}");
            of_kind(*kind);
        }
        for field in group.fields {
            assert!(Values::default_of(field).is_ok(), "{}", field.name);
        }
    }
    fn of_kind(kind: Kind) {
        match kind {
            Kind::Table(group) => walk(group),
            Kind::List(kind) | Kind::Map(kind) => of_kind(*kind),
            Kind::OneOf(kinds) => kinds.iter().for_each(|kind| of_kind(*kind)),
            _ => {}
        }
    }
    let desk = Desk::new();
    for spec in catalogue(&desk.settings).iter() {
        let places = [spec.endpoint, spec.source, spec.received, spec.destination, spec.listener];
        for group in places.into_iter().flatten().copied().chain(spec.partner).chain(spec.identity) {
            walk(group);
        }
    }
}
