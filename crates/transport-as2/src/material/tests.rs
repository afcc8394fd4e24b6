use super::*;
use crate::agreement::{Agreement, As2Id, SendSecurity};
use crate::choice::Choices;
use crate::testing::Key;
use model::Secret;
use model::definition::{CertificateDefinition, KeyDefinition};
use std::time::{Duration, SystemTime};

fn pem(certificate: &X509) -> String {
    String::from_utf8(certificate.to_pem().unwrap()).unwrap()
}

/// Definitions in which each of these is a key of ours and a certificate of the partner's.
fn definitions(keys: &[(&str, &Key)]) -> Arc<Definitions> {
    let mut definitions = Definitions::default();
    for (name, key) in keys {
        let certificate = pem(&key.certificate);
        let private_key = String::from_utf8(key.key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        let known = CertificateDefinition { name: (*name).to_owned(), pem: certificate.clone() };
        let own = KeyDefinition {
            name: (*name).to_owned(),
            private_key: Secret::new(private_key),
            passphrase: None,
            certificate: Some(certificate),
        };
        definitions.certificates.insert((*name).to_owned(), Arc::new(known));
        definitions.keys.insert((*name).to_owned(), Arc::new(own));
    }
    Arc::new(definitions)
}

fn partner(agreement: Agreement, certificates: Choices) -> Partner {
    let as2_id = As2Id::try_from("GLOBEX".to_owned()).unwrap();
    Partner { name: "globex".into(), as2_id, certificates, agreement }
}

fn identity(keys: Choices) -> Identity {
    Identity {
        name: "acme".into(),
        as2_id: As2Id::try_from("ACME".to_owned()).unwrap(),
        keys,
        pgp_keys: Choices::default(),
    }
}

fn names(names: &[&str]) -> Choices {
    Choices::from(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
}

fn in_days(days: u64) -> Timestamp {
    (SystemTime::now() + Duration::from_secs(60 + days * 86_400)).into()
}

#[test]
fn each_is_read_once_for_a_revision() {
    let key = Key::new("GLOBEX");
    let materials = Materials::default();
    let first = definitions(&[("a", &key)]);
    let read = |definitions: &Arc<Definitions>| {
        let material = materials.of(Arc::clone(definitions));
        let own = material.own(&identity(names(&["a"])), "a").unwrap();
        (own, material.certificate("a").unwrap())
    };
    let (own, certificate) = read(&first);
    assert_eq!(own.fingerprint, certificate.fingerprint);
    let again = read(&first);
    assert!(Arc::ptr_eq(&own, &again.0) && Arc::ptr_eq(&certificate, &again.1));
    // Another revision may hold another key under the same name.
    let (other, _) = read(&definitions(&[("a", &Key::new("GLOBEX"))]));
    assert_ne!(own.fingerprint, other.fingerprint);
}

#[test]
fn nothing_is_encrypted_for_a_certificate_outside_its_dates_unless_that_was_agreed() {
    let material = Materials::default().of(definitions(&[("globex", &Key::new("GLOBEX"))]));
    let recipient = |send_security, accept_expired, now| {
        let agreement = Agreement { send_security, accept_expired, ..Agreement::default() };
        let partner = partner(agreement, names(&["globex"]));
        match material.encrypting(&partner, now)? {
            Some(certificate) => usable(&certificate, &partner, now).map(|()| true),
            None => Ok(false),
        }
    };
    let at = |years: i64| Timestamp::from_timestamp(years * 365 * 86_400, 0).unwrap();
    for security in SendSecurity::ALL {
        assert_eq!(recipient(*security, false, in_days(0)).unwrap(), security.encrypts(), "{security}");
        for (time, expired) in [(at(10), false), (at(200), true)] {
            assert_eq!(recipient(*security, false, time).is_err(), security.encrypts(), "{security}");
            // What is not valid yet never is.
            let lenient = recipient(*security, true, time);
            assert_eq!(lenient.is_ok(), expired || !security.encrypts(), "{security}");
        }
    }
    let error = recipient(SendSecurity::Encrypted, false, at(200)).unwrap_err();
    assert!(error.to_string().contains("accept_expired"), "{error}");
}

#[test]
fn what_is_valid_is_preferred_and_something_is_used_in_any_case() {
    let (short, long) = (Key::lasting("GLOBEX", 2048, 10), Key::lasting("GLOBEX", 2048, 100));
    let material = Materials::default().of(definitions(&[("short", &short), ("long", &long)]));
    let (ours, theirs) =
        (identity(names(&["short", "long"])), partner(Agreement::default(), names(&["short", "long"])));
    for (days, expected) in [(0, "short"), (50, "long"), (500, "short")] {
        assert_eq!(material.signing(&ours, in_days(days)).unwrap().name, expected, "{days}");
        let certificate = material.encrypting(&theirs, in_days(days)).unwrap().unwrap();
        assert_eq!(certificate.name, expected, "{days}");
    }
    let instead = |tried, days| {
        let found = material.encrypting_instead(&theirs, tried, in_days(days)).unwrap();
        found.map(|found| found.name.clone())
    };
    assert_eq!(instead("short", 0).as_deref(), Some("long"));
    assert_eq!(instead("long", 0).as_deref(), Some("short"));
    // It has expired.
    assert_eq!(instead("long", 50), None);
    assert_eq!(material.signing_instead(&ours, "short", in_days(0)).unwrap().unwrap().name, "long");
}

#[test]
fn a_time_without_a_key_is_an_error_that_shows_the_windows() {
    let key = Key::new("ACME");
    let material = Materials::default().of(definitions(&[("later", &key)]));
    let later = Dated { from: Some(in_days(5)), ..Dated::always("later".into()) };
    let ours = identity(Choices { all: vec![later], overlap: Duration::ZERO });
    let error = material.signing(&ours, in_days(0)).err().unwrap().to_string();
    assert!(error.contains("later from 20"), "{error}");
    assert_eq!(material.decrypting(&ours, in_days(0)).unwrap().len(), 1);
    assert!(material.signing(&ours, in_days(6)).is_ok());
}
