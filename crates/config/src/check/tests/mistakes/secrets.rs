use super::super::{BASE, catalogue, check, machine, roots};
use super::told;
use crate::{Documents, ReadFile, Severity};

/// Every field for a secret that there is: a document that ends where the value begins.
fn secret_fields() -> Vec<(String, &'static str)> {
    let sftp = |option: &str| {
        format!("[endpoint.e]\ntransport = \"sftp\"\nurl = \"sftp://h/\"\nhost_key = \"x\"\n{option} = ")
    };
    vec![
        ("[credential.c]\nusername = \"u\"\npassword = ".to_owned(), "credential.c.password"),
        ("[key.k]\nprivate_key = ".to_owned(), "key.k.private_key"),
        ("[key.k]\nprivate_key = \"${file:/pem/good.key}\"\npassphrase = ".to_owned(), "key.k.passphrase"),
        (sftp("password"), "endpoint.e.password"),
        (sftp("private_key"), "endpoint.e.private_key"),
        (sftp("passphrase"), "endpoint.e.passphrase"),
    ]
}

#[test]
fn a_secret_is_a_reference_and_nothing_else() {
    for (before, key) in secret_fields() {
        for value in [
            "hunter2",
            "$${env:HOST}hunter2",
            "hunter2${env:PASSWORD}",
            "${file:/secret/password}hunter2",
            "${env:UNSET:-hunter2}",
            "${env:PASSWORD:-hunter2}",
            "-----BEGIN PRIVATE KEY-----\\nhunter2",
        ] {
            let expected = format!("error: {key}: contains a secret in plain text");
            told(&[(&format!("{before}\"{value}\""), &expected)]);
        }
    }
    let (definitions, problems) = check("[credential.c]\nusername = \"u\"\npassword = \"${env:PASSWORD}\"");
    assert!(definitions.is_some() && problems.is_empty(), "{problems:#?}");
}

#[test]
fn with_a_master_key_secrets_may_stand_in_documents_and_are_told_each_time() {
    let mut allowing = roots();
    allowing.inline_secrets = true;
    let text = "[credential.c]\nusername = \"u\"\npassword = \"hunter2\"";
    let (documents, _) = Documents::parse([("x.toml", text.as_bytes())]);
    let (definitions, problems) = documents.check(&catalogue(), &allowing, &machine());
    assert_eq!(definitions.unwrap().credentials["c"].password.reveal(), "hunter2");
    assert_eq!((problems.len(), problems[0].severity), (1, Severity::Warning), "{problems:#?}");
    assert!(problems[0].message.contains("stores it encrypted") && !problems[0].message.contains("hunter2"));
}

#[test]
fn a_secret_in_the_query_of_a_url_is_told() {
    let url = |url: &str| {
        format!(
            "[endpoint.e]\ntransport = \"as2\"\nurl = \"{url}\"\npartner = \"globex\"\nidentity = \"acme\""
        )
    };
    for query in ["token=hunter2", "x=1&API_KEY=hunter2", "sig=hunter2", "access_token=hunter2"] {
        told(&[(&url(&format!("https://h/as2?{query}")), "x.toml:3:7: warning: endpoint.e.url: has '")]);
    }
    for plain in ["https://h/as2?in=1&monkey=2", "https://h/as2?token=${env:SHOWN}"] {
        let (definitions, problems) = check(&url(plain));
        assert!(definitions.is_some() && problems.is_empty(), "{plain}: {problems:#?}");
    }
}

