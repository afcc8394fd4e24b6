//! What an operator sees about messages that could not be read.

use super::*;
use crate::agreement::{Agreement, As2Id};
use crate::choice::Dated;
use crate::testing::Key;
use model::definition::{self, CertificateDefinition, KeyDefinition};
use model::schema::{Value, Values};
use model::{EventId, EventKind, Secret};
use smime::{CarriedCertificate, Digest, LastLineEnd, MicRule};
use std::sync::LazyLock;

static OLD: LazyLock<Key> = LazyLock::new(|| Key::new("GLOBEX OLD"));
static NEW: LazyLock<Key> = LazyLock::new(|| Key::new("GLOBEX"));
static OTHERS: LazyLock<Key> = LazyLock::new(|| Key::new("INITECH"));
static OURS: LazyLock<Key> = LazyLock::new(|| Key::new("ACME"));

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_timestamp(seconds, 0).unwrap()
}

fn pem(key: &Key) -> String {
    String::from_utf8(key.certificate.to_pem().unwrap()).unwrap()
}

fn as2(id: &str, list: &'static str, names: &[&str]) -> Values {
    let text = |text: &str| Value::Text(text.to_owned());
    Values::of([("id", text(id)), (list, Value::List(names.iter().map(|name| text(name)).collect()))])
}

/// Of globex, which changed from `old` to `new`; `others` is initech's, `ours` and `spare` are keys of ours.
fn diagnosis() -> Diagnosis {
    let mut definitions = Definitions::default();
    for (name, key) in [("old", &OLD), ("new", &NEW), ("others", &OTHERS)] {
        let one = CertificateDefinition { name: name.into(), pem: pem(key) };
        definitions.certificates.insert(name.into(), Arc::new(one));
    }
    for (name, key) in [("ours", &OURS), ("spare", &OTHERS)] {
        let certificate = Some(pem(key));
        let private_key = Secret::new(String::new());
        let key = KeyDefinition { name: name.into(), private_key, passphrase: None, certificate };
        definitions.keys.insert(name.into(), Arc::new(key));
    }
    let agreements = [("as2".to_owned(), as2("INITECH", "certificates", &["others"]))].into();
    let initech = definition::Partner { name: "initech".into(), title: None, contact: None, agreements };
    definitions.partners.insert("initech".into(), Arc::new(initech));
    let id = |id: &str| As2Id::try_from(id.to_owned()).unwrap();
    let dated = |name: &str, until| Dated { until, ..Dated::always(name.to_owned()) };
    let partner = Partner {
        name: "globex".into(),
        as2_id: id("GLOBEX"),
        certificates: Choices {
            all: vec![dated("old", Some(at(10))), dated("new", None)],
            ..Choices::default()
        },
        agreement: Agreement::default(),
    };
    // What signs does not decrypt.
    let signs = Dated { reads: false, from: Some(at(20)), ..Dated::always("spare".into()) };
    let keys = Choices { all: vec![Dated::always("ours".into()), signs], ..Choices::default() };
    let identity = Identity { name: "acme".into(), as2_id: id("ACME"), keys, pgp_keys: Choices::default() };
    Diagnosis::new(&Arc::new(definitions), &partner, &identity, at(1_000))
}

fn told(error: &smime::Error) -> (String, String) {
    told_with(error, None)
}

fn told_with(error: &smime::Error, form: Option<SignedForm>) -> (String, String) {
    let diagnosis = diagnosis();
    diagnosis.note(error, form);
    let event = AuditEvent::new(
        EventId::new(uuid::Uuid::nil()),
        at(0),
        "n1".parse().unwrap(),
        EventKind::MessageRefused,
    );
    let event = diagnosis.told(event);
    let text = |key: &str| event.detail.get(key).and_then(|it| it.as_str()).unwrap_or_default().to_owned();
    (text("would_match"), text(TELL_PARTNER))
}

fn signed_by(key: &Key) -> smime::Error {
    let digest = key.certificate.digest(openssl::hash::MessageDigest::sha256()).unwrap();
    let carried = CarriedCertificate { subject: "CN=SOMEBODY".into(), fingerprint: digest.to_vec() };
    smime::Error::SignerUnknown { signer: "serial 07".into(), pinned: 1, carried: Some(carried) }
}

#[test]
fn the_certificate_that_would_have_verified_is_named_with_why_it_did_not() {
    for (key, expected) in [
        (&*OLD, "the certificate 'old', whose time ended 1970-01-01T00:00:10Z"),
        (&*OTHERS, "the certificate 'others', which is one of partner 'initech'"),
        (&Key::new("X"), "a certificate that is not defined here: CN=SOMEBODY, SHA-256 "),
    ] {
        let (would_match, tell) = told(&signed_by(key));
        assert!(would_match.starts_with(expected), "{would_match}");
        let sha256 = fingerprint(&key.certificate).unwrap();
        assert!(tell.starts_with("Your AS2 message from GLOBEX to ACME is signed with"), "{tell}");
        assert!(tell.contains(&sha256) && tell.contains(&fingerprint(&NEW.certificate).unwrap()), "{tell}");
    }
    let named = certificate_names(&NEW.certificate).unwrap()[1].clone();
    let by_name = smime::Error::SignerUnknown { signer: named, pinned: 1, carried: None };
    assert!(told(&by_name).0.starts_with("the certificate 'new', which is one of the partner's"));
}

