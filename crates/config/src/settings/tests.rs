use super::{LogFormat, Settings};
use crate::environment::ProcessEnvironment;
use crate::problem::Problem;
use model::{ClientCertificates, TlsVersion};
use std::path::{Path, PathBuf};
use std::time::Duration;

fn environment() -> ProcessEnvironment {
    ProcessEnvironment::at(model::Timestamp::from_timestamp(1_800_000_000, 0).unwrap())
}

fn parse(text: &str, variables: &[(&str, &str)]) -> Result<(Settings, Vec<Problem>), Vec<Problem>> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Settings::parse(Path::new("/etc/waybill/waybill.toml"), text.as_bytes(), variables, &environment())
}

#[test]
fn nothing_written_is_a_whole_node_on_loopback() {
    let (settings, problems) = parse("", &[]).unwrap();
    assert!(problems.is_empty());
    assert!(settings.listen.console.ip().is_loopback());
    assert!(settings.listen.http.is_empty() && !settings.egress.allow_loopback);
    assert_eq!(settings.state_directory, PathBuf::from("/etc/waybill/state"));
    assert_eq!(settings.staging.directory, PathBuf::from("/etc/waybill/state/staging"));
    assert_eq!(settings.database.url.reveal(), "sqlite:///etc/waybill/state/waybill.db");
    assert_eq!(settings.limits.buffers, 256 << 20);
    assert_eq!(settings.log.format, LogFormat::Text);
    assert_eq!(settings.audit.retention_months, None);
}

#[test]
fn variables_stand_over_the_file() {
    let text = "[node]\nname = \"a\"\n[listen.http.partners]\naddress = \"0.0.0.0:4080\"";
    let variables = [
        ("WAYBILL__NODE__NAME", "b"),
        ("WAYBILL__NODE__LEASE", "1m"),
        ("WAYBILL__STATE_DIRECTORY", "/var/lib/waybill"),
        ("WAYBILL__DATABASE__URL", "sqlite:../data/w.db?mode=rwc"),
        ("WAYBILL__LIMITS__DELIVERIES", "64"),
        ("WAYBILL__EGRESS__ALLOW_LOOPBACK", "true"),
        ("WAYBILL__ROOTS__FILES", "/srv/a, in/../out"),
        ("WAYBILL__LISTEN__HTTP__OTHER__ADDRESS", "[::1]:4081"),
        ("WAYBILL__LOG__FORMAT", "json"),
        ("WAYBILL_OTHER", "ignored"),
        ("HOME", "/root"),
    ];
    let (settings, problems) = parse(text, &variables).unwrap();
    assert!(problems.iter().any(|problem| problem.to_string().contains("'?' has no effect")), "{problems:?}");
    assert_eq!(settings.node.as_str(), "b");
    assert_eq!(settings.lease, Duration::from_secs(60));
    assert_eq!(settings.staging.directory, PathBuf::from("/var/lib/waybill/staging"));
    assert_eq!(settings.database.url.reveal(), "sqlite:///etc/data/w.db");
    assert_eq!(settings.limits.deliveries, 64);
    assert!(settings.egress.allow_loopback);
    assert_eq!(settings.roots.files, [PathBuf::from("/srv/a"), PathBuf::from("/etc/waybill/out")]);
    assert_eq!(settings.listen.http.len(), 2);
    assert_eq!(settings.log.format, LogFormat::Json);
}

#[test]
fn an_agent_is_used_only_where_its_socket_is_set() {
    let socket = |text: &str, variables: &[(&str, &str)]| parse(text, variables).unwrap().0.roots.ssh_agent;
    assert_eq!(socket("", &[]), None);
    assert_eq!(
        socket("[roots]\nssh_agent = \"agent.sock\"", &[]),
        Some(PathBuf::from("/etc/waybill/agent.sock"))
    );
    let variable = [("WAYBILL__ROOTS__SSH_AGENT", "/run/agent.sock")];
    assert_eq!(socket("", &variable), Some(PathBuf::from("/run/agent.sock")));
}

#[test]
fn a_state_directory_may_have_any_name() {
    let (settings, _) = parse("state_directory = \"/srv/100% #1?\"", &[]).unwrap();
    assert_eq!(settings.database.url.reveal(), "sqlite:///srv/100% #1?/waybill.db");
}

