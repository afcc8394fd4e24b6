//! The algorithms that a session may use: their names, which of them are offered without being asked for, which are old,
//! which are approved (FIPS), and which the SSH library does not have.

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
use russh::{Preferred, cipher, compression, kex, mac};
use std::borrow::Cow;

/// How an algorithm stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    /// Offered by `auto`.
    Usual,
    /// Only where it is named.
    OnRequest,
    /// Broken or too weak: only where the endpoint allows it.
    Legacy,
    /// The SSH library does not have it; why it will not be missed, or what to take instead.
    Missing(&'static str),
}

/// A kind of algorithm, as the endpoint's option for it is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Cipher,
    Mac,
    KeyExchange,
    HostKey,
    Compression,
}

/// One algorithm: name, how it stands, and whether it is approved.
struct Known(&'static str, Standing, bool);

use Standing::{Legacy, Missing, OnRequest, Usual};

const BROKEN: Standing = Missing("it is broken, and Waybill's SSH library does not have it");
const NOT_THERE: Standing = Missing("Waybill's SSH library does not have it");

/// AES in counter and Galois/counter mode (SP 800-38A, 800-38D).
const CIPHERS: &[Known] = &[
    Known("aes256-gcm@openssh.com", Usual, true),
    Known("aes128-gcm@openssh.com", Usual, true),
    Known("chacha20-poly1305@openssh.com", Usual, false),
    Known("aes256-ctr", Usual, true),
    Known("aes192-ctr", Usual, true),
    Known("aes128-ctr", Usual, true),
    Known("aes256-cbc", Legacy, false),
    Known("aes192-cbc", Legacy, false),
    Known("aes128-cbc", Legacy, false),
    Known("3des-cbc", Legacy, false),
    Known("3des-ctr", BROKEN, false),
    Known("arcfour", BROKEN, false),
    Known("arcfour128", BROKEN, false),
    Known("arcfour256", BROKEN, false),
    Known("blowfish-cbc", BROKEN, false),
    Known("cast128-cbc", BROKEN, false),
];

/// HMAC with SHA-2 (FIPS 198-1).
const MACS: &[Known] = &[
    Known("hmac-sha2-256-etm@openssh.com", Usual, true),
    Known("hmac-sha2-512-etm@openssh.com", Usual, true),
    Known("hmac-sha2-256", Usual, true),
    Known("hmac-sha2-512", Usual, true),
    Known("hmac-sha1-etm@openssh.com", Legacy, false),
    Known("hmac-sha1", Legacy, false),
    Known("hmac-sha1-96", BROKEN, false),
    Known("hmac-md5", BROKEN, false),
    Known("hmac-md5-96", BROKEN, false),
    Known("hmac-ripemd160", BROKEN, false),
    Known("umac-64@openssh.com", NOT_THERE, false),
    Known("umac-128@openssh.com", NOT_THERE, false),
    Known("umac-64-etm@openssh.com", NOT_THERE, false),
    Known("umac-128-etm@openssh.com", NOT_THERE, false),
];

/// Approved: the curves of NIST and the groups of RFC 3526 (SP 800-56A). A group that the server chooses (group-exchange)
/// may be any.
const KEY_EXCHANGES: &[Known] = &[
    Known("mlkem768x25519-sha256", Usual, false),
    Known("curve25519-sha256", Usual, false),
    Known("curve25519-sha256@libssh.org", Usual, false),
    Known("ecdh-sha2-nistp256", Usual, true),
    Known("ecdh-sha2-nistp384", Usual, true),
    Known("ecdh-sha2-nistp521", Usual, true),
    Known("diffie-hellman-group-exchange-sha256", Usual, false),
    Known("diffie-hellman-group16-sha512", Usual, true),
    Known("diffie-hellman-group18-sha512", Usual, true),
    Known("diffie-hellman-group14-sha256", Usual, true),
    Known("diffie-hellman-group15-sha512", OnRequest, true),
    Known("diffie-hellman-group17-sha512", OnRequest, true),
    Known("diffie-hellman-group-exchange-sha1", Legacy, false),
    Known("diffie-hellman-group14-sha1", Legacy, false),
    Known("diffie-hellman-group1-sha1", Legacy, false),
    Known("sntrup761x25519-sha512", NOT_THERE, false),
    Known("sntrup761x25519-sha512@openssh.com", NOT_THERE, false),
];

/// Digital signatures of FIPS 186-5 with SHA-2.
const HOST_KEYS: &[Known] = &[
    Known("ssh-ed25519", Usual, true),
    Known("ecdsa-sha2-nistp256", Usual, true),
    Known("ecdsa-sha2-nistp384", Usual, true),
    Known("ecdsa-sha2-nistp521", Usual, true),
    Known("rsa-sha2-512", Usual, true),
    Known("rsa-sha2-256", Usual, true),
    Known("ssh-rsa", Legacy, false),
    Known("ssh-dss", Missing("its keys of 1024 bits are too short, and Waybill does not verify them"), false),
];

const COMPRESSIONS: &[Known] =
    &[Known("none", Usual, true), Known("zlib@openssh.com", OnRequest, true), Known("zlib", OnRequest, true)];

/// The word that stands for the usual algorithms, alone or in a list.
pub(crate) const AUTO: &str = "auto";

impl Kind {
    fn known(self) -> &'static [Known] {
        match self {
            Self::Cipher => CIPHERS,
            Self::Mac => MACS,
            Self::KeyExchange => KEY_EXCHANGES,
            Self::HostKey => HOST_KEYS,
            Self::Compression => COMPRESSIONS,
        }
    }

    /// The endpoint's option.
    pub(crate) const fn option(self) -> &'static str {
        match self {
            Self::Cipher => "ciphers",
            Self::Mac => "macs",
            Self::KeyExchange => "key_exchange",
            Self::HostKey => "host_key_algorithms",
            Self::Compression => "compression",
        }
    }
}

