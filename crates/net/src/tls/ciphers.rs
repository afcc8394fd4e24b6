//! TLS versions and ciphers by name.

use model::TlsVersion;
use openssl::error::ErrorStack;
use openssl::ssl::{SslContextBuilder, SslVersion, cipher_name};

/// The library's name of a version.
pub(super) fn of_library(version: TlsVersion) -> SslVersion {
    match version {
        TlsVersion::V1_2 => SslVersion::TLS1_2,
        TlsVersion::V1_3 => SslVersion::TLS1_3,
    }
}

/// The TLS 1.3 ciphers that can be configured.
const TLS_1_3: &[&str] =
    &["TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"];

/// The TLS 1.2 ciphers that can be configured, by OpenSSL's names: all encrypt and authenticate.
const TLS_1_2: &[&str] = &[
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "DHE-RSA-AES256-GCM-SHA384",
    "DHE-RSA-CHACHA20-POLY1305",
    "DHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-SHA384",
    "ECDHE-RSA-AES256-SHA384",
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-RSA-AES128-SHA256",
    "DHE-RSA-AES256-SHA256",
    "DHE-RSA-AES128-SHA256",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "AES256-GCM-SHA384",
    "AES128-GCM-SHA256",
    "AES256-SHA256",
    "AES128-SHA256",
    "AES256-SHA",
    "AES128-SHA",
];

/// The library's name of a cipher.
fn known(name: &str) -> Option<&'static str> {
    let find = |name: &str| TLS_1_3.iter().chain(TLS_1_2).copied().find(|known| *known == name);
    find(name).or_else(|| find(cipher_name(name)))
}

/// Checks that a text is the name of a cipher that can be chosen.
///
/// # Errors
/// That it is not, with the nearest known name.
pub(crate) fn check_cipher(name: &str) -> Result<(), String> {
    if known(name).is_some() {
        return Ok(());
    }
    let near = model::did_you_mean(name, TLS_1_3.iter().chain(TLS_1_2).copied());
    Err(format!("'{}' is not a supported TLS cipher{near}", model::PeerText::from(name)))
}

/// Sets the ciphers in this order; a TLS version without a named cipher keeps its default ones.
pub(super) fn set_ciphers(builder: &mut SslContextBuilder, names: &[String]) -> Result<(), ErrorStack> {
    let (new, old): (Vec<&str>, Vec<&str>) =
        names.iter().filter_map(|name| known(name)).partition(|name| TLS_1_3.contains(name));
    if !new.is_empty() {
        builder.set_ciphersuites(&new.join(":"))?;
    }
    if !old.is_empty() {
        builder.set_cipher_list(&old.join(":"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::ssl::SslMethod;

    #[test]
    fn every_cipher_that_can_be_chosen_is_one_that_the_library_knows() {
        for name in TLS_1_3.iter().chain(TLS_1_2) {
            let mut builder = SslContextBuilder::new(SslMethod::tls_client()).unwrap();
            let set = if TLS_1_3.contains(name) {
                builder.set_ciphersuites(name)
            } else {
                builder.set_cipher_list(name)
            };
            set.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
        assert_eq!(known("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"), Some("ECDHE-RSA-AES256-GCM-SHA384"));
    }

    #[test]
    fn words_that_choose_many_ciphers_or_weak_ones_are_refused() {
        for wrong in
            ["ALL", "NULL", "ECDHE-RSA-AES256-GCM-SHA384:NULL", "@SECLEVEL=0", "RC4-SHA", "aNULL", ""]
        {
            assert!(check_cipher(wrong).is_err(), "{wrong}");
        }
        let error = check_cipher("ECDHE-RSA-AES256-GCM-SHA385").unwrap_err();
        assert!(error.contains("did you mean 'ECDHE-RSA-AES256-GCM-SHA384'"), "{error}");
    }
}