/// Fields that are shown, each a document with `VALUE` where the value stands.
const SHOWN: &[&str] = &[
    "[identity.i.as2]\nid = \"VALUE\"\nkeys = [\"ours\"]",
    "[partner.p.as2]\nid = \"VALUE\"\ncertificates = [\"theirs\"]",
    "[partner.p.as2]\nid = \"P\"\ncertificates = [\"VALUE\"]",
    "[partner.p.as2]\nid = \"P\"\ncertificates = [\"theirs\"]\nsend.cipher = \"VALUE\"",
    "[credential.c]\nusername = \"VALUE\"\npassword = \"${env:PASSWORD}\"",
    "[endpoint.e]\ntransport = \"VALUE\"",
    "[endpoint.e]\ntransport = \"sftp\"\nurl = \"VALUE\"\nhost_key = \"x\"",
    "[endpoint.e]\ntransport = \"sftp\"\nurl = \"VALUE://h/x\"\nhost_key = \"x\"",
    "[endpoint.e]\ntransport = \"sftp\"\nurl = \"sftp://VALUE:x/\"\nhost_key = \"x\"",
    "[endpoint.e]\ntransport = \"sftp\"\nurl = \"sftp://VALUE@h/\"\nhost_key = \"x\"",
    "[endpoint.e]\ntransport = \"file\"\nurl = \"file:///VALUE\"",
    "[endpoint.e]\ntransport = \"sftp\"\nurl = \"sftp://h/\"\nnode = \"VALUE!\"\nhost_key = \"x\"",
    "[endpoint.e]\ntransport = \"sftp\"\nurl = \"sftp://h/\"\nhost_key = \"x\"\ntimeout = \"VALUE\"",
    "[endpoint.e]\ntransport = \"sftp\"\nurl = \"sftp://h/\"\nhost_key = \"x\"\nstrict = \"VALUE\"",
    "[endpoint.e]\ntransport = \"sftp\"\nurl = \"sftp://h/\"\nhost_key = \"x\"\ncompression = \"VALUE\"",
    "[endpoint.e]\ntransport = \"file\"\nurl = \"file:///srv/a\"\nsuffix = \"VALUE\"",
    "[flow.f]\nsource = { endpoint = \"VALUE\", after = \"keep\" }\n[[flow.f.destination]]\nendpoint = \"folder\"",
    "[flow.f]\nsource = { endpoint = \"orders\", after = \"VALUE\" }\n[[flow.f.destination]]\nendpoint = \"folder\"",
    "[flow.f]\nsource = { endpoint = \"orders\", after = { move = \"VALUE\" } }\n[[flow.f.destination]]\nendpoint = \"folder\"",
    "[flow.f]\nsource = { endpoint = \"folder\", after = \"keep\", error_directory = \"/VALUE\" }\n[[flow.f.destination]]\nendpoint = \"globex-as2\"",
    "[flow.f]\nsource = { endpoint = \"orders\", after = \"keep\", mask = [\"VALUE(\"], mask_is_regex = true }\n[[flow.f.destination]]\nendpoint = \"folder\"",
    "[flow.f]\nsource = { endpoint = \"orders\", after = \"keep\", order = \"VALUE\" }\n[[flow.f.destination]]\nendpoint = \"folder\"",
    "[flow.f]\nsource = { listener = \"VALUE\" }\n[[flow.f.destination]]\nendpoint = \"folder\"",
    "[flow.f]\nsource = { endpoint = \"orders\", after = \"keep\" }\n[[flow.f.destination]]\nendpoint = \"folder\"\nname = \"VALUE!\"",
    "[flow.f]\nsource = { endpoint = \"orders\", after = \"keep\" }\n[[flow.f.destination]]\nendpoint = \"folder\"\nfile_name = \"{VALUE}\"",
];

#[test]
fn a_file_goes_into_no_field_that_is_shown() {
    for document in SHOWN {
        let text = document.replace("VALUE", "${file:/secret/password}");
        told(&[(&text, "cannot use ${file:…}, because this field is shown in lists and messages")]);
        // A private key has many lines, and any of them would be too much.
        let text = document.replace("VALUE", "${file:/pem/good.key}");
        let (definitions, problems) = check(&text);
        let lines = format!("{problems:?}");
        assert!(
            definitions.is_none() && !lines.contains("BEGIN") && !lines.contains("MII"),
            "{text}\n{lines}"
        );
    }
}

#[test]
fn a_variable_for_secrets_goes_into_no_field_that_is_shown() {
    for document in SHOWN {
        let text = document
            .replace("VALUE", "${env:PASSWORD}")
            .replace("password = \"${env:PASSWORD}\"", "password = \"${file:/secret/password}\"");
        told(&[(&text, "the variable PASSWORD is listed in roots.secret_variables in waybill.toml")]);
        let text = document.replace("VALUE", "${env:PASSWORD:-x}");
        told(&[(&text, "the variable PASSWORD is listed in roots.secret_variables in waybill.toml")]);
    }
}

/// What a variable holds is not repeated, whatever is wrong with it: the reference is named.
#[test]
fn no_message_shows_what_a_variable_holds() {
    let mut named = 0;
    for document in SHOWN {
        let (_, problems) = check(&document.replace("VALUE", "${env:SHOWN}"));
        for problem in problems {
            assert!(!problem.message.to_lowercase().contains("shownvalue"), "{document}\n{problem}");
            named += usize::from(problem.message.contains("${env:SHOWN}"));
        }
    }
    assert!(named >= 15, "{named}");
}

#[test]
fn a_variable_is_a_secret_or_shown_never_both() {
    let both = "[credential.c]\nusername = \"${env:HOST}\"\npassword = \"${env:HOST}\"";
    told(&[
        (
            both,
            "x.toml:2:12: error: credential.c.username: would show the variable HOST, which credential.c.password uses as a secret",
        ),
        (
            both,
            "warning: credential.c.password: the variable HOST contains a secret, but roots.variables allows it in every field",
        ),
    ]);
}

