//! What the operator can tell a partner about an exchange that failed: sentences that can be copied. They are for the operator
//! alone, and never part of an answer to the peer. What they repeat of the peer's words is safe to show by then.

use crate::agreement::SendSecurity;
use crate::disposition::{Disposition, DispositionError};
use smime::{Digest, LastLineEnd, Mic, MicRule, NameStyle, SignedForm};

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

/// The form of signed content that its signature fits, with the digest algorithm where that is another one than the signature
/// names.
pub(crate) fn form(form: SignedForm) -> String {
    let words = form.describe();
    let name = |digest: Digest| digest.name(NameStyle::default());
    match form.algorithm == form.stated {
        true => words,
        false => format!("{words}, by {} (the signature names {})", name(form.algorithm), name(form.stated)),
    }
}

/// Of a message whose signature fits another form of its content than the one that came.
pub(crate) fn signed_form(message: &str, found: SignedForm) -> String {
    let mut words = format!(
        "{message} has a signature that does not fit its content as we received it, but another form of it: {}.",
        form(found)
    );
    let line_ends = match found.rule {
        MicRule::EntityAllLf | MicRule::ContentAllLf | MicRule::EntityContentLf => Some(
            " Please sign the canonical form with CRLF line ends (RFC 8551, section 3.1.1), or check what changes line ends after \
             your system has signed.",
        ),
        MicRule::EntityCanonical
        | MicRule::ContentCanonical
        | MicRule::EntityAllCrlf
        | MicRule::ContentAllCrlf => Some(
            " Please send the content with the CRLF line ends that you sign (RFC 8551, section 3.1.1), or check what changes line \
             ends after your system has signed.",
        ),
        _ => None,
    };
    let has_no_headers = matches!(
        found.rule,
        MicRule::Content | MicRule::ContentCanonical | MicRule::ContentAllCrlf | MicRule::ContentAllLf
    );
    let headers = has_no_headers
        .then_some(" Please sign the whole part, with its header fields (RFC 1847, section 2.1).");
    let encoding = found.is_decoded.then_some(
        " Please sign the part in the transfer encoding in which you send it (RFC 8551, section 3.1).",
    );
    let last_line_end = (found.last_line_end != LastLineEnd::Kept).then_some(
        " Please sign exactly the bytes that you send, up to the last line end. In multipart/signed the CRLF before a boundary \
         belongs to the boundary (RFC 2046, section 5.1.1).",
    );
    let digest = (found.algorithm != found.stated).then_some(
        " Please name in the signature (digestAlgorithm: RFC 5652, section 5.3) the digest that is in it, or use the digest that \
         it names.",
    );
    words.extend([line_ends, headers, encoding, last_line_end, digest].into_iter().flatten());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn what_to_change_follows_from_the_form_that_was_signed() {
        let exact = SignedForm {
            stated: Digest::Sha256,
            algorithm: Digest::Sha256,
            rule: MicRule::Entity,
            last_line_end: LastLineEnd::Kept,
            is_decoded: false,
        };
        for (form, named, asked) in [
            (
                SignedForm { rule: MicRule::EntityContentLf, ..exact },
                "LF line ends",
                "the canonical form with CRLF",
            ),
            (
                SignedForm { rule: MicRule::EntityAllCrlf, ..exact },
                "CRLF line ends",
                "send the content with the CRLF",
            ),
            (SignedForm { rule: MicRule::Content, ..exact }, "without headers", "with its header fields"),
            (
                SignedForm { is_decoded: true, ..exact },
                "transfer encoding taken off",
                "in the transfer encoding",
            ),
            (
                SignedForm { last_line_end: LastLineEnd::Without, ..exact },
                "without the last line end",
                "up to the last line end",
            ),
            (
                SignedForm { algorithm: Digest::Sha1, ..exact },
                "by sha-1 (the signature names sha-256)",
                "digestAlgorithm",
            ),
        ] {
            let words = signed_form("Your AS2 message", form);
            assert!(words.contains(named) && words.matches("Please").count() == 1, "{words}");
            assert!(words.contains(asked), "{words}");
        }
    }
}