/// What an endpoint says about old and approved algorithms.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Policy {
    /// Old algorithms may be named, and are offered last.
    pub(crate) legacy: bool,
    /// Only approved algorithms are offered.
    pub(crate) fips: bool,
}

/// Checks a name in an endpoint's list.
///
/// # Errors
/// Why it cannot be used.
pub(crate) fn check(kind: Kind, name: &str, policy: Policy) -> Result<(), String> {
    if name == AUTO {
        return Ok(());
    }
    let shown = model::PeerText::from(name);
    let Some(Known(_, standing, approved)) = kind.known().iter().find(|known| known.0 == name) else {
        let usable = kind.known().iter().filter(|known| !matches!(known.1, Missing(_)));
        let near = model::did_you_mean(name, usable.map(|known| known.0));
        return Err(format!("'{shown}' is not an algorithm that Waybill knows{near}"));
    };
    match standing {
        Missing(why) => Err(format!("'{shown}' cannot be used: {why}")),
        _ if policy.fips && !approved => {
            Err(format!("'{shown}' is not on the approved list; remove it, or remove fips = true"))
        }
        Legacy if !policy.legacy => {
            Err(format!("'{shown}' is no longer safe; if the server has nothing better, set legacy = true"))
        }
        _ => Ok(()),
    }
}

/// The names to offer, in order: those of the list, where `auto` (and an empty list) stands for the usual ones.
fn chosen(kind: Kind, list: &[String], policy: Policy) -> Vec<&'static str> {
    let auto = [AUTO.to_owned()];
    let list = if list.is_empty() { &auto[..] } else { list };
    let mut names: Vec<&'static str> = Vec::new();
    for named in list {
        let taken = kind.known().iter().filter(|Known(name, standing, approved)| {
            let asked = if named == AUTO {
                *standing == Usual || (*standing == Legacy && policy.legacy)
            } else {
                name == named
            };
            asked && !matches!(standing, Missing(_)) && (*approved || !policy.fips)
        });
        for Known(name, ..) in taken {
            if !names.contains(name) {
                names.push(name);
            }
        }
    }
    names
}

/// The old algorithm among those that a session agreed on, if one is.
pub(crate) fn legacy_of(agreed: &[(Kind, &str)]) -> Option<&'static str> {
    agreed.iter().find_map(|(kind, name)| {
        let known = kind.known().iter().find(|known| known.0 == *name)?;
        (known.1 == Legacy).then_some(known.0)
    })
}

/// What an endpoint offers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Algorithms {
    ciphers: Vec<&'static str>,
    macs: Vec<&'static str>,
    key_exchanges: Vec<&'static str>,
    host_keys: Vec<&'static str>,
    compressions: Vec<&'static str>,
    pub(crate) policy: Policy,
}

impl Algorithms {
    /// What lists in an endpoint's options mean; what [`check`] refuses is left out.
    pub(crate) fn read(policy: Policy, list: impl Fn(Kind) -> Vec<String>) -> Self {
        let chosen = |kind| chosen(kind, &list(kind), policy);
        Self {
            ciphers: chosen(Kind::Cipher),
            macs: chosen(Kind::Mac),
            key_exchanges: chosen(Kind::KeyExchange),
            host_keys: chosen(Kind::HostKey),
            compressions: chosen(Kind::Compression),
            policy,
        }
    }

    /// The host key algorithms: those first whose keys are on file, as the server shows only one of its keys.
    pub(crate) fn host_keys(&self, on_file: impl Fn(&Algorithm) -> bool) -> Vec<Algorithm> {
        let all = self.host_keys.iter().filter_map(|name| host_key(name));
        let (first, rest): (Vec<_>, Vec<_>) = all.partition(on_file);
        first.into_iter().chain(rest).collect()
    }

    /// Whether an authority may have signed a certificate with this.
    pub(crate) fn may_sign(&self, algorithm: &Algorithm) -> bool {
        self.host_keys.iter().filter_map(|name| host_key(name)).any(|ours| ours == *algorithm)
    }

    /// The SSH library's form, asking for these host keys.
    pub(crate) fn preferred(&self, host_keys: Vec<Algorithm>, certificates: Vec<Algorithm>) -> Preferred {
        let mut key_exchanges: Vec<kex::Name> =
            self.key_exchanges.iter().filter_map(|name| kex::Name::try_from(*name).ok()).collect();
        // No algorithms, but what the client can do beyond them.
        key_exchanges.push(kex::EXTENSION_SUPPORT_AS_CLIENT);
        key_exchanges.push(kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT);
        let ciphers = self.ciphers.iter().filter_map(|name| cipher::Name::try_from(*name).ok());
        let macs = self.macs.iter().filter_map(|name| mac::Name::try_from(*name).ok());
        let compressions =
            self.compressions.iter().filter_map(|name| compression::Name::try_from(*name).ok());
        Preferred {
            kex: Cow::Owned(key_exchanges),
            key: Cow::Owned(host_keys),
            host_key_certificates: Cow::Owned(certificates),
            cipher: Cow::Owned(ciphers.collect()),
            mac: Cow::Owned(macs.collect()),
            compression: Cow::Owned(compressions.collect()),
        }
    }
}

pub(crate) fn host_key(name: &str) -> Option<Algorithm> {
    Some(match name {
        "ssh-ed25519" => Algorithm::Ed25519,
        "ecdsa-sha2-nistp256" => Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        "ecdsa-sha2-nistp384" => Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        "ecdsa-sha2-nistp521" => Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
        "rsa-sha2-512" => Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
        "rsa-sha2-256" => Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
        "ssh-rsa" => Algorithm::Rsa { hash: None },
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
