use super::{Report, validate};
use crate::check::fixture::{DAY, NOW, catalogue, certificate, machine};
use crate::settings::Listen;
use crate::{ProcessEnvironment, Settings, reference_markdown};
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config").join(name)
}

fn settings(text: &str) -> Settings {
    Settings::parse(Path::new("/etc/waybill/waybill.toml"), text.as_bytes(), [], &machine()).unwrap().0
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
fn the_examples_are_valid_with_keys_of_ones_own() {
    let directory = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(directory.path().join(name), bytes).unwrap();
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    put("acme-2026.key", &key.private_key_to_pem_pkcs8().unwrap());
    put("acme-2026.pem", &certificate(&key, NOW - DAY, NOW + 400 * DAY));
    put("globex-2026.pem", &certificate(&key, NOW - DAY, NOW + 400 * DAY));
    put("acme_key", &key.private_key_to_pem_pkcs8().unwrap());
    for secret in ["acme-2026.key", "acme_key"] {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(directory.path().join(secret), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let definitions = tempfile::tempdir().unwrap();
    let here = directory.path().display().to_string();
    for entry in fs::read_dir(shipped("examples")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let text = text.replace("/etc/waybill", &here).replace("/run/secrets", &here);
        fs::write(definitions.path().join(path.file_name().unwrap()), text).unwrap();
    }
    let settings = settings(&format!(
        "[listen.http.partners]\naddress = \"127.0.0.1:8080\"\n[roots]\nfiles = [\"/srv/waybill\"]\nvariables = [\"ACME_HOST\"]\nsecrets = [{here:?}]"
    ));
    let environment = ProcessEnvironment::at(model::Timestamp::from_timestamp(NOW, 0).unwrap());
    let report = validate(definitions.path(), &settings, &catalogue(), &environment);
    assert!(report.is_valid() && report.problems.is_empty(), "{report}");
    assert_eq!(report.to_string(), "11 definitions in 3 files: 0 errors, 0 warnings");
    // Without an address to listen on, what would be received is told where it stands.
    let deaf = Settings { listen: Listen { http: BTreeMap::new(), ..settings.listen }, ..settings };
    let report = validate(definitions.path(), &deaf, &catalogue(), &environment);
    assert_eq!((report.is_valid(), report.problems.len()), (false, 1), "{report}");
    let problem = report.problems[0].to_string();
    let line = fs::read_to_string(shipped("examples/inbound.toml"))
        .unwrap()
        .lines()
        .position(|line| line.contains("listener = \"as2\""))
        .unwrap();
    assert!(problem.contains(&format!("inbound.toml:{}:", line + 1)), "{problem}");
    assert!(problem.contains("flow.inbound.source.listener: receives by 'as2'"), "{problem}");
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
    for field in declared(crate::settings::SETTINGS) {
        assert!(used.contains(&format!("{field} = ")), "{field} is not shown in waybill.toml");
    }
}

fn declared(fields: &[crate::Field]) -> Vec<&'static str> {
    let below = |field: &crate::Field| match field.kind {
        crate::FieldKind::Table(fields) | crate::FieldKind::Named(fields) => declared(fields),
        _ => vec![field.name],
    };
    fields.iter().flat_map(below).collect()
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
        lines[0].starts_with("DIR/a.toml:3:12: error: credential.c.password: holds a secret in clear"),
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
        "### `[[flow.NAME.destination]]`",
        "### `[flow.NAME.source.retry]`",
        "| `as2_id` | text | required |",
        "| `every` | a duration such as \"30s\" | `60s` |",
        "| `host_key` | a host key or a list of them | required |",
        "### `transport = \"as2\"`",
    ] {
        assert!(page.contains(words), "{words}\n{page}");
    }
    assert_eq!(page, reference_markdown(&catalogue()));
}
