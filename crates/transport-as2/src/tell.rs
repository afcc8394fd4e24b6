//! What the operator can tell a partner about an exchange that failed: sentences that can be copied. They are for the operator
//! alone, and never part of an answer to the peer. What they repeat of the peer's words is safe to show by then.

use crate::agreement::SendSecurity;
use crate::disposition::{Disposition, DispositionError};
use smime::{Mic, MicRule};

/// What is known of a message that the partner refused.
pub(crate) struct Refused<'a> {
    pub(crate) message_id: &'a str,
    pub(crate) security: SendSecurity,
    /// SHA-256 of our certificate, which signed it.
    pub(crate) own_fingerprint: &'a str,
    /// SHA-256 of the certificates that it was encrypted for.
    pub(crate) recipient_fingerprint: &'a str,
    pub(crate) mic: Option<&'a Mic>,
}

/// Of a refusal by the partner's receipt; none where its words say all that is known.
pub(crate) fn refused(disposition: &Disposition, message: &Refused<'_>) -> Option<String> {
    use DispositionError as E;
    let Disposition::Error(error) = disposition else { return None };
    let id = message.message_id;
    let words = match error {
        E::DecryptionFailed if message.security.encrypts() => format!(
            "Your system could not decrypt our AS2 message {id}. We encrypted it for your certificate with the SHA-256 \
             fingerprint {}. Please check whether your system still has the key of this certificate; if it does not, please \
             send us the certificate that we are to use.",
            message.recipient_fingerprint
        ),
        E::AuthenticationFailed if message.security.signs() => format!(
            "Your system could not verify the signature of our AS2 message {id}. We signed it with the certificate with the \
             SHA-256 fingerprint {}. Please check that this certificate is set for our AS2 name in your system.",
            message.own_fingerprint
        ),
        E::IntegrityCheckFailed => format!(
            "Your system found that the content of our AS2 message {id} is not what we signed. Please check what stands between \
             the internet and your AS2 system, such as a proxy or a virus scanner that changes line ends or headers.{}",
            message
                .mic
                .map(|mic| format!(" The MIC of the message that we sent is {mic}."))
                .unwrap_or_default()
        ),
        E::UnknownTradingPartner => format!(
            "Your system does not know the AS2 names of our AS2 message {id}. Please compare AS2-From and AS2-To with what is \
             set there, letter by letter and with upper and lower case."
        ),
        E::InsufficientMessageSecurity => format!(
            "Your system refused our AS2 message {id} because of its protection (we send: {}). Please tell us which protection \
             it expects.",
            message.security.as_str().replace('_', " and ")
        ),
        _ => return None,
    };
    Some(words)
}

/// Of an answer without a receipt.
pub(crate) fn no_receipt(message_id: &str) -> String {
    format!(
        "Your server answered our AS2 message {message_id} with success, but without a receipt (MDN), which we asked for in the \
         same answer. Please check whether your system sends synchronous receipts to us."
    )
}

/// Of a receipt without a signature.
pub(crate) fn unsigned(message_id: &str) -> String {
    format!(
        "Your receipt (MDN) for our AS2 message {message_id} is not signed, though we asked for a signed one \
         (Disposition-Notification-Options). Please set your system to sign its receipts to us."
    )
}

/// Of a receipt whose signature proves nothing.
pub(crate) fn unproved(reason: &str, message_id: &str) -> String {
    format!(
        "We could not verify the signature of your receipt (MDN) for our AS2 message {message_id}: {reason}. Please tell us \
         which certificate signs your receipts, with its SHA-256 fingerprint."
    )
}

/// Of a receipt without a MIC.
pub(crate) fn no_mic(message_id: &str) -> String {
    format!(
        "Your receipt (MDN) for our signed AS2 message {message_id} has no Received-content-MIC, so that it does not say which \
         content you received (RFC 4130, section 7.4.3). Please set your system to return it."
    )
}

/// Of a receipt with another MIC: ours, theirs, and the rule that gives theirs, if one does.
pub(crate) fn other_mic(message_id: &str, ours: &Mic, theirs: &str, rule: Option<MicRule>) -> String {
    let begin = format!(
        "The MIC in your receipt (MDN) for our AS2 message {message_id} is {theirs}; that of the message that we sent is {ours}."
    );
    match rule {
        Some(MicRule::Entity) => format!(
            "{begin} Yours covers the same bytes, with another digest. Please use the digest that we ask for in \
             Disposition-Notification-Options (signed-receipt-micalg)."
        ),
        Some(rule) => format!(
            "{begin} Yours was computed over another form of the same content ({}). Please compute it over the exact bytes of \
             the signed part with its headers (RFC 4130, section 7.3.1), without changing line ends.",
            rule.describe()
        ),
        None => format!(
            "{begin} No rule known to us gives yours, so that your system may have received other bytes. Please compare the file \
             with ours, by its size and its SHA-256, before it is processed."
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smime::Digest;

    fn mic(byte: u8) -> Mic {
        Mic { algorithm: Digest::Sha256, digest: vec![byte; 32] }
    }

    fn words(disposition: &str) -> Option<String> {
        let ours = mic(1);
        let message = Refused {
            message_id: "<1@acme>",
            security: SendSecurity::SignedEncrypted,
            own_fingerprint: "0a0a",
            recipient_fingerprint: "0b0b",
            mic: Some(&ours),
        };
        refused(&Disposition::parse(&format!("x; processed/error: {disposition}")).unwrap(), &message)
    }

    #[test]
    fn what_a_partner_is_told_names_the_message_and_what_to_compare() {
        for (disposition, expected) in [
            ("decryption-failed", "fingerprint 0b0b"),
            ("authentication-failed", "fingerprint 0a0a"),
            ("integrity-check-failed", "The MIC of the message that we sent is AQEB"),
            ("unknown-trading-partner", "letter by letter"),
            ("insufficient-message-security", "we send: signed and encrypted"),
        ] {
            let words = words(disposition).unwrap();
            assert!(words.contains(expected) && words.contains("<1@acme>"), "{words}");
        }
        assert_eq!(words("unexpected-processing-error"), None);
    }

    #[test]
    fn another_mic_is_explained_by_the_rule_that_gives_it() {
        let told = |rule| other_mic("<1@acme>", &mic(1), "Zm9v, sha1", rule);
        for (rule, expected) in [
            (Some(MicRule::Entity), "with another digest"),
            (Some(MicRule::EntityAllLf), "entity with headers, LF line ends"),
            (None, "No rule known to us"),
        ] {
            let words = told(rule);
            assert!(words.contains(expected) && words.contains("is Zm9v, sha1;"), "{words}");
        }
    }
}
