use super::{Report, validate};
use crate::check::fixture::{NOW, catalogue, machine};
use crate::{ProcessEnvironment, Settings, reference_markdown};
use model::schema::{Field, Group, Kind};
use std::fs;
use std::path::{Path, PathBuf};

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config").join(name)
}

fn settings(text: &str) -> Settings {
    let mut machine = machine();
    let key = openssl::base64::encode_block(&[7; 32]).into_bytes();
    machine.files.insert("/etc/waybill/master.key".into(), (key, false));
    Settings::parse(Path::new("/etc/waybill/waybill.toml"), text.as_bytes(), [], &machine).unwrap().0
}

/// Files with these texts in a directory of their own, checked on the real machine.
fn report(files: &[(&str, &str)]) -> (tempfile::TempDir, Report) {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let environment = ProcessEnvironment::at(model::Timestamp::from_timestamp(NOW, 0).unwrap());
    let settings = settings(&format!("roots.secrets = [{:?}]", directory.path()));
    let report = validate(directory.path(), &settings, &catalogue(), &environment);
    (directory, report)
}

#[test]
fn a_listener_needs_a_server_that_the_settings_have() {
    let text = "[listener.l]\ntransport = \"as2\"\nserver = \"partnrs\"\n";
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.toml"), text).unwrap();
    let check = |settings_text: &str| {
        let report = validate(directory.path(), &settings(settings_text), &catalogue(), &machine());
        (report.is_valid(), report.to_string())
    };
    let (valid, words) = check("[listen.http.partners]\naddress = \"127.0.0.1:8080\"\n");
    let expected = "a.toml:3:1: error: listener.l.server: waybill.toml has no [listen.http.partnrs]; did you mean 'partners'?";
    assert!(!valid && words.contains(expected), "{words}");
    let (valid, words) = check("[listen.http.partnrs]\naddress = \"127.0.0.1:8080\"\n");
    assert!(valid, "{words}");
    // A certificate that a server without TLS cannot show.
    fs::write(
        directory.path().join("a.toml"),
        format!("{text}certificate = \"k\"\n[key.k]\nprivate_key = {{ kept = true }}\n"),
    )
    .unwrap();
    let (valid, words) = check("[listen.http.partnrs]\naddress = \"127.0.0.1:8080\"\n");
    let expected = "a.toml:4:1: error: listener.l.certificate: cannot be shown: [listen.http.partnrs] in waybill.toml does no TLS";
    assert!(!valid && words.contains(expected), "{words}");
}

#[test]
fn a_secret_that_the_database_keeps_is_passed_over() {
    let text = "[credential.c]\nusername = \"u\"\npassword = { kept = true }\n[key.k]\nprivate_key = { kept = true }\n\
                [endpoint.e]\ntransport = \"sftp\"\nurl = \"sftp://h/\"\nhost_key = \"k\"\ncredential = \"c\"\nkey = \"k\"\n";
    let (_keep, report_kept) = report(&[("a.toml", text)]);
    let words = report_kept.to_string();
    assert!(report_kept.is_valid() && report_kept.definitions.is_none(), "{words}");
    assert!(
        words.contains("a.toml:3:12: warning: credential.c.password: is known only to the database"),
        "{words}"
    );
    assert!(!words.contains("error:") && !words.contains("PEM"), "{words}");
    for (wrong, said) in [
        ("{ kept = false }", "must be a secret"),
        ("{ kept = true, more = 1 }", "must be a secret"),
        ("{ kept = \"0195\" }", "not the id of a secret"),
    ] {
        let (_keep, report) = report(&[("a.toml", &text.replacen("{ kept = true }", wrong, 1))]);
        assert!(!report.is_valid() && report.to_string().contains(said), "{wrong}: {report}");
    }
    // Only where a secret belongs.
    let (_keep, report) = report(&[("a.toml", &text.replace("\"u\"", "{ kept = true }"))]);
    assert!(!report.is_valid(), "{report}");
}

