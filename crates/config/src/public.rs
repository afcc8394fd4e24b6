//! What anybody may see: told apart from whatever else a file may hold.
//!
//! A field for a certificate or a host key is shown in lists and messages. Before the content of a file
//! goes into one it is looked at, so that no other file can be read through such a field.

use model::PublicMaterial;
use openssl::base64::decode_block;
use openssl::x509::X509;

/// Whether a text holds a private key in one of the forms that people keep in files.
pub(crate) fn holds_private_key(text: &str) -> bool {
    let text = text.to_ascii_uppercase();
    // PEM of every kind and OpenSSH's own; PGP's; PuTTY's.
    ["PRIVATE KEY", "PRIVATE-LINES:", "PUTTY-USER-KEY-FILE"].iter().any(|mark| text.contains(mark))
}

/// Whether a text is what it should be and nothing else that matters.
pub(crate) fn is(material: PublicMaterial, text: &str) -> bool {
    match material {
        PublicMaterial::Certificate => {
            X509::stack_from_pem(text.as_bytes()).is_ok_and(|stack| !stack.is_empty()) || is_openpgp_key(text)
        }
        PublicMaterial::HostKeys => {
            let mut lines = lines(text).peekable();
            lines.peek().is_some() && lines.all(|words| words.iter().any(|word| is_host_key(word)))
        }
        PublicMaterial::UserCertificate => {
            let mut lines = lines(text).peekable();
            lines.peek().is_some() && lines.all(|words| words.get(1).is_some_and(|word| is_key(word)))
        }
        // One good line is enough: files that grew over years hold lines that nobody reads any more.
        PublicMaterial::KnownHosts => lines(text).any(|words| {
            let marked = words.first().is_some_and(|word| word.starts_with('@'));
            words.get(if marked { 3 } else { 2 }).is_some_and(|key| is_key(key))
        }),
    }
}

/// Whether a text is one OpenPGP public key in armour and nothing else (RFC 9580, 6.2).
pub(crate) fn is_openpgp_key(text: &str) -> bool {
    let whole = text.trim().strip_prefix("-----BEGIN PGP PUBLIC KEY BLOCK-----");
    let Some(inside) = whole.and_then(|rest| rest.strip_suffix("-----END PGP PUBLIC KEY BLOCK-----")) else {
        return false;
    };
    let base64 = |line: &str| {
        line.len() <= 76 && line.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
    };
    let header =
        |line: &str| ["Version: ", "Comment: ", "Charset: "].iter().any(|name| line.starts_with(name));
    inside.lines().map(str::trim).all(|line| base64(line) || header(line))
}

/// The words of each line; comments and empty lines do not count.
fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_whitespace().collect())
}

/// A fingerprint, or a public key as it goes over the wire.
fn is_host_key(word: &str) -> bool {
    let fingerprint = word.strip_prefix("SHA256:").map(|hash| hash.trim_end_matches('='));
    fingerprint.is_some_and(|hash| {
        hash.len() == 43 && hash.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/".contains(&byte))
    }) || is_key(word)
}

/// Whether a word is a public key: the length of its type's name and that name, in base64 (RFC 4253, 6.6).
fn is_key(word: &str) -> bool {
    let Ok(bytes) = decode_block(word) else { return false };
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return false };
    let name = usize::try_from(u32::from_be_bytes(*length)).ok().and_then(|length| rest.get(..length));
    name.is_some_and(|name| !name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic()))
}

#[cfg(test)]
mod tests {
    use super::{holds_private_key, is, is_openpgp_key};
    use model::PublicMaterial::{HostKeys, KnownHosts};

    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIPbrUuGeFOTs/6OVIUCQj/Ggc2nJ9RFkFBDzf7v1KLRO";

    #[test]
    fn host_keys_are_told_from_other_files() {
        for text in [
            format!("ssh-ed25519 {KEY} root@acme"),
            format!("SHA256:{}", "a".repeat(43)),
            format!("256 SHA256:{} acme (ED25519)\n# comment\n", "a".repeat(43)),
        ] {
            assert!(is(HostKeys, &text), "{text}");
        }
        for text in ["", "hunter2", "SHA256:hunter2", "# comment", "user hunter2\n", "AAAA", "aHVudGVyMg=="] {
            assert!(!is(HostKeys, text) && !is(KnownHosts, text), "{text}");
        }
        for text in [
            format!("sftp.acme.example ssh-ed25519 {KEY}\n\n"),
            format!("@revoked |1|abc=|def= ssh-ed25519 {KEY} comment\n"),
        ] {
            assert!(is(KnownHosts, &text), "{text}");
        }
        assert!(is(KnownHosts, &format!("old 1024 35 1234567\nh ssh-ed25519 {KEY}")));
        assert!(!is(HostKeys, &format!("ssh-ed25519 {KEY}\nhunter2")));
    }

    #[test]
    fn private_keys_of_every_form_are_known() {
        for text in [
            "-----BEGIN PRIVATE KEY-----",
            "-----BEGIN RSA PRIVATE KEY-----",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            "-----BEGIN PGP PRIVATE KEY BLOCK-----",
            "-----begin private key-----",
            "PuTTY-User-Key-File-3: ssh-ed25519",
            "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n-----BEGIN EC PRIVATE KEY-----",
        ] {
            assert!(holds_private_key(text), "{text}");
        }
        assert!(!holds_private_key("-----BEGIN CERTIFICATE-----"));
    }

    #[test]
    fn an_openpgp_key_is_public_where_nothing_else_is_in_the_file() {
        let key = "-----BEGIN PGP PUBLIC KEY BLOCK-----\nComment: Globex\n\nmDMEZ+/a\n=vK0h\n-----END PGP PUBLIC KEY BLOCK-----\n";
        assert!(is_openpgp_key(key) && is(model::PublicMaterial::Certificate, key));
        for other in [
            key.replace("PUBLIC", "PRIVATE"),
            format!("password = \"x\"\n{key}"),
            format!("{key}password = \"x\"\n"),
            key.replace("mDME", "root:x:0 mDME"),
            String::new(),
        ] {
            assert!(!is_openpgp_key(&other), "{other}");
        }
    }
}
