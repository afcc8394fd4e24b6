//! Which keys of the SSH agent an endpoint logs in with.

use model::definition::Endpoint;
use model::schema::{FieldPath, Findings};
use russh::keys::ssh_key::Fingerprint;
use russh::keys::{HashAlg, PublicKey};

/// Most keys of an agent that are offered in one login. Servers count each as a failure; OpenSSH ends the connection at the
/// sixth.
pub(crate) const OFFERED: usize = 3;

/// The word for whichever key the server accepts.
const ANY: &str = "any";

/// The keys of the agent that are offered to a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum AgentKeys {
    /// The first ones that the agent has.
    Any,
    /// Those with these fingerprints, in this order.
    Named(Vec<Fingerprint>),
}

impl AgentKeys {
    /// Reads the option `agent`; `None` where it is left out or a mistake in it was reported.
    pub(crate) fn read(endpoint: &Endpoint, findings: &mut Findings<'_>) -> Option<Self> {
        endpoint.options.get("agent")?;
        let words: Vec<&str> = endpoint.options.texts("agent").collect();
        match words[..] {
            [] => {
                findings.error("agent", "is empty: name a key by its fingerprint, or write \"any\"");
                None
            }
            [ANY] => Some(Self::Any),
            _ if words.contains(&ANY) => {
                findings
                    .error("agent", "has \"any\" beside other keys: write \"any\" alone, or name the keys");
                None
            }
            _ if words.len() > OFFERED => {
                let message = format!(
                    "names {} keys; at most {OFFERED} are offered to a server, because it counts each as a failed login",
                    words.len()
                );
                findings.error("agent", message);
                None
            }
            _ => {
                let named = words.iter().zip(1..);
                let named: Vec<Option<Fingerprint>> = named
                    .map(|(word, number)| {
                        findings.accept(FieldPath::from("agent").item(number), named_key(word))
                    })
                    .collect();
                named.into_iter().collect::<Option<_>>().map(Self::Named)
            }
        }
    }
}

/// The fingerprint that a person wrote: alone, in the line of `ssh-add -l`, or as the public key that it is of.
fn named_key(text: &str) -> Result<Fingerprint, String> {
    if let Ok(key) = PublicKey::from_openssh(text.trim()) {
        return Ok(key.fingerprint(HashAlg::Sha256));
    }
    let word = text.split_whitespace().find(|word| word.starts_with("SHA256:"));
    word.and_then(|word| word.parse().ok()).ok_or_else(|| {
        "is no key of an agent: write its fingerprint as ssh-add -l shows it (\"SHA256:…\"), its public key, or \"any\"".to_owned()
    })
}
