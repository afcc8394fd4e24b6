//! Pinned host keys, in every form that tools print them in.
//!
//! `ssh-keygen -l` prints `256 SHA256:… comment (ED25519)`, PuTTY `ssh-ed25519 255 SHA256:…`, the ssh client asks about
//! `ED25519 key fingerprint is SHA256:….`, key files hold `ssh-ed25519 AAAA… comment`, `ssh-keyscan` puts the host in
//! front. A word that stands where a type belongs and is none is a mistake, and would otherwise be found only when the
//! right key is refused.

use super::fingerprint;
use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use russh::keys::PublicKey;

/// With padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What the words for a host key's type stand for.
const TYPES: &[(&str, &[&str])] = &[
    ("ssh-ed25519", &["ssh-ed25519"]),
    ("ed25519", &["ssh-ed25519"]),
    ("ssh-rsa", &["ssh-rsa"]),
    ("rsa", &["ssh-rsa"]),
    // How an RSA key signs; the key's own type is ssh-rsa.
    ("rsa-sha2-256", &["ssh-rsa"]),
    ("rsa-sha2-512", &["ssh-rsa"]),
    ("ecdsa-sha2-nistp256", &["ecdsa-sha2-nistp256"]),
    ("ecdsa-sha2-nistp384", &["ecdsa-sha2-nistp384"]),
    ("ecdsa-sha2-nistp521", &["ecdsa-sha2-nistp521"]),
    ("ecdsa", &["ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"]),
];

/// Types that keys have and that no connection is made by.
const NOT_TAKEN: &[&str] = &["dsa", "ssh-dss", "ed25519-sk", "ecdsa-sk", "rsa1"];

const FORMS: &str = "write the fingerprint as ssh-keygen -l shows it (\"SHA256:…\", optionally with a key \
    type before it), or the public key (\"ssh-ed25519 AAAA…\")";

/// A pinned key: its fingerprint, and the types it may be of; none for any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pin {
    pub(super) types: Vec<&'static str>,
    /// `SHA256:…`, without padding.
    pub(super) fingerprint: String,
}

type Types = Vec<&'static str>;

impl Pin {
    /// Reads the keys of a text, one to a line; empty lines and comments (`#`) are passed over.
    ///
    /// # Errors
    /// What is wrong with it, and how a pin is written.
    pub(crate) fn parse(text: &str) -> Result<Vec<Self>, String> {
        let mut pins = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let several = line.matches("SHA256:").count() > 1;
            let pieces: Vec<&str> =
                if several { line.split([',', ';']).map(str::trim).collect() } else { vec![line] };
            for piece in pieces {
                pins.push(parse_one(piece).map_err(|why| format!("{piece:?}: {why}; {FORMS}"))?);
            }
        }
        if pins.is_empty() {
            return Err(format!("{text:?} contains no host key; {FORMS}"));
        }
        Ok(pins)
    }

    pub(super) fn describe(&self) -> String {
        if self.types.is_empty() {
            self.fingerprint.clone()
        } else {
            format!("{} {}", self.types.join("/"), self.fingerprint)
        }
    }
}

fn parse_one(line: &str) -> Result<Pin, String> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    if words.iter().any(|word| word.starts_with('@')) {
        return Err("a line with a marker (@revoked, @cert-authority) belongs in known_hosts".into());
    }
    if let Some(place) = words.iter().position(|word| digest_of(word, "SHA256").is_some()) {
        return by_fingerprint(&words[..place], words[place], &words[place + 1..]);
    }
    for kind in ["MD5", "SHA1", "SHA384", "SHA512"] {
        if words.iter().any(|word| digest_of(word, kind).is_some()) {
            return Err(format!(
                "{kind} fingerprints are not accepted; get a SHA-256 one with ssh-keygen -l -E sha256"
            ));
        }
    }
    if words.iter().any(|word| is_hex_pairs(word)) {
        return Err(
            "MD5 fingerprints are not accepted; get a SHA-256 one with ssh-keygen -l -E sha256".into()
        );
    }
    let whole = |word: &&str| word.starts_with("AAAA") && word.len() > 43;
    if let Some(place) = words.iter().position(whole) {
        return by_public_key(&words[..place], words[place]);
    }
    // WinSCP leaves the digest's name out: `ssh-ed25519 255 …=`.
    if let [before @ .., hash] = &words[..]
        && !before.is_empty()
        && BASE64.decode(hash).is_ok_and(|bytes| bytes.len() == 32)
    {
        return by_fingerprint(before, &format!("SHA256:{hash}"), &[]);
    }
    Err("no host key".into())
}

