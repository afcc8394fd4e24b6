//! What this transport knows of the list of known hosts: how a line is read, and which endpoints look in it.

use super::{SPEC, endpoint_host, trusts_list};
use crate::protocol::known_hosts::{self, KnownHosts};
use model::definition::Endpoint;
use model::{HostKeyFormat, KnownHostLine};

/// OpenSSH's `known_hosts`.
pub(crate) struct KnownHostsFormat;

pub(crate) static FORMAT: KnownHostsFormat = KnownHostsFormat;

impl HostKeyFormat for KnownHostsFormat {
    fn read(&self, line: &str) -> Result<KnownHostLine, String> {
        known_hosts::read(line)
    }

    fn about(&self, lines: &[String], host: &str, port: u16) -> Vec<usize> {
        let hosts = KnownHosts::of(lines);
        // Lines are counted from 1.
        hosts.find(host, port, None).lines().map(|line| line - 1).collect()
    }

    fn looks_up(&self, endpoint: &Endpoint) -> Option<(String, u16)> {
        if endpoint.transport != SPEC.name || !trusts_list(endpoint) {
            return None;
        }
        endpoint_host(endpoint)
    }

    fn url(&self, host: &str, port: u16) -> String {
        if host.contains(':') { format!("sftp://[{host}]:{port}/") } else { format!("sftp://{host}:{port}/") }
    }
}
