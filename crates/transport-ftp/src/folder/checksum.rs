//! Checksums that the server computes: HASH (draft-bryan-ftp-hash), else XSHA256, XSHA512, XSHA1, XSHA and XMD5, which many
//! servers have without a standard.

use super::Lease;
use crate::error::Fault;
use crate::protocol::reply::Reply;
use model::RemotePath;
use transport::folder::{ChecksumKind, ServerChecksum};

/// The checksum of a file; `None` if the server offers none, or does not compute it for this file.
///
/// # Errors
/// No answer came, or the file cannot be named.
pub(super) async fn checksum(lease: &Lease, path: &RemotePath) -> Result<Option<ServerChecksum>, Fault> {
    // Line ends are converted on the way.
    if lease.is_ascii() {
        return Ok(None);
    }
    let features = lease.features();
    for (place, kind) in ChecksumKind::BY_PREFERENCE.into_iter().enumerate() {
        if features.hashes[place] {
            let chosen = lease.ask("OPTS", &[b"HASH ", kind.name().as_bytes()].concat()).await?;
            let reply = if chosen.is_done() { lease.ask_of("HASH", path).await? } else { chosen };
            if let Some(value) = said(&reply, kind) {
                return Ok(Some(value));
            }
        }
        // A range may follow the name of these commands, with nothing but a space between.
        let is_plain = !path.as_bytes().contains(&b' ');
        if let Some(command) = features.checksum_commands[place].filter(|_| is_plain)
            && let Some(value) = said(&lease.ask_of(command, path).await?, kind)
        {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// The digits of an answer: `213 SHA-256 0-255 6ae1… name`, `250 6AE1…`.
fn said(reply: &Reply, kind: ChecksumKind) -> Option<ServerChecksum> {
    if !reply.is_done() {
        return None;
    }
    // mod_digest says before it that it computes. What comes after the digits is the file's name, which may look like some.
    let line = reply.lines.last()?;
    let words = line.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
    words.take(3).find_map(|word| ServerChecksum::from_hex(kind, word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_found_in_each_form_of_the_answer() {
        let digits = "d41d8cd98f00b204e9800998ecf8427e";
        for (code, text, is_there) in [
            (213, format!("MD5 0-255 {digits} a.edi"), true),
            (250, digits.to_uppercase(), true),
            (213, format!("MD5 0-255 {} {digits}", &digits[1..]), false),
            (550, digits.to_owned(), false),
        ] {
            let lines = vec![b"Computing MD5 digest".to_vec(), text.clone().into_bytes()];
            let reply = Reply { code, lines };
            assert_eq!(said(&reply, ChecksumKind::Md5).is_some(), is_there, "{code} {text}");
        }
    }
}
