//! Reading one line for the list of all nodes, which keeps only what a connection can be judged by.

use super::super::fingerprint::fingerprint;
use super::{Hosts, Mark, parse_line};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use model::{KnownHostLine, KnownHostMark, PeerText};
use russh::keys::PublicKey;

/// The longest line, in bytes: an RSA key of 16,384 bits has 2,800.
const LONGEST: usize = 8 * 1024;

/// The longest comment that is kept, in characters.
const LONGEST_COMMENT: usize = 200;

const FORM: &str =
    "write it as in OpenSSH's known_hosts: host names and addresses with commas between, key type, and key";

/// Reads one line.
///
/// # Errors
/// What is wrong with it, and how a line is written.
pub(crate) fn read(text: &str) -> Result<KnownHostLine, String> {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}');
    if text.is_empty() || text.starts_with('#') {
        return Err(format!("there is no key in it; {FORM}"));
    }
    if text.len() > LONGEST || text.contains(['\n', '\r', '\0']) {
        return Err(format!("it is not one line of at most {LONGEST} bytes; {FORM}"));
    }
    let line = parse_line(1, text).map_err(|why| format!("{why}; {FORM}"))?;
    let line = line.ok_or("it is a key of SSH version 1, which Waybill does not speak")?;
    let key = BASE64.encode(&line.key);
    PublicKey::from_openssh(&format!("{} {key}", line.key_type))
        .map_err(|error| format!("the key cannot be read ({error})"))?;
    let mut words = text.split_ascii_whitespace();
    let hosts = words.by_ref().find(|word| !word.starts_with('@')).unwrap_or_default();
    let comment = words.skip(2).collect::<Vec<_>>().join(" ");
    let comment: String = PeerText::from(comment.as_str()).as_str().chars().take(LONGEST_COMMENT).collect();
    Ok(KnownHostLine {
        mark: match line.mark {
            Mark::None => KnownHostMark::Host,
            Mark::Authority => KnownHostMark::Authority,
            Mark::Revoked => KnownHostMark::Revoked,
        },
        hosts: hosts.to_owned(),
        names: names(&line.hosts)?,
        key_type: line.key_type,
        fingerprint: fingerprint(&line.key),
        key,
        comment: (!comment.is_empty()).then_some(comment),
    })
}

/// The hosts that are no patterns, with their ports.
fn names(hosts: &Hosts) -> Result<Vec<(String, u16)>, String> {
    let Hosts::Patterns(patterns) = hosts else { return Ok(Vec::new()) };
    if !patterns.iter().any(|pattern| !pattern.negated) {
        return Err(format!("it names no host; {FORM}"));
    }
    let plain = patterns.iter().filter(|pattern| !pattern.negated && !pattern.text.contains(['*', '?']));
    let read = |text: &str| match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        None => Ok((text.to_owned(), 22)),
        Some((host, port)) => {
            let port = port.strip_prefix(':').and_then(|port| port.parse().ok());
            let wrong = || format!("'{text}' has no port behind its brackets; write it as [host]:2222");
            port.map(|port| (host.to_owned(), port)).ok_or_else(wrong)
        }
    };
    plain.map(|pattern| read(&pattern.text)).collect()
}

#[cfg(test)]
mod tests;
