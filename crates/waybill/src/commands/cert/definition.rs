//! Definitions that refer to the files that were written.

use super::private_key::{ChosenKey, KeyPassphrase};
use super::reference::reference;
use model::Result;
use std::path::Path;

/// `[key.NAME]`
pub(super) fn key(name: &str, key: &ChosenKey, certificate: Option<&Path>) -> Result<String> {
    let mut text = format!("[key.{}]\nprivate_key = {}\n", quoted(name), reference(&key.path)?);
    match &key.passphrase {
        KeyPassphrase::None => {}
        KeyPassphrase::File(path) => text.push_str(&format!("passphrase = {}\n", reference(path)?)),
        KeyPassphrase::Typed => text.push_str(
            "# The key is encrypted: write its passphrase into a file that only the gateway can read.\n\
             # passphrase = \"${file:/PATH/TO/PASSPHRASE}\"\n",
        ),
    }
    if let Some(path) = certificate {
        text.push_str(&format!("certificate = {}\n", reference(path)?));
    }
    Ok(text)
}

/// `[certificate.NAME]`
pub(super) fn certificate(name: &str, path: &Path) -> Result<String> {
    Ok(format!("[certificate.{}]\npem = {}\n", quoted(name), reference(path)?))
}

/// A name as a TOML key.
fn quoted(name: &str) -> String {
    if name.contains('.') { format!("\"{name}\"") } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_paths_are_written_as_toml_has_them() {
        let text = certificate("acme.2027", Path::new("/a \"b\"\\c.pem")).unwrap();
        assert_eq!(text, "[certificate.\"acme.2027\"]\npem = \"${file:/a \\\"b\\\"\\\\c.pem}\"\n");
    }
}
