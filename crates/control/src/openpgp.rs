//! OpenPGP keys in the list of certificates: partners' and our own, so that their ends are seen and warned of as well.

use config::{CertificateFacts, ReadCertificate};
use model::{PeerText, Timestamp};
use pgp_mime::PartnerKey;

/// What a key without an end is listed with: 9999-12-31.
const WITHOUT_END: i64 = 253_402_214_400;

/// The public key of a partner; `None` where the bytes are none in armour.
pub(crate) fn of_partner(bytes: &[u8]) -> Option<ReadCertificate> {
    let text = std::str::from_utf8(bytes).ok().filter(|text| pgp_mime::is_armoured(text))?;
    let key = PartnerKey::read(text).ok()?;
    Some(ReadCertificate { facts: facts(&key), pem: text.to_owned() })
}

/// The public half of a key of ours, which need not be unlocked for that; `None` where it is no OpenPGP key.
pub(crate) fn of_own(private: &str) -> Option<ReadCertificate> {
    let key = PartnerKey::of_private(Some(private).filter(|text| pgp_mime::is_armoured(text))?).ok()?;
    Some(ReadCertificate { facts: facts(&key), pem: key.to_armoured().ok()? })
}

fn facts(key: &PartnerKey) -> CertificateFacts {
    let validity = key.validity();
    let without_end = || Timestamp::from_timestamp(WITHOUT_END, 0).unwrap_or(Timestamp::MAX_UTC);
    let user = PeerText::from(key.user()).to_string();
    CertificateFacts {
        subject: user.clone(),
        issuer: user,
        self_signed: true,
        serial: String::new(),
        // By its own fingerprint, which is what people compare.
        sha256: key.fingerprint(),
        sha1: key.fingerprint(),
        not_before: Timestamp::from(validity.from),
        not_after: validity.until.map_or_else(without_end, Timestamp::from),
        key: format!("OpenPGP {}", key.algorithm()),
        signature: "OpenPGP".to_owned(),
        uses: Vec::new(),
        names: Vec::new(),
    }
}
