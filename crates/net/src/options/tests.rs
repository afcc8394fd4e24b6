use super::*;
use model::Secret;
use model::definition::{CertificateDefinition, KeyDefinition, ProxyDefinition};
use model::schema::{Value, joined};

/// Fields as documents write them; those of a table have its name before them.
fn options(set: &[(&str, &str)]) -> Values {
    fn with(fields: &[Field], set: &[(&str, &str)]) -> Values {
        let mut values = Values::defaults(fields).unwrap();
        for field in fields {
            if let Some((_, text)) = set.iter().find(|(name, _)| *name == field.name) {
                let read = |text: &str| Value::parse(field.kind, text).unwrap();
                let items = || text.split(',').flat_map(|item| read(item).items().to_vec()).collect();
                let value = if text.contains(',') { Value::List(items()) } else { read(text) };
                values.set(field, value);
            }
            if let Kind::Table(group) = field.kind {
                let below = set.iter().filter_map(|(name, text)| {
                    let (table, name) = name.split_once('.')?;
                    (table == field.name).then_some((name, *text))
                });
                values.set(field, Value::Table(with(group.fields, &below.collect::<Vec<_>>())));
            }
        }
        values
    }
    with(&joined(&[&CONNECTION, &TLS]).0, set)
}

fn definitions() -> Definitions {
    let mut definitions = Definitions::default();
    let proxy = Arc::new(Proxy::new("socks5://proxy.acme.example:1080", None).unwrap());
    let named = Arc::new(ProxyDefinition { name: "corporate".into(), proxy });
    definitions.proxies.insert("corporate".into(), named);
    let certificate = CertificateDefinition { name: "acme-ca".into(), pem: "PEM".into() };
    definitions.certificates.insert("acme-ca".into(), Arc::new(certificate));
    for (name, certificate) in [("acme-tls", Some("CERTIFICATE".to_owned())), ("bare", None)] {
        let key = KeyDefinition {
            name: name.into(),
            private_key: Secret::new("KEY".into()),
            passphrase: None,
            certificate,
        };
        definitions.keys.insert(name.into(), Arc::new(key));
    }
    definitions
}

fn profile(set: &[(&str, &str)]) -> Result<ConnectProfile> {
    let read = |findings: &mut Findings<'_>| Some(ConnectOptions::read(&options(set), findings));
    Findings::required(Section::ENDPOINT, "acme", read)?.profile(&definitions())
}

/// What is found of options, each as field and message.
fn found(set: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut findings = Findings::of(&mut found, Section::ENDPOINT, "acme");
    ConnectOptions::read(&options(set), &mut findings).check(&definitions(), &mut findings);
    found.into_iter().map(|finding| (finding.path.to_string(), finding.message)).collect()
}

#[test]
fn what_is_left_out_is_safe_and_limited() {
    let profile = profile(&[]).unwrap();
    assert!(matches!(profile.proxy, ProxyChoice::Process));
    assert!(matches!(profile.tls.trust, Trust::System) && profile.tls.client_certificate.is_none());
    assert_eq!(profile.tls.versions, (TlsVersion::V1_2, TlsVersion::V1_3));
    let second = Duration::from_secs;
    assert_eq!((profile.connect_timeout, profile.timeout), (second(30), second(60)));
    assert_eq!(profile.keep_alive, Some(second(60)));
    let usual = ConnectProfile::default();
    assert_eq!((usual.connect_timeout, usual.timeout), (profile.connect_timeout, profile.timeout));
    assert_eq!(usual.keep_alive, profile.keep_alive);
}

#[test]
fn every_option_reaches_the_profile() {
    let pin = format!("sha256:{}", "ab".repeat(32));
    let profile = profile(&[
        ("proxy", "corporate"),
        ("connect_timeout", "5s"),
        ("timeout", "0s"),
        ("keep_alive", "0s"),
        ("trust.authorities", "acme-ca"),
        ("trust.pins", &pin),
        ("tls.client_key", "acme-tls"),
        ("tls.min", "1.3"),
        ("tls.max", "1.3"),
        ("tls.ciphers", "TLS_AES_128_GCM_SHA256"),
    ])
    .unwrap();
    let ProxyChoice::Through(proxy) = &profile.proxy else { panic!("{:?}", profile.proxy) };
    assert_eq!(proxy.address(), "socks5://proxy.acme.example:1080");
    assert_eq!((profile.connect_timeout, profile.timeout), (Duration::from_secs(5), NO_LIMIT));
    assert_eq!(profile.keep_alive, None);
    let Trust::Pinned { pins, authorities, accept_expired: false } = &profile.tls.trust else {
        panic!("{:?}", profile.tls.trust)
    };
    assert_eq!((pins, authorities), (&vec![pin], &vec!["PEM".to_owned()]));
    assert_eq!(profile.tls.client_certificate.unwrap().certificates, "CERTIFICATE");
    assert_eq!(profile.tls.versions, (TlsVersion::V1_3, TlsVersion::V1_3));
    assert_eq!(profile.tls.ciphers, ["TLS_AES_128_GCM_SHA256"]);
}

#[test]
fn a_proxy_can_be_switched_off_for_one_endpoint() {
    assert!(matches!(profile(&[("proxy", "none")]).unwrap().proxy, ProxyChoice::Disabled));
}

#[test]
fn mistakes_name_their_option() {
    for (option, text) in [
        ("proxy", "elsewhere"),
        ("trust.authorities", "elsewhere"),
        ("trust.pins", "sha256:ab"),
        ("tls.client_key", "elsewhere"),
        ("tls.client_key", "bare"),
        ("tls.ciphers", "RC4-SHA"),
    ] {
        let error = profile(&[(option, text)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
        assert!(error.to_string().contains(option), "{error}");
    }
    let error = profile(&[("tls.min", "1.3"), ("tls.max", "1.2")]).unwrap_err().to_string();
    assert!(error.contains("tls.max") && error.contains("lower than tls.min"), "{error}");
}

#[test]
fn every_mistake_is_found_at_its_own_field() {
    let good = format!("sha256:{}", "ab".repeat(32));
    let found = found(&[
        ("trust.pins", &format!("{good},sha256:ab,x")),
        ("tls.ciphers", "TLS_AES_128_GCM_SHA256,ECDHE-RSA-AES256-GCM-SHA385"),
        ("tls.min", "1.3"),
        ("tls.max", "1.2"),
        ("tls.client_key", "bare"),
    ]);
    let expected = [
        ("trust.pins[2]", "'sha256:ab' is not a pin"),
        ("trust.pins[3]", "'x' is not a pin"),
        ("tls.ciphers[2]", "did you mean 'ECDHE-RSA-AES256-GCM-SHA384'"),
        ("tls.max", "is lower than tls.min"),
        ("tls.client_key", "key 'bare' has no 'certificate'"),
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for ((path, message), (field, words)) in found.iter().zip(expected) {
        assert!(path == field && message.contains(words), "{field}: {path}: {message}");
    }
}