#[test]
fn the_shipped_settings_are_the_defaults_and_name_every_key() {
    let text = fs::read_to_string(shipped("waybill.toml")).unwrap();
    let shown = format!("{:?}", settings(&text));
    assert_eq!(shown, format!("{:?}", settings("")), "what is not commented out changes nothing");
    // A comment that reads `#key = …` or `#[table]` is a line to be used; two URLs would be one too many.
    let used: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("#url = \"postgres"))
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .collect();
    let used = used.join("\n");
    let all = settings(&used);
    assert_eq!(all.listen.http.len(), 1);
    for field in declared(&crate::settings::SETTINGS) {
        assert!(used.contains(&format!("{field} = ")), "{field} is not shown in waybill.toml");
    }
}

fn declared(group: &Group) -> Vec<&'static str> {
    let below = |field: &Field| match field.kind {
        Kind::Table(group) => declared(group),
        Kind::Map(Kind::Table(group)) => declared(group),
        _ => vec![field.name],
    };
    group.fields.iter().flat_map(below).collect()
}

#[test]
fn a_report_names_file_and_line_and_counts() {
    let (directory, report) = report(&[
        ("b.toml", "[flow.f]\nsorce = 1\n"),
        ("a.toml", "[credential.c]\nusername = \"u\"\npassword = \"hunter2\"\n"),
        ("notes.txt", "not read"),
        (".hidden.toml", "not read"),
        ("more/c.toml", "not read"),
    ]);
    assert!(!report.is_valid());
    let text = report.to_string().replace(&directory.path().display().to_string(), "DIR");
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0]
            .starts_with("DIR/a.toml:3:12: error: credential.c.password: contains a secret in plain text"),
        "{text}"
    );
    assert!(lines[1].starts_with("DIR/b.toml:1:7: error: flow.f: 'destination' is missing"), "{text}");
    assert!(
        lines[3].starts_with("DIR/b.toml:2:1: error: flow.f: unknown key 'sorce'; did you mean 'source'?"),
        "{text}"
    );
    assert!(lines[4].starts_with("DIR/more: warning: is not read"), "{text}");
    assert_eq!(lines[5], "2 definitions in 2 files: 4 errors, 1 warning");
    let json = report.to_json();
    assert_eq!((&json["valid"], &json["errors"], &json["warnings"]), (&false.into(), &4.into(), &1.into()));
    assert_eq!(json["problems"][0]["line"], 3);
    assert_eq!(json["problems"][0]["severity"], "error");
    assert!(!json.to_string().contains("hunter2") && !format!("{report:?}").contains("hunter2"));
}

#[test]
fn a_file_in_another_coding_and_a_directory_that_is_not_there() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.toml"), b"# ok\nx = \"\xe9\"").unwrap();
    let report = validate(directory.path(), &settings(""), &catalogue(), &machine());
    assert!(
        report.problems[0].to_string().ends_with("a.toml:2:6: error: is not UTF-8, as TOML must be"),
        "{report}"
    );
    let nowhere = validate(&directory.path().join("none"), &settings(""), &catalogue(), &machine());
    assert!(!nowhere.is_valid() && nowhere.problems[0].message.starts_with("cannot be listed"));
    let empty = tempfile::tempdir().unwrap();
    let report = validate(empty.path(), &settings(""), &catalogue(), &machine());
    assert!(report.is_valid() && report.problems[0].message.contains("no *.toml file"));
}

#[test]
fn the_reference_page_names_everything() {
    let page = reference_markdown(&catalogue());
    for words in [
        "### Top level",
        "### `[listen.http.NAME]`",
        "### `[partner.NAME]`",
        "#### `[partner.NAME.as2]`",
        "##### `[partner.NAME.as2.send]`",
        "### `[[flow.NAME.destination]]`",
        "### `[flow.NAME.source.retry]`",
        "| `id` | text | required |",
        "| `every` | a duration such as \"30s\" | `60s` |",
        "| `host_key` | a host key or a list of them | required |",
        "### `transport = \"as2\"`",
    ] {
        assert!(page.contains(words), "{words}\n{page}");
    }
    assert_eq!(page, reference_markdown(&catalogue()));
}
