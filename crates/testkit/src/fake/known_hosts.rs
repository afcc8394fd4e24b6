//! A transport that has nothing but host keys, for tests of whoever keeps the list of known hosts.

use model::definition::Endpoint;
use model::schema::{Paths, Roles, Scheme, TransportSpec};
use model::{Declaration, HostKeyFormat, KnownHostLine, KnownHostMark};

static SPEC: TransportSpec = TransportSpec {
    schemes: &[Scheme { name: "shell", port: Some(22), paths: Paths::Login, connects_per_poll: true }],
    roles: Roles { source: true, destination: true, listener: false },
    ..TransportSpec::new("shell", "A server with host keys, for tests.")
};

/// Lines are `hosts type key`; a key's fingerprint is `SHA256:` and the key.
pub struct HostKeysOnly;

impl Declaration for HostKeysOnly {
    fn spec(&self) -> &'static TransportSpec {
        &SPEC
    }

    fn host_keys(&self) -> Option<&dyn HostKeyFormat> {
        Some(self)
    }
}

impl HostKeyFormat for HostKeysOnly {
    fn read(&self, line: &str) -> Result<KnownHostLine, String> {
        let mut words = line.split_whitespace().peekable();
        let mark = match words.peek() {
            Some(&"@revoked") => KnownHostMark::Revoked,
            Some(&"@cert-authority") => KnownHostMark::Authority,
            _ => KnownHostMark::Host,
        };
        if mark != KnownHostMark::Host {
            words.next();
        }
        let (Some(hosts), Some(key_type), Some(key)) = (words.next(), words.next(), words.next()) else {
            return Err("write hosts, key type and key".into());
        };
        let comment: Vec<&str> = words.collect();
        Ok(KnownHostLine {
            mark,
            names: hosts.split(',').map(|name| (name.to_owned(), 22)).collect(),
            hosts: hosts.to_owned(),
            key_type: key_type.to_owned(),
            key: key.to_owned(),
            fingerprint: format!("SHA256:{key}"),
            comment: (!comment.is_empty()).then(|| comment.join(" ")),
        })
    }

    fn about(&self, lines: &[String], host: &str, _port: u16) -> Vec<usize> {
        let names =
            |line: &str| self.read(line).is_ok_and(|line| line.names.iter().any(|(name, _)| name == host));
        (0..lines.len()).filter(|at| lines.get(*at).is_some_and(|line| names(line))).collect()
    }

    fn looks_up(&self, endpoint: &Endpoint) -> Option<(String, u16)> {
        let host = endpoint.url().filter(|_| endpoint.transport == SPEC.name)?.host_str()?;
        Some((host.to_owned(), 22))
    }

    fn url(&self, host: &str, port: u16) -> String {
        format!("shell://{host}:{port}/")
    }
}
