//! OpenSSH's certificates (PROTOCOL.certkeys): a server's, vouched for by an authority on file, and our own for logging in.

use super::algorithms::Algorithms;
use super::fingerprint::fingerprint;
use super::host_key::{HostTrust, Place};
use super::known_hosts::glob;
use model::{Error, ErrorKind, PeerText, Result, Step};
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Certificate, HashAlg, PublicKey};

/// How a certificate may stand with an authority.
enum Authority {
    /// On file for this host.
    Trusted,
    /// Not on file.
    Unknown,
}

/// The key as it goes over the wire.
fn wire(key: &KeyData) -> Result<Vec<u8>> {
    let unreadable =
        |error| Error::permanent(ErrorKind::Protocol, "read the server's host certificate").caused_by(error);
    PublicKey::new(key.clone(), "").to_bytes().map_err(unreadable)
}

/// Judges the certificate that a server showed. One of an authority that is not on file is judged by its key alone, like a
/// plain host key.
///
/// # Errors
/// `TrustFailed`, permanent, naming host, authority, and what is wrong with the certificate.
pub(crate) fn judge(
    trust: &HostTrust,
    place: &Place<'_>,
    certificate: &Certificate,
    algorithms: &Algorithms,
    now: u64,
) -> Result<()> {
    let key = wire(certificate.public_key())?;
    let signer = wire(certificate.signature_key())?;
    let refused = |why: String, advice: &'static str| {
        Err(Error::permanent(ErrorKind::TrustFailed, "trust the server: host certificate refused")
            .at_step(Step::HostKey)
            .with("host", format_args!("{}:{}", place.host, place.port))
            .with("authority", fingerprint(&signer))
            .with("certificate", PeerText::from(certificate.key_id()))
            .with("serial", certificate.serial())
            .with("reason", why)
            .advice(advice))
    };
    const ASK: &str = "nothing was sent. Ask the server's operator to renew or correct its host certificate";
    match authority(trust, place, &signer, &key) {
        Err(revoked) => {
            return refused(
                format!("its {revoked} is marked @revoked in known_hosts"),
                "nothing was sent. Ask the server's operator for a certificate with a new key",
            );
        }
        Ok(Authority::Unknown) => {
            let key_type = certificate.public_key().algorithm();
            return trust
                .judge(place, key_type.as_str(), &key)
                .map_err(|error| error.with("offered certificate of authority", fingerprint(&signer)));
        }
        Ok(Authority::Trusted) => {}
    }
    if !certificate.cert_type().is_host() {
        return refused("it is a user's certificate, not a host's".into(), ASK);
    }
    if now < certificate.valid_after() {
        return refused(format!("it is valid only from {}", moment(certificate.valid_after())), ASK);
    }
    if now >= certificate.valid_before() {
        return refused(format!("it expired at {}", moment(certificate.valid_before())), ASK);
    }
    let principals = certificate.valid_principals();
    let host = place.host.to_ascii_lowercase();
    if !principals.iter().any(|name| glob(name.to_ascii_lowercase().as_bytes(), host.as_bytes())) {
        // One without names would be good for every host of the authority.
        let names = PeerText::from(principals.join(", ").as_str());
        let names = if principals.is_empty() { "no host".into() } else { names.to_string() };
        return refused(format!("it is for {names}, not for {}", place.host), ASK);
    }
    if let Some(option) = certificate.critical_options().0.keys().next() {
        let option = PeerText::from(option.as_str());
        return refused(
            format!("it has the critical option '{option}', which host certificates must not have"),
            ASK,
        );
    }
    let algorithm = certificate.signature().algorithm();
    if !algorithms.may_sign(&algorithm) {
        return refused(
            format!("its authority signed with {algorithm}, which this endpoint does not accept"),
            "nothing was sent. Ask the operator of the authority to sign with SHA-2, or see the option host_key_algorithms",
        );
    }
    let on_file = certificate.signature_key().fingerprint(HashAlg::Sha256);
    match certificate.validate_at(now, [&on_file]) {
        Ok(()) => Ok(()),
        Err(error) => refused(format!("its signature is wrong ({error})"), ASK),
    }
}

/// Whether an authority is on file for a host; `Err` names which key is revoked.
fn authority(
    trust: &HostTrust,
    place: &Place<'_>,
    signer: &[u8],
    key: &[u8],
) -> std::result::Result<Authority, &'static str> {
    let Some(hosts) = trust.hosts() else { return Ok(Authority::Unknown) };
    let found = hosts.find(place.host, place.port, place.address);
    for (what, revoked) in [("authority", signer), ("key", key)] {
        if found.revoked.iter().any(|line| line.key == revoked) {
            return Err(what);
        }
    }
    let trusted = found.authorities.iter().any(|line| line.key == signer);
    Ok(if trusted { Authority::Trusted } else { Authority::Unknown })
}

/// Reads our certificate for logging in.
///
/// # Errors
/// What is wrong with it, for a finding.
pub(crate) fn read(text: &str) -> std::result::Result<Certificate, String> {
    let certificate = Certificate::from_openssh(text.trim()).map_err(|error| {
        format!(
            "is not an OpenSSH certificate ({error}); give the content of the file that ends in -cert.pub"
        )
    })?;
    if certificate.cert_type().is_user() {
        Ok(certificate)
    } else {
        Err("is a host's certificate; logging in needs a user's (ssh-keygen -s AUTHORITY -I NAME -n USER KEY.pub)".into())
    }
}

/// Why a certificate cannot be used to log in as this user at this time, as far as can be said before the server does.
pub(crate) fn unfit(certificate: &Certificate, user: &str, now: u64) -> Option<String> {
    if now < certificate.valid_after() {
        return Some(format!("it is valid only from {}", moment(certificate.valid_after())));
    }
    if now >= certificate.valid_before() {
        return Some(format!("it expired at {}", moment(certificate.valid_before())));
    }
    let principals = certificate.valid_principals();
    // A server may map other names to its users, so this is only said where the server refused.
    let is_named = principals.is_empty() || principals.iter().any(|name| name == user);
    (!is_named)
        .then(|| format!("it is for {}, not for {user}", PeerText::from(principals.join(", ").as_str())))
}

fn moment(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| chrono::DateTime::from_timestamp(seconds, 0));
    time.map_or_else(
        || format!("second {seconds} of Unix time"),
        |time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
    )
}

#[cfg(test)]
mod tests;