#[test]
fn what_is_wrong_with_a_plaintext_is_told_to_the_operator() {
    let unsigned =
        Rejection::unprotected(crate::agreement::SendSecurity::SignedEncrypted, true, false).unwrap();
    for (cause, expected) in [
        (
            smime::Error::Refused(Box::new(unsigned)),
            "not taken: The message is not signed, although that was agreed.",
        ),
        (smime::Error::SignatureInvalid, "not taken: the signature is not valid"),
        (smime::Error::DecompressionFailed, "We could not decrypt"),
    ] {
        let (would_match, tell) = told(&smime::Error::Undecipherable { cause: Box::new(cause) });
        assert!(would_match.is_empty() && tell.contains(expected), "{tell}");
    }
}

#[test]
fn the_partners_own_are_compared_before_any_other() {
    let mut definitions = Definitions::default();
    let all = (0..600).map(|number| format!("a{number:03}")).chain(["old".to_owned()]);
    for name in all {
        definitions
            .certificates
            .insert(name.clone(), Arc::new(CertificateDefinition { name, pem: String::new() }));
    }
    let listed = Choices::from(vec!["old".to_owned(), "gone".to_owned()]);
    let found: Vec<&str> =
        compared(&definitions.certificates, &listed).map(|one| one.name.as_str()).collect();
    assert_eq!((found.len(), &found[..2]), (MOST_COMPARED, &["old", "a000"][..]));
}

#[test]
fn a_message_for_another_key_of_ours_is_told_from_one_for_nobody_here() {
    let recipients = |key: &Key| vec![certificate_names(&key.certificate).unwrap()[1].clone()];
    let ours = fingerprint(&OURS.certificate).unwrap();
    for (recipients, expected) in [
        (recipients(&OTHERS), "our key 'spare', which is limited to another use (uses)"),
        (recipients(&Key::new("X")), ""),
    ] {
        let (would_match, tell) = told(&smime::Error::NoRecipient { recipients: recipients.clone() });
        assert_eq!(would_match, expected);
        assert!(tell.contains(&recipients[0]) && tell.contains(&ours), "{tell}");
    }
    let (would_match, tell) = told(&smime::Error::DecryptionFailed);
    assert!(would_match.is_empty() && tell.contains(&ours), "{tell}");
}

#[test]
fn what_is_no_matter_of_keys_is_told_as_it_is() {
    let integrity = smime::Error::IntegrityFailed { algorithm: "Sha256".into(), signed: None };
    for (error, expected) in [
        (integrity, "was changed after it was signed"),
        (smime::Error::SignatureInvalid, "in the name of your certificate, but not with its key"),
        (smime::Error::CertificateExpired, "a certificate that has expired"),
        (smime::Error::CertificateNotYetValid, "a certificate that is not valid yet"),
    ] {
        let (would_match, tell) = told(&error);
        assert!(would_match.is_empty() && tell.contains(expected), "{tell}");
    }
    assert_eq!(told(&smime::Error::DecompressionFailed), (String::new(), String::new()));
}

#[test]
fn the_form_of_the_content_that_was_signed_is_named_with_what_to_change() {
    let form = SignedForm {
        stated: Digest::Sha256,
        algorithm: Digest::Sha256,
        rule: MicRule::EntityContentLf,
        last_line_end: LastLineEnd::Kept,
        is_decoded: false,
    };
    let integrity = smime::Error::IntegrityFailed { algorithm: "Sha256".into(), signed: None };
    let (would_match, tell) = told_with(&integrity, Some(form));
    assert_eq!(
        would_match,
        "the same content in another form: entity with headers, LF line ends in its content"
    );
    assert!(
        tell.starts_with("Your AS2 message from GLOBEX to ACME has a signature that does not fit"),
        "{tell}"
    );
    assert!(tell.contains("sign the canonical form with CRLF line ends"), "{tell}");
    assert!(!tell.contains("was changed after it was signed"), "{tell}");
}

#[test]
fn the_certificate_that_signed_a_receipt_is_named_where_it_is_defined() {
    let diagnosis = diagnosis();
    let known = diagnosis.known.as_ref().unwrap();
    let error = |key: &Key| {
        let sha256 = fingerprint(&key.certificate).unwrap();
        model::Error::permanent(model::ErrorKind::TrustFailed, "trust a receipt").with(CARRIED, sha256)
    };
    let words = |error| of_receipt(error, &known.definitions, &known.partner, known.now).chain();
    assert!(words(error(&OLD)).contains("would match the certificate 'old', whose time ended"));
    assert!(
        words(error(&OTHERS))
            .contains("would match the certificate 'others', which is one of partner 'initech'")
    );
    assert!(!words(error(&Key::new("X"))).contains("would match"));
    let other = model::Error::permanent(model::ErrorKind::TrustFailed, "trust a receipt");
    assert!(!words(other).contains("would match"));
}