#[test]
fn a_password_can_come_from_a_file_and_is_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, "hunter2\n").unwrap();
    let text = format!("[database]\nurl = \"postgres://w:${{file:{}}}@db/w\"", file.display());
    let (settings, problems) = parse(&text, &[]).unwrap();
    assert_eq!(settings.database.url.reveal(), "postgres://w:hunter2@db/w");
    assert!(!format!("{settings:?}").contains("hunter2"));
    assert!(problems.is_empty() || problems[0].to_string().contains("chmod o-r"));
}

#[test]
fn a_password_in_settings_that_everybody_reads_is_told() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("waybill.toml");
    let load = |url: &str, mode: u32| {
        std::fs::write(&file, format!("[database]\nurl = \"{url}\"")).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        Settings::load(Some(&file), [], &environment()).unwrap().1
    };
    let problems = load("postgres://w:hunter2@db/w", 0o644);
    assert!(problems.len() == 1 && problems[0].message.contains("chmod o-r"), "{problems:?}");
    assert!(!problems[0].to_string().contains("hunter2"));
    assert!(load("postgres://w:hunter2@db/w", 0o640).is_empty());
    assert!(load("postgres://w@db/w", 0o644).is_empty() && load("sqlite:w.db", 0o644).is_empty());
}

/// What is written, and the beginning of a line of what is answered.
#[test]
fn mistakes_are_named_with_place_and_nearest_name() {
    let table = [
        ("nod = 1", "waybill.toml:1:1: error: unknown key 'nod'; did you mean 'node'?"),
        ("\n[node]\nnaem = \"a\"", "waybill.toml:3:1: error: node: unknown key 'naem'; did you mean 'name'?"),
        ("[node]\nname = \"a b\"", "waybill.toml:2:8: error: node.name: node name \"a b\": use 1 to 64"),
        (
            "[node]\nlease = 30",
            "2:9: error: node.lease: must be a duration such as \"30s\", not a whole number; write \"30s\"",
        ),
        ("[node]\nlease = \"1s\"", "2:9: error: node.lease: must be 5s to 600s"),
        ("node = 1", "1:8: error: node: must be a table, not a whole number"),
        ("[database]\nurl = \"mysql://u:hunter2@h/d\"", "2:7: error: database.url: must be postgres://"),
        ("[database]\nurl = \"sqlite::memory:\"", "2:7: error: database.url: has no file name"),
        (
            "[database]\nurl = \"postgres://u:hunter2@h:x/d\"",
            "2:7: error: database.url: is not a URL: invalid port",
        ),
        ("[staging]\nmin_free = \"1GB\"", "2:12: error: staging.min_free: must be a size such as"),
        (
            "[listen]\nconsole = \"localhost\"",
            "2:11: error: listen.console: must be an IP address and a port",
        ),
        (
            "[listen.http.a]\nport = 1",
            "2:1: error: listen.http.a: unknown key 'port'; choose one of: address",
        ),
        (
            "[listen]\ntrusted_proxies = [\"10.0.0.1/8\"]",
            "2:20: error: listen.trusted_proxies: \"10.0.0.1/8\" has address bits",
        ),
        (
            "[listen]\nproxy_header = \"xff\"",
            "listen.proxy_header: must be one of either, x-forwarded-for, forwarded",
        ),
        (
            "[listen]\nconsole_proxy_protocol = true",
            "listen.console_proxy_protocol: allows only trusted proxies to connect",
        ),
        (
            "[listen.http.a]\naddress = \"0.0.0.0:1\"\nproxy_protocol = true",
            "3:18: error: listen.http.a.proxy_protocol: allows only trusted proxies to connect, but none is set",
        ),
        (
            "[limits]\nconnections = 4",
            "2:15: error: limits.connections: must be a whole number from 8 to 65536",
        ),
        ("[listen.http.a]", "1:14: error: listen.http.a: 'address' is missing: Address and port"),
        ("[listen.http.a]\naddress = []", "2:11: error: listen.http.a.address: contains no address"),
        (
            "[listen.http.a]\naddress = [\"1\"]",
            "error: listen.http.a.address: must be an IP address and a port",
        ),
        (
            "[listen.http.a]\naddress = \"0.0.0.0:1\"\ntls = { certificate = \"c.pem\" }",
            "error: listen.http.a.tls.certificate: needs its 'private_key' as well",
        ),
        (
            "[listen.http.a]\naddress = \"0.0.0.0:1\"\ntls = { client_certificates = \"required\" }",
            "error: listen.http.a.tls.client_certificates: needs 'client_authorities'",
        ),
        (
            "[listen.http.a]\naddress = \"0.0.0.0:1\"\ntls = { min = \"1.1\" }",
            "error: listen.http.a.tls.min: must be one of 1.2, 1.3",
        ),
        ("[limits]\nbuffers = \"1MiB\"", "2:11: error: limits.buffers: must be at least \"16MiB\""),
        ("[limits]\ndeliveries = 0", "2:14: error: limits.deliveries: must be a whole number from 1 to 4096"),
        (
            "[limits]\ndeliveries = \"8\"",
            "2:14: error: limits.deliveries: must be a whole number from 1 to 4096, not text; write it without quotes",
        ),
        (
            "[egress]\nallow = [\"10.0.0.1/8\"]",
            "2:10: error: egress.allow: \"10.0.0.1/8\" has address bits after",
        ),
        (
            "[listen]\nconsole_url = \"waybill.acme.example\"",
            "2:15: error: listen.console_url: must be a URL such as \"https://waybill.acme.example\"",
        ),
        (
            "[listen]\nconsole_url = \"ftp://acme.example\"",
            "it must begin with http:// or https:// and a host",
        ),
        ("[listen]\nconsole_url = \"https://acme.example/waybill\"", "write only scheme, host and port"),
        ("[listen]\nconsole_url = \"https://acme.example?x\"", "write only scheme, host and port"),
        ("[listen]\nconsole_url = \"https://ada@acme.example\"", "it must not contain a user or password"),
        ("[audit]\nseal_every = \"2d\"", "2:14: error: audit.seal_every: must be 1s to 86400s"),
        (
            "[log]\nformat = \"jsn\"",
            "2:10: error: log.format: must be one of text, json, not \"jsn\"; did you mean \"json\"?",
        ),
        (
            "[network.proxy]\nurl = \"proxy:3128\"",
            "2:7: error: network.proxy.url: proxy:// is not a kind of proxy that Waybill supports",
        ),
        (
            "[network.proxy]\nurl = \"socks5://h\"\nusername = \"u\"",
            "3:12: error: network.proxy.username: needs a 'password' as well",
        ),
        ("[log\nformat", "1:5: error: "),
        (
            "[node]\nname = \"${env:SURELY_NOT_SET_ANYWHERE}\"",
            "2:8: error: node.name: the variable SURELY_NOT_SET_ANYWHERE is not set",
        ),
    ];
    for (text, expected) in table {
        let problems = parse(text, &[]).unwrap_err();
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(lines.iter().any(|line| line.contains(expected)), "{text}\n{expected}\n{lines:#?}");
        assert!(lines.iter().all(|line| !line.contains("hunter2")), "{lines:?}");
    }
}

