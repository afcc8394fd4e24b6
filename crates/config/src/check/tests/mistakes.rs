mod endpoints;
mod failure;
mod flows;
mod limits;
mod overlaps;
mod partners;
mod proxies;
mod secrets;
mod streams;
mod taken;

use super::check;
use crate::Severity;
use proptest::prelude::*;

/// Checks each text and looks for a line with the expected words.
fn told(table: &[(&str, &str)]) {
    for (text, expected) in table {
        let (definitions, problems) = check(text);
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(lines.iter().any(|line| line.contains(expected)), "{text}\nexpected: {expected}\n{lines:#?}");
        assert!(!lines.iter().any(|line| line.contains("hunter2")), "a secret is shown: {lines:#?}");
        let error = problems.iter().any(|problem| problem.severity == Severity::Error);
        assert_eq!(
            definitions.is_none(),
            error,
            "{text}
{lines:#?}"
        );
    }
}

#[test]
fn names_and_sections() {
    told(&[
        (
            "[endpont.x]\n",
            "x.toml:1:2: error: unknown kind of definition 'endpont'; did you mean 'endpoint'?",
        ),
        ("[listen]\n", "x.toml:1:2: error: 'listen' is a setting of the gateway; write it in waybill.toml"),
        ("flow = 1\n", "x.toml:1:8: error: flow: must be tables, written [flow.NAME]"),
        ("[flow]\nf = 1\n", "x.toml:2:5: error: flow.f: must be a table, not a whole number"),
        ("[flow.\"A b\"]\n", "x.toml:1:7: error: flow: the name \"A b\" cannot be used: 1 to 64 of a-z"),
        ("[flow.\"..\"]\n", "x.toml:1:7: error: flow: the name \"..\" cannot be used"),
        (
            "\n[identity.acme]\ntitle = \"B\"",
            "x.toml:2:11: error: identity.acme: is defined twice: first in base.toml:7",
        ),
        (
            "[credential.a]\nusername=\"u\"\n[credential.a]\n",
            "x.toml:3:13: error: duplicate key: first written on line 1",
        ),
        ("[flow.f\n", "x.toml:1:8: error: unclosed table"),
        (
            "[credential.a]\nusername = 1.5\n",
            "x.toml:2:12: error: credential.a.username: cannot be a number with a fraction",
        ),
        ("[credential.a]\nusername = 2020-01-01\n", "error: credential.a.username: cannot be a date"),
        (
            "[credential.a]\nusername = 99999999999999999999\n",
            "x.toml:2:12: error: credential.a.username: is a larger number",
        ),
    ]);
}

#[test]
fn references() {
    let password = |text: &str| format!("[credential.c]\nusername = \"u\"\npassword = \"{text}\"");
    let table = [
        (
            "${env:HOME}",
            "x.toml:3:12: error: credential.c.password: the variable HOME is not listed in roots.secret_variables",
        ),
        ("${env:HOTS}", "not listed in roots.secret_variables in waybill.toml; did you mean HOST?"),
        ("${env:UNSET}", " error: credential.c.password: the variable UNSET is not set"),
        (
            "${file:/etc/shadow}",
            " error: credential.c.password: /etc/shadow is outside the directories in roots.secrets",
        ),
        (
            "${file:/secret/../etc/shadow}",
            " error: credential.c.password: /secret/../etc/shadow contains '..'",
        ),
        ("${file:secret}", " error: credential.c.password: secret is not an absolute path"),
        ("${file:/secret/none}", " error: credential.c.password: cannot read /secret/none: no such file"),
        (
            "${file:/secret/link}",
            " error: credential.c.password: a symbolic link leads to /elsewhere/password",
        ),
        ("${file:/secret/latin1}", " error: credential.c.password: /secret/latin1 is not UTF-8"),
        ("${file:/secret/huge}", " error: credential.c.password: /secret/huge is larger than 1 MiB"),
        (
            "${fiel:/secret/x}",
            " error: credential.c.password: '${…}' is not a reference; did you mean '${file:…}'",
        ),
        ("${env:HOST", " error: credential.c.password: '${' has no closing"),
        ("${hunter2}", " error: credential.c.password: '${…}' is not a reference"),
        (
            "${file:/secret/open}",
            "warning: credential.c.password: every user of this machine can read /secret/open",
        ),
    ];
    for (text, expected) in table {
        told(&[(&password(text), expected)]);
    }
    // What a reference brings is not shown when it does not fit.
    let endpoint = "[endpoint.e]\ntransport = \"sftp\"\nurl = \"sftp://h/\"\nhost_key = \"x\"\nretries = \"${file:/secret/password}\"";
    told(
        &[(
            endpoint,
            "x.toml:5:11: error: endpoint.e.retries: cannot use ${file:…}, because this field is shown",
        )]
        .map(|(text, words)| (text, words)),
    );
}

#[test]
fn everything_is_told_at_once_and_once() {
    let text = "[endpoint.e]\ntransport = \"sftp\"\nurl = \"x\"\nusrname = \"u\"\n[partner.p]\nas2 = 1\n[flow.f]\nsource = { endpoint = \"e\", after = \"keep\" }\n[[flow.f.destination]]\nendpoint = \"nowhere\"";
    let (_, problems) = check(text);
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(lines.len(), 5, "{lines:#?}");
    assert!(problems.is_sorted());
}

#[test]
fn a_broken_file_hides_no_other_and_invents_nothing() {
    let (definitions, problems) = check("[endpoint.e]\ntransport = \"sftp\nurl = \"sftp://h/\"\n[endpnt.x]");
    assert!(definitions.is_none());
    assert!(problems.iter().all(|problem| problem.key.is_empty()), "{problems:#?}");
    let (_, problems) =
        check("\u{feff}[credential.c]\nusername = \"u\"\npassword = \"${file:/secret/password}\"");
    assert!(problems.is_empty(), "{problems:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (documents, _) = crate::Documents::parse([("x.toml", &bytes[..])]);
        let _ = documents.check(&super::catalogue(), &super::roots(), &super::machine());
    }

    #[test]
    fn no_document_panics(lines in proptest::collection::vec(line(), 0..12)) {
        let text = lines.join("\n");
        let (_, problems) = check(&text);
        for problem in problems {
            prop_assert!(!problem.to_string().contains("hunter2"));
        }
    }
}

/// Lines out of which half-sensible documents come.
fn line() -> impl Strategy<Value = String> {
    let words = "(endpoint|flow|partner|key|identity|certificate|source|destination|url|after|every|mask|as2|orders|globex|a|\"\")";
    let value = prop_oneof![
        Just("\"sftp://${env:HOST}/x\"".to_owned()),
        Just("\"${file:/secret/password}\"".to_owned()),
        Just("{ endpoint = \"orders\", after = \"keep\" }".to_owned()),
        Just("[[1], {}]".to_owned()),
        "\"[${}:a-z/é*]{0,8}\"",
        "-?[0-9]{1,20}",
        Just("true".to_owned()),
    ];
    prop_oneof![
        (words, words).prop_map(|(kind, name)| format!("[{kind}.{name}]")),
        (words, words, words).prop_map(|(kind, name, list)| format!("[[{kind}.{name}.{list}]]")),
        (words, value).prop_map(|(key, value)| format!("{key} = {value}")),
        ".{0,20}",
    ]
}
