//! Certificates of a node's definitions, made with `cryptography` for the time of these tests.

use model::definition::{CertificateDefinition, Definitions, KeyDefinition};
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
    Arc::new(definitions)
}