#[test]
fn a_wrong_variable_is_named_itself() {
    for (name, value, expected) in [
        (
            "WAYBILL__NODE__NAEM",
            "x",
            "WAYBILL__NODE__NAEM: error: node: unknown key 'naem'; did you mean 'name'?",
        ),
        (
            "WAYBILL__LIMITS__BUFFERS",
            "much",
            "WAYBILL__LIMITS__BUFFERS: error: limits.buffers: must be a size",
        ),
        ("WAYBILL__", "x", "WAYBILL__: error: write WAYBILL__SECTION__KEY"),
        ("WAYBILL__STATE_DIRECTORY__X", "x", "WAYBILL__STATE_DIRECTORY__X: error: is not a setting"),
    ] {
        let problems = parse("state_directory = \"s\"", &[(name, value)]).unwrap_err();
        assert!(problems[0].to_string().starts_with(expected), "{}", problems[0]);
    }
}

#[test]
fn the_console_has_another_address_when_it_is_told() {
    let url = |text: &str| parse(text, &[]).unwrap().0.listen.console_url.map(|url| url.to_string());
    assert_eq!(url(""), None);
    let told = url("[listen]\nconsole_url = \"https://Waybill.acme.example:8443\"");
    assert_eq!(told.as_deref(), Some("https://waybill.acme.example:8443/"));
}

