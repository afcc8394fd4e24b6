//! Whether a server is the one it should be. Always asked, and never answered by "probably".

mod pin;

pub(crate) use pin::Pin;

use super::fingerprint::fingerprint;
use super::known_hosts::{Found, KnownHosts};
use model::{Error, ErrorKind, HostKeyStanding, Result, Step};
use russh::keys::Algorithm;
use std::net::IpAddr;

/// What an endpoint says about its server's key.
#[derive(Clone, Debug)]
pub(crate) enum HostTrust {
    /// One of these keys.
    Pinned(Vec<Pin>),
    /// What is on file for the host.
    Known(KnownHosts),
    /// What is on file for the host in the list of all nodes. The lines are those of the moment of a connection.
    Listed(KnownHosts),
    /// Nobody: the server is asked for its key and for nothing else.
    Nobody,
}

/// Where a connection leads.
#[derive(Clone, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) address: Option<IpAddr>,
}

/// The key type of an algorithm: both of RSA's signatures are made with keys of type `ssh-rsa`.
fn key_type(algorithm: &Algorithm) -> &str {
    match algorithm {
        Algorithm::Rsa { .. } => "ssh-rsa",
        other => other.as_str(),
    }
}

impl HostTrust {
    /// Which algorithms' keys are on file for a host.
    pub(crate) fn on_file(&self, place: &Place<'_>) -> impl Fn(&Algorithm) -> bool + use<> {
        let types: Vec<String> = match self {
            Self::Pinned(pins) => {
                pins.iter().flat_map(|pin| pin.types.iter().map(|name| (*name).to_owned())).collect()
            }
            Self::Nobody => Vec::new(),
            Self::Known(hosts) | Self::Listed(hosts) => {
                let found = hosts.find(place.host, place.port, place.address);
                found.keys.iter().map(|key| key.key_type.to_owned()).collect()
            }
        };
        move |algorithm| types.iter().any(|known| known == key_type(algorithm))
    }

    /// Whether authorities are on file for a host.
    pub(crate) fn has_authorities(&self, place: &Place<'_>) -> bool {
        let found = |hosts: &KnownHosts| hosts.find(place.host, place.port, place.address).authorities.len();
        self.hosts().is_some_and(|hosts| found(hosts) > 0)
    }

    /// The lines on file, where there are some.
    pub(super) fn hosts(&self) -> Option<&KnownHosts> {
        match self {
            Self::Pinned(_) | Self::Nobody => None,
            Self::Known(hosts) | Self::Listed(hosts) => Some(hosts),
        }
    }

    /// How a key that a server showed stands in the list of all nodes; `None` if another list or a pin counts.
    pub(crate) fn standing(&self, place: &Place<'_>, key_type: &str, key: &[u8]) -> Option<HostKeyStanding> {
        let Self::Listed(hosts) = self else { return None };
        Some(hosts.find(place.host, place.port, place.address).standing(key_type, key))
    }

    /// Lines on file that cannot be read, and are of other hosts.
    pub(crate) fn passed_over(&self) -> Vec<String> {
        self.hosts().map(KnownHosts::unread).unwrap_or_default()
    }

    /// Judges the key that a server showed.
    ///
    /// # Errors
    /// `TrustFailed`, permanent: unknown, changed, revoked. Names host, address, what was shown and
    /// what was expected.
    pub(crate) fn judge(&self, place: &Place<'_>, offered_type: &str, offered: &[u8]) -> Result<()> {
        let shown = fingerprint(offered);
        let error = |operation: &'static str| {
            let error = Error::permanent(ErrorKind::TrustFailed, operation)
                .at_step(Step::HostKey)
                .with("host", format_args!("{}:{}", place.host, place.port));
            let error = match place.address {
                Some(address) => error.with("address", address),
                None => error,
            };
            error.with("offered", format_args!("{offered_type} {shown}"))
        };
        match self {
            Self::Pinned(pins) => {
                let fits = |pin: &Pin| {
                    pin.fingerprint == shown && (pin.types.is_empty() || pin.types.contains(&offered_type))
                };
                if pins.iter().any(fits) {
                    return Ok(());
                }
                let expected: Vec<_> = pins.iter().map(Pin::describe).collect();
                let error = error("trust the server: host key changed").with("expected", expected.join(", "));
                // Without its type the wrong one of the server's keys may have been asked for.
                Err(if pins.iter().any(|pin| pin.types.is_empty()) {
                    error.advice(
                        "nothing was sent. If the server has keys of several types, write the type before the fingerprint (\"ssh-rsa SHA256:…\"). If its key was replaced, let its operator confirm the new fingerprint, then change host_key",
                    )
                } else {
                    error.advice(
                        "nothing was sent. If the server's key was replaced, let its operator confirm the new fingerprint, then change host_key",
                    )
                })
            }
            Self::Nobody => Err(error("trust the server: only its key was asked for")),
            Self::Known(hosts) | Self::Listed(hosts) => {
                let found = hosts.find(place.host, place.port, place.address);
                let own = if matches!(self, Self::Known(_)) { On::OwnList } else { On::ListOfAll };
                let operation = match found.standing(offered_type, offered) {
                    HostKeyStanding::Known => return Ok(()),
                    HostKeyStanding::Revoked => {
                        let error = error("trust the server: host key revoked");
                        let line = found.revoked.iter().find(|key| key.key == offered);
                        let error = match line.filter(|_| own == On::OwnList) {
                            Some(line) => error.with("known_hosts line", line.line),
                            None => error,
                        };
                        return Err(error.advice("nothing was sent. The key is marked @revoked: ask the server's operator for its new one"));
                    }
                    HostKeyStanding::Changed => "trust the server: host key changed",
                    HostKeyStanding::Unknown => "trust the server: host key unknown",
                };
                let changed = found.standing(offered_type, offered) == HostKeyStanding::Changed;
                Err(error(operation)
                    .with("on file", on_file(&found, own))
                    .advice(advice(&found, changed, own)))
            }
        }
    }
}

/// Which list counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    /// The endpoint's option `known_hosts`.
    OwnList,
    /// The list of all nodes. Its lines have no numbers.
    ListOfAll,
}

fn on_file(found: &Found<'_>, list: On) -> String {
    if found.keys.is_empty() {
        return "nothing for this host".into();
    }
    let line = |line: usize| if list == On::OwnList { format!(" (line {line})") } else { String::new() };
    let keys: Vec<String> = found
        .keys
        .iter()
        .map(|key| format!("{} {}{}", key.key_type, fingerprint(key.key), line(key.line)))
        .collect();
    keys.join(", ")
}

fn advice(found: &Found<'_>, changed: bool, list: On) -> String {
    let what = match (changed, list) {
        (true, On::OwnList) => {
            "nothing was sent. Either the server's key was replaced, or another machine pretends to be the \
            server: let its operator confirm the new fingerprint, then change known_hosts"
        }
        (true, On::ListOfAll) => {
            "nothing was sent. Either the server's key was replaced, or another machine pretends to be the server: let its \
            operator confirm the new fingerprint, then replace the key under Known hosts in the console, or with \
            `waybill known-host add`"
        }
        (false, On::OwnList) => {
            "nothing was sent. Let the server's operator confirm the fingerprint, then add the key to known_hosts"
        }
        (false, On::ListOfAll) => {
            "nothing was sent. Let the server's operator confirm the fingerprint, then add the key under Known hosts in the \
            console, or with `waybill known-host add`"
        }
    };
    if found.authorities.is_empty() {
        what.to_owned()
    } else {
        format!("{what}. The server showed no certificate of an authority that a @cert-authority line names")
    }
}

#[cfg(test)]
mod tests;