/// The digest in a word like `SHA256:…`, however its name is written.
fn digest_of<'a>(word: &'a str, kind: &str) -> Option<&'a str> {
    let (name, digest) = word.split_once(':')?;
    name.eq_ignore_ascii_case(kind).then_some(digest)
}

fn is_hex_pairs(word: &str) -> bool {
    let mut pairs = 0;
    word.split(':').all(|pair| {
        pairs += 1;
        pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit())
    }) && pairs == 16
}

fn by_fingerprint(before: &[&str], word: &str, after: &[&str]) -> Result<Pin, String> {
    // The ssh client's question ends with a full stop.
    let hash = digest_of(word, "SHA256").unwrap_or_default().trim_end_matches('.');
    let bytes = BASE64.decode(hash).map_err(|_| "the fingerprint is not base64".to_owned())?;
    if bytes.len() != 32 {
        return Err(format!("the fingerprint has {} bytes instead of 32", bytes.len()));
    }
    if after.iter().any(|word| digest_of(word, "SHA256").is_some()) {
        return Err("several fingerprints; write each as an item of the list".into());
    }
    let mut types: Option<Types> = None;
    let mut bits = None;
    let before = match before {
        [first, "key", "fingerprint", "is"] => std::slice::from_ref(first),
        other => other,
    };
    for word in before {
        if let Ok(number) = word.parse::<u32>() {
            bits = Some(number);
        } else {
            narrow(&mut types, key_types(word)?.ok_or_else(|| format!("{word:?} is not a key type"))?)?;
        }
    }
    if let Some(last) = after.last()
        && let Some(word) = last.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'))
    {
        match key_types(word)? {
            Some(of) => narrow(&mut types, of)?,
            // In parentheses after a number of bits stands the type, and else what the comment is.
            None if bits.is_some() => return Err(format!("{word:?} is not a key type")),
            None => {}
        }
    }
    let mut types = types.unwrap_or_default();
    if types.len() > 1
        && let Some(bits) = bits
    {
        types.retain(|name| name.ends_with(&bits.to_string()));
    }
    Ok(Pin {
        types,
        fingerprint: format!("SHA256:{}", base64::engine::general_purpose::STANDARD_NO_PAD.encode(bytes)),
    })
}

fn by_public_key(before: &[&str], word: &str) -> Result<Pin, String> {
    let bytes = BASE64.decode(word).map_err(|_| "the public key is not base64".to_owned())?;
    let key = PublicKey::from_bytes(&bytes).map_err(|_| "the public key is cut off or damaged".to_owned())?;
    let own = key.algorithm().as_str().to_owned();
    let types = key_types(&own)?.ok_or_else(|| format!("keys of type {own} are not accepted"))?;
    // What ssh-keyscan prints has the host in front; whose key it is, the endpoint says.
    if let Some(word) = before.last() {
        let named = key_types(word)?.ok_or_else(|| format!("{word:?} is not a key type"))?;
        if !named.contains(&own.as_str()) {
            return Err(format!("the public key is of type {own}, not {word}"));
        }
    }
    if before.len() > 2 {
        return Err("too many words before the public key".into());
    }
    Ok(Pin { types, fingerprint: fingerprint(&bytes) })
}

/// The types that a word stands for; `None` when it is no key type.
fn key_types(word: &str) -> Result<Option<Types>, String> {
    let word = word.to_ascii_lowercase();
    if NOT_TAKEN.contains(&word.as_str()) || word.contains("-cert") || word.starts_with("sk-") {
        return Err(format!(
            "keys of type {word} are not accepted; ask for the server's ed25519, ECDSA or RSA key"
        ));
    }
    Ok(TYPES.iter().find(|(name, _)| *name == word).map(|(_, types)| types.to_vec()))
}

/// Both must be true.
fn narrow(types: &mut Option<Types>, further: Types) -> Result<(), String> {
    let both: Types = match types {
        None => further,
        Some(types) => types.iter().copied().filter(|name| further.contains(name)).collect(),
    };
    if both.is_empty() {
        return Err("two different key types".into());
    }
    *types = Some(both);
    Ok(())
}

#[cfg(test)]
mod tests;