#[test]
fn files_that_anybody_may_see_are_checked_to_be_that() {
    let certificate = |file: &str| format!("[certificate.c]\npem = \"${{file:{file}}}\"");
    let key = |file: &str| {
        format!("[key.k]\nprivate_key = \"${{file:/pem/good.key}}\"\ncertificate = \"${{file:{file}}}\"")
    };
    let sftp = |option: &str, file: &str| {
        let pin = if option == "host_key" { "" } else { "host_key = \"x\"\n" };
        format!(
            "[endpoint.e]\ntransport = \"sftp\"\nurl = \"sftp://h/\"\n{pin}{option} = \"${{file:{file}}}\""
        )
    };
    for (text, key) in [
        (certificate("/secret/password"), "certificate.c.pem"),
        (key("/secret/password"), "key.k.certificate"),
        (sftp("host_key", "/secret/password"), "endpoint.e.host_key"),
        (sftp("known_hosts", "/secret/password"), "endpoint.e.known_hosts"),
        (sftp("host_key", "/pem/good.pem"), "endpoint.e.host_key"),
    ] {
        let file = if text.contains("/secret/password") { "/secret/password" } else { "/pem/good.pem" };
        told(&[
            (&text, &format!("error: {key}: must be ")),
            (&text, &format!("the value of ${{file:{file}}} is not")),
        ]);
    }
    for file in ["/pem/good.key", "/pem/locked.key", "/secret/ssh", "/pem/beside.pem"] {
        for text in [certificate(file), key(file), sftp("host_key", file), sftp("known_hosts", file)] {
            told(&[(&text, ": contains a private key, and this field is shown")]);
        }
    }
    for text in [
        certificate("/pem/good.pem"),
        sftp("host_key", "/secret/host.pub"),
        sftp("known_hosts", "/secret/known_hosts"),
    ] {
        let (definitions, problems) = check(&text);
        assert!(definitions.is_some() && problems.is_empty(), "{text}\n{problems:#?}");
    }
    // What stood beside a certificate does not go with it.
    let (definitions, problems) = check(&certificate("/pem/noted.pem"));
    assert!(problems.is_empty(), "{problems:#?}");
    let pem = &definitions.unwrap().certificates["c"].pem;
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\n") && !pem.contains("hunter2"), "{pem}");
}

#[test]
fn a_private_key_is_refused_wherever_it_is_written() {
    // Text is not looked at where none may stand.
    for document in SHOWN.iter().filter(|document| !document.contains("strict")) {
        let (definitions, problems) =
            check(&document.replace("VALUE", "-----BEGIN RSA PRIVATE KEY-----hunter2"));
        let lines = format!("{problems:#?}");
        assert!(
            definitions.is_none() && lines.contains("contains a private key") && !lines.contains("hunter2"),
            "{document}\n{lines}"
        );
    }
}

#[test]
fn files_of_other_kinds_are_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("secrets");
    std::fs::create_dir(&root).unwrap();
    let made = std::process::Command::new("mkfifo").arg(root.join("pipe")).status().unwrap();
    assert!(made.success());
    std::fs::write(root.join("huge"), vec![b'x'; (1 << 20) + 1]).unwrap();
    std::os::unix::fs::symlink("/dev/zero", root.join("device")).unwrap();
    std::os::unix::fs::symlink("..", root.join("up")).unwrap();
    std::fs::write(directory.path().join("outside"), "hunter2").unwrap();
    let environment = crate::ProcessEnvironment::at(crate::Environment::now(&machine()));
    let bounded = crate::Roots::new([], [], [root.clone()]);
    for (name, expected) in [
        ("pipe", "it is not a regular file"),
        ("huge", "is larger than 1 MiB"),
        ("device", "a symbolic link leads to /dev/zero, outside roots.secrets"),
        ("up/outside", "outside roots.secrets"),
        ("../outside", "contains '..'"),
    ] {
        let text = format!(
            "[credential.c]\nusername = \"u\"\npassword = \"${{file:{}}}\"",
            root.join(name).display()
        );
        let (documents, _) = Documents::parse([("x.toml", text.as_bytes())]);
        let (definitions, problems) = documents.check(&catalogue(), &bounded, &environment);
        assert!(definitions.is_none() && problems[0].message.contains(expected), "{name}: {problems:#?}");
        assert!(!problems[0].message.contains("hunter2"));
    }
    // A document itself, likewise.
    let definitions = directory.path().join("definitions");
    std::fs::create_dir(&definitions).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(definitions.join("x.toml")).status().unwrap().success());
    let (_, problems) = Documents::read(&definitions);
    assert!(problems[0].message.contains("not a regular file"), "{problems:#?}");
    let read = crate::Environment::read(&environment, &root.join("huge"), 3);
    assert!(matches!(read, Ok(ReadFile { bytes, .. }) if bytes == b"xxx"));
}

#[test]
fn what_is_stored_holds_references_alone() {
    let text = "[endpoint.e]\ntransport = \"sftp\"\nurl = \"sftp://${env:SHOWN}/\"\nusername = \"u\"\nhost_key = \"x\"\npassword = \"${env:PASSWORD}\"";
    let (documents, _) = Documents::parse([("base.toml", BASE.as_bytes()), ("x.toml", text.as_bytes())]);
    let (definitions, problems) = documents.check(&catalogue(), &roots(), &machine());
    assert!(problems.is_empty(), "{problems:#?}");
    assert_eq!(definitions.unwrap().endpoints["e"].url().unwrap().host_str(), Some("shownvalue"));
    let stored = serde_json::to_string(&documents.definitions("/etc/flows")).unwrap();
    for value in ["hunter2", "shownvalue", "BEGIN"] {
        assert!(!stored.contains(value), "{stored}");
    }
    assert!(stored.contains("${env:SHOWN}") && stored.contains("${env:PASSWORD}"));
}
