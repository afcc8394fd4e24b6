//! Certificates of a node's definitions, made with `cryptography` for the time of these tests.

use model::definition::{CertificateDefinition, Definitions, Endpoint, Identity, KeyDefinition, Partner};
use model::schema::{TransportSpec, Value, Values};
use std::sync::Arc;

/// From 2026-01-01 until 2026-12-01, of `Globex <AS2>`.
const GLOBEX: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIH9MIGwoAMCAQICAhI0MAUGAytlcDAoMQ8wDQYDVQQKDAZHbG9iZXgxFTATBgNV\n\
BAMMDEdsb2JleCA8QVMyPjAeFw0yNjAxMDEwMDAwMDBaFw0yNjEyMDEwMDAwMDBa\n\
MCgxDzANBgNVBAoMBkdsb2JleDEVMBMGA1UEAwwMR2xvYmV4IDxBUzI+MCowBQYD\n\
K2VwAyEAhDef1ylExSYk2t+20j3ai5jJchHA3kk7311ry81/qcMwBQYDK2VwA0EA\n\
HvkDRohGCtEuH7e+6Qr8zoVkxyASGn272OsfuU3gW3MUmPVwYqoSKfSmfYsUIwdM\n\
41yAWpm/wPxFsWJvP3FaDw==\n\
-----END CERTIFICATE-----\n";

/// From 2026-01-01 until 2036-01-01.
const ACME: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIHxMIGkoAMCAQICAlZ4MAUGAytlcDAiMQ0wCwYDVQQKDARBY21lMREwDwYDVQQD\n\
DAhBY21lIEFTMjAeFw0yNjAxMDEwMDAwMDBaFw0zNjAxMDEwMDAwMDBaMCIxDTAL\n\
BgNVBAoMBEFjbWUxETAPBgNVBAMMCEFjbWUgQVMyMCowBQYDK2VwAyEAnkJLIofQ\n\
aqmAa2YYzt0FyFEsktx2EUWITX90WyzNsfYwBQYDK2VwA0EARJYTxOqx9y6eghYo\n\
ACzlAchKODMIJgPT4gWUm1KNi0zTzY4UoZedZCaswcG48tBFpOUGEDmF1A0saiZ5\n\
i8tKDQ==\n\
-----END CERTIFICATE-----\n";

/// From 2020-01-01 until 2026-11-01.
const INITECH: &str = "\
-----BEGIN CERTIFICATE-----\n\
MIHRMIGEoAMCAQICAgCaMAUGAytlcDASMRAwDgYDVQQDDAdJbml0ZWNoMB4XDTIw\n\
MDEwMTAwMDAwMFoXDTI2MTEwMTAwMDAwMFowEjEQMA4GA1UEAwwHSW5pdGVjaDAq\n\
MAUGAytlcAMhAI22lkt0FjhNrtl7xFq+fJcvzkbcRUoiP+SaIh2wpHAvMAUGAytl\n\
cANBAL1h1uiUWTWzn3yMl3t4nARYxrYYbs1nWZ18Z0UKx+kquXrLvArPHOyEnxYj\n\
FyvdDh4SP23YrIxCu2Yp71/pQAw=\n\
-----END CERTIFICATE-----\n";

/// Two partners' certificates, one of which has expired, and a key's.
pub(crate) fn definitions() -> Arc<Definitions> {
    let mut definitions = Definitions::default();
    for (name, pem) in [("globex", GLOBEX), ("initech", INITECH)] {
        let certificate = CertificateDefinition { name: name.into(), pem: pem.into() };
        definitions.certificates.insert(name.into(), Arc::new(certificate));
    }
    let key = KeyDefinition {
        name: "acme".into(),
        private_key: String::new().into(),
        passphrase: None,
        certificate: Some(ACME.into()),
    };
    definitions.keys.insert("acme".into(), Arc::new(key));
    let text = |text: &str| Value::Text(text.to_owned());
    for (name, id) in [("globex", "GLOBEX <AS2>"), ("initech", "INITECH")] {
        let side = Values::of([("id", text(id)), ("certificates", Value::List(vec![text(name)]))]);
        let agreements = [("as2".to_owned(), side)].into();
        let partner = Partner { name: name.into(), title: None, contact: None, agreements };
        definitions.partners.insert(name.into(), Arc::new(partner));
        let endpoint = format!("{name}-as2");
        let spec = TransportSpec::new("as2", "For tests.");
        let mut defined = Endpoint::bare(&endpoint, "https://as2.example/in", &spec).unwrap();
        defined.options = Values::of([("partner", text(name)), ("identity", text("acme"))]);
        definitions.endpoints.insert(endpoint, Arc::new(defined));
    }
    let side = Values::of([("id", text("ACME")), ("keys", Value::List(vec![text("acme")]))]);
    let acme = Identity { name: "acme".into(), title: None, sides: [("as2".to_owned(), side)].into() };
    definitions.identities.insert("acme".into(), Arc::new(acme));
    Arc::new(definitions)
}