#[test]
fn http_servers_do_tls_when_they_are_told() {
    let text = "[listen.http.plain]\naddress = \"0.0.0.0:80\"\n[listen.http.partners]\n\
                address = [\"0.0.0.0:443\", \"[::]:443\"]\n[listen.http.partners.tls]\ncertificate = \"tls/as2.pem\"\n\
                private_key = \"/run/as2.key\"\nmin = \"1.3\"\nclient_certificates = \"optional\"\n\
                client_authorities = \"tls/partners.pem\"";
    let http = parse(text, &[]).unwrap().0.listen.http;
    assert!(http["plain"].tls.is_none() && http["plain"].addresses.len() == 1);
    assert_eq!(http["partners"].addresses.len(), 2);
    let tls = http["partners"].tls.as_ref().unwrap();
    let files = tls.files.as_ref().unwrap();
    assert_eq!(files.certificate, PathBuf::from("/etc/waybill/tls/as2.pem"));
    assert_eq!(files.private_key, PathBuf::from("/run/as2.key"));
    assert_eq!((tls.min, tls.client_certificates), (TlsVersion::V1_3, ClientCertificates::Optional));
    assert_eq!(tls.client_authorities, Some(PathBuf::from("/etc/waybill/tls/partners.pem")));
    let bare = parse("[listen.http.a]\naddress = \"0.0.0.0:443\"\ntls = {}", &[]).unwrap().0.listen.http;
    let tls = bare["a"].tls.as_ref().unwrap();
    assert!(tls.files.is_none() && tls.min == TlsVersion::V1_2);
    assert_eq!(tls.client_certificates, ClientCertificates::Off);
}

#[test]
fn the_process_has_a_proxy_when_it_is_told() {
    assert!(parse("", &[]).unwrap().0.proxy.is_none());
    let text =
        "[network]\nproxy = { url = \"socks5://proxy.acme.example\", username = \"ada\", password = \"x\" }";
    let proxy = parse(text, &[]).unwrap().0.proxy.unwrap();
    assert_eq!(proxy.address(), "socks5://proxy.acme.example:1080");
    assert_eq!(proxy.credentials.as_ref().unwrap().0, "ada");
    let variable = ("WAYBILL__NETWORK__PROXY__URL", "http://other:3128");
    let proxy = parse("", &[variable]).unwrap().0.proxy.unwrap();
    assert_eq!(proxy.address(), "http://other:3128");
}

#[test]
fn proxies_are_trusted_by_network() {
    let text = "[listen]\nconsole_proxy_protocol = true\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\"]\n\
                proxy_header = \"forwarded\"\n[listen.http.a]\naddress = \"0.0.0.0:1\"\nproxy_protocol = true\n\
                [listen.http.b]\naddress = \"0.0.0.0:2\"";
    let listen = parse(text, &[]).unwrap().0.listen;
    assert!(
        listen.console_proxy_protocol && listen.http["a"].proxy_protocol && !listen.http["b"].proxy_protocol
    );
    let networks: Vec<String> = listen.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "::1/128"]);
    assert_eq!(listen.proxy_header, super::ProxyHeader::Forwarded);
    let none = parse("", &[]).unwrap().0.listen;
    assert!(none.trusted_proxies.is_empty() && none.proxy_header == super::ProxyHeader::Either);
}

#[test]
fn every_error_is_told_at_once() {
    let problems = parse("nod = 1\n[log]\nlevel = \"loud\"\n[limits]\nbuffers = 1", &[]).unwrap_err();
    assert_eq!(problems.len(), 3, "{problems:?}");
}

#[test]
fn a_file_that_is_not_there_is_said_so() {
    let error = Settings::load(Some(Path::new("/nowhere/w.toml")), [], &environment()).unwrap_err();
    assert!(error[0].to_string().starts_with("/nowhere/w.toml: error: cannot be read"));
}

proptest::proptest! {
    #[test]
    fn no_settings_panic(text in "(\\[?(node|limits|log|listen|http|roots)\\]?(\n| = |\\.)?(\"[^\"]{0,6}\"|[0-9]{1,20}|true|\\[\\])?\n){0,6}", value in ".{0,12}") {
        let _ = parse(&text, &[("WAYBILL__LISTEN__HTTP__A__ADDRESS", &value), ("WAYBILL__ROOTS__FILES", &value)]);
    }
}
