//! The JSON Schema for editors, against documents that are good and bad, by a checker that knows nothing of Waybill.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Whether the checker takes a document, and what it says.
fn checked(document: &Path) -> (bool, String) {
    let root = suites::repository();
    let output = Command::new(root.join("target/servers/venv/bin/check-jsonschema"))
        .arg("--schemafile")
        .arg(root.join("config/definitions.schema.json"))
        .arg(document)
        .output()
        .expect("check-jsonschema is installed by tests/servers/prepare.sh");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn the_examples_are_good_and_name_the_schema() {
    let mut count = 0;
    for entry in fs::read_dir(suites::repository().join("config/examples")).unwrap() {
        let path = entry.unwrap().path();
        let (good, said) = checked(&path);
        assert!(good, "{said}");
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("#:schema ../definitions.schema.json\n"), "{}", path.display());
        count += 1;
    }
    assert!(count >= 3);
}

#[test]
fn good_documents_pass_and_bad_ones_do_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.toml");
    let check = |text: &str| {
        fs::write(&path, text).unwrap();
        checked(&path)
    };
    let sftp = |rest: &str| {
        format!("[endpoint.e]\ntransport = \"sftp\"\nurl = \"sftp://h/\"\nusername = \"u\"\n{rest}\n")
    };
    let flow = |source: &str, destination: &str| {
        format!(
            "[flow.f]\nsource = {{ endpoint = \"e\", {source} }}\n[[flow.f.destination]]\nendpoint = \"o\"\n{destination}\n"
        )
    };
    for good in [
        sftp(
            "host_key = \"SHA256:x\"\nproxy = \"none\"\ntimeout = \"${env:T}\"\nconnections = \"${env:N:-4}\"",
        ),
        sftp("known_hosts = \"x\"\nproxy = \"corporate\""),
        flow("after = \"keep\"", "temporary = \"none\""),
        flow(
            "after = { archive = \"done\", timestamp = false }, mask = [\"a\", \"b\"]",
            "temporary = { suffix = \".part\" }",
        ),
        "[flow.f]\nsource = { listener = \"as2\", partner = \"p\" }\ndestination = { endpoint = \"o\" }\n"
            .into(),
        "[partner.p.as2]\nid = \"P\"\nsend = { cipher = \"aes128-cbc\" }\nreceive.largest = 4096\n".into(),
        // A reference in every kind of field that takes one.
        "[endpoint.e]\ntransport = \"sftp\"\nurl = { url = \"${env:U}\", weight = \"${env:W}\" }\nusername = \"${env:U}\"\n\
         password = \"${env:P}\"\nhost_key = \"${file:/k}\"\nproxy = \"${env:X}\"\ntimeout = \"${env:T}\"\n\
         connections = \"${env:N}\"\nnode = \"${env:NODE}\"\n\
         [flow.f]\nenabled = \"${env:B}\"\nsource = { endpoint = \"${env:E}\", mask = \"${env:M}\", order = \"${env:O}\", \
         after = \"${env:A}\", every = \"${env:T}\" }\n\
         destination = { endpoint = \"${env:E}\", overwrite = \"${env:O}\", temporary = \"${env:T}\", file_name = \"${env:F}\" }\n\
         [partner.p.as2]\nid = \"${env:I}\"\ncertificates = \"${env:C}\"\nreceive.largest = \"${env:L}\"\nlegacy = \"${env:B}\"\n"
            .into(),
        "[credential.c]\nusername = \"u\"\npassword = { kept = true }\n".into(),
        "[listener.l]\ntransport = \"as2\"\nserver = \"partners\"\n".into(),
    ] {
        let (good_one, said) = check(&good);
        assert!(good_one, "{good}\n{said}");
    }
    for (bad, words) in [
        (sftp("host_kye = \"x\""), "host_kye"),
        (sftp("host_key = \"x\"\nknown_hosts = \"x\""), "host_key"),
        (sftp("host_key = \"x\"\ntimeout = 60"), "60"),
        (sftp("host_key = \"x\"\nconnections = 99"), "99"),
        (sftp("host_key = \"x\"\npartner = \"p\""), "partner"),
        ("[endpoint.e]\ntransport = \"stfp\"\n".into(), "stfp"),
        ("[endpoint.E]\ntransport = \"file\"\nurl = \"file:///a\"\n".into(), "'E'"),
        ("[endpont.e]\ntransport = \"file\"\n".into(), "endpont"),
        (flow("after = { archive = \"a\", move = \"b\" }", ""), "after"),
        (flow("after = \"delte\"", ""), "delte"),
        (flow("after = \"keep\", evry = \"5s\"", ""), "evry"),
        (flow("after = \"keep\"", "overwrite = \"perhaps\""), "perhaps"),
        ("[partner.p.as2]\nid = \"P\"\nsend.cipher = \"rot13\"\n".into(), "rot13"),
        ("[listener.l]\ntransport = \"as2\"\n".into(), "server"),
    ] {
        let (good, said) = check(&bad);
        assert!(!good, "{bad}");
        assert!(said.contains(words), "{bad}\n{said}");
    }
}
