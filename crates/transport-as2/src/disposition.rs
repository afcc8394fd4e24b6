//! Dispositions: what a receipt says (RFC 4130, 7.4.3 to 7.5; RFC 8098, 3.2.6).

use std::fmt;

/// What happened to a message, as its receipt says it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Disposition {
    /// `processed`.
    Processed,
    /// `processed/warning: …`: taken, with a remark.
    Warning(String),
    /// `processed/error: …`: not taken.
    Error(DispositionError),
    /// `failed/failure: …`: the sender asked for something that cannot be done.
    Failure(String),
}

/// The error modifiers of RFC 4130, 7.5, RFC 5402, 4.3, and any other text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DispositionError {
    /// The signature is not the partner's, or is not valid.
    AuthenticationFailed,
    /// The compressed content cannot be read.
    DecompressionFailed,
    /// The content cannot be decrypted.
    DecryptionFailed,
    /// The message is less protected than agreed.
    InsufficientMessageSecurity,
    /// The content is not what was signed.
    IntegrityCheckFailed,
    /// Anything else.
    UnexpectedProcessingError,
    /// Sender or receiver is not known here.
    UnknownTradingPartner,
    /// Another text, as received.
    Other(String),
}

impl DispositionError {
    const NAMED: [(Self, &'static str); 7] = [
        (Self::AuthenticationFailed, "authentication-failed"),
        (Self::DecompressionFailed, "decompression-failed"),
        (Self::DecryptionFailed, "decryption-failed"),
        (Self::InsufficientMessageSecurity, "insufficient-message-security"),
        (Self::IntegrityCheckFailed, "integrity-check-failed"),
        (Self::UnexpectedProcessingError, "unexpected-processing-error"),
        (Self::UnknownTradingPartner, "unknown-trading-partner"),
    ];

    /// The modifier's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(text) => text,
            named => Self::NAMED.iter().find(|(error, _)| error == named).map_or("", |(_, text)| text),
        }
    }

    fn parse(text: &str) -> Self {
        Self::NAMED
            .into_iter()
            .find(|(_, name)| name.eq_ignore_ascii_case(text))
            .map_or_else(|| Self::Other(text.to_owned()), |(error, _)| error)
    }
}

impl Disposition {
    /// Whether the partner has the message.
    #[must_use]
    pub const fn is_positive(&self) -> bool {
        matches!(self, Self::Processed | Self::Warning(_))
    }

    /// Whether the partner says that it had this message before: as a warning, as an error or as a
    /// failure, for products differ.
    #[must_use]
    pub fn is_duplicate(&self) -> bool {
        let text = match self {
            Self::Processed => return false,
            Self::Warning(text) | Self::Failure(text) => text,
            Self::Error(error) => error.as_str(),
        };
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        let is = |word: Option<&str>, one: &str| word.is_some_and(|word| word.eq_ignore_ascii_case(one));
        while let Some(word) = words.next() {
            if word.eq_ignore_ascii_case("duplicate") {
                // Not `duplicate-filename`: that is another message with a name that is taken.
                let of = words.next();
                return of.is_none() || is(of, "document") || is(of, "message");
            }
        }
        false
    }

    /// Whether a message could not be decrypted, or no certificate that is known has signed it: it was protected by other keys
    /// than its recipient has agreed to.
    pub(crate) const fn is_about_keys(&self) -> bool {
        use DispositionError::{AuthenticationFailed, DecryptionFailed};
        matches!(self, Self::Error(DecryptionFailed | AuthenticationFailed))
    }

    /// Reads the value of a `Disposition` field as partners write it: any case, with or without the
    /// mode before `;`, with or without space after it, `processed` or `failed` with their modifiers.
    /// `None` when it is none.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        // The mode ("automatic-action/MDN-sent-automatically") says nothing we act on. One source
        // document prints `MDN-sent-automatically/processed` with no `;` at all.
        let tail = match value.split_once(';') {
            Some((_, tail)) => tail,
            None => value.rsplit_once("sent-automatically/").map_or(value, |(_, tail)| tail),
        };
        let tail = without_comments(tail);
        let (kind, rest) = word(&tail);
        let (modifier, rest) = match rest.strip_prefix('/') {
            Some(rest) => word(rest),
            None => (String::new(), rest),
        };
        let text = rest.trim_matches(|c: char| c.is_whitespace() || matches!(c, ':' | ',' | ';' | '='));
        let or = |fallback: &str| if text.is_empty() { fallback.to_owned() } else { text.to_owned() };
        match (kind.as_str(), modifier.as_str()) {
            ("processed" | "displayed" | "dispatched", "") if text.is_empty() => Some(Self::Processed),
            ("processed", "warning" | "warn") => Some(Self::Warning(or("warning"))),
            ("processed" | "failed", "error") | ("error", "") => {
                Some(Self::Error(DispositionError::parse(&or("unexpected-processing-error"))))
            }
            ("processed" | "failed", "failure") | ("failed" | "failure", "") => {
                Some(Self::Failure(or("failure")))
            }
            _ => None,
        }
    }
}

/// The letters that a text begins with, in lower case, and what follows them; white space around them is
/// passed over.
fn word(text: &str) -> (String, &str) {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(text.len());
    (text[..end].to_ascii_lowercase(), text[end..].trim_start())
}

/// A value without its comments in parentheses (RFC 5322, 3.2.2); one that never closes stays.
fn without_comments(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, comment)) = rest.split_once('(') {
        let Some((_, after)) = comment.split_once(')') else { break };
        kept.push_str(before);
        rest = after;
    }
    kept.push_str(rest);
    kept
}

impl fmt::Display for Disposition {
    /// Writes the field's value exactly as RFC 4130 has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("automatic-action/MDN-sent-automatically; ")?;
        match self {
            Self::Processed => f.write_str("processed"),
            Self::Warning(text) => write!(f, "processed/warning: {text}"),
            Self::Error(error) => write!(f, "processed/error: {}", error.as_str()),
            Self::Failure(text) => write!(f, "failed/failure: {text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_partners_write() {
        let error = |e| Some(Disposition::Error(e));
        for (value, expected) in [
            ("automatic-action/MDN-sent-automatically; processed", Some(Disposition::Processed)),
            ("automatic-action/MDN-sent-automatically;processed", Some(Disposition::Processed)),
            ("automatic-action/mdn-sent-automatically; Processed", Some(Disposition::Processed)),
            ("MDN-sent-automatically/processed", Some(Disposition::Processed)),
            ("x; Processed/Error: Authentication-Failed", error(DispositionError::AuthenticationFailed)),
            ("x; processed/error:decryption-failed", error(DispositionError::DecryptionFailed)),
            ("x; processed/error: something new", error(DispositionError::Other("something new".into()))),
            (
                "x; failed/Failure: unsupported format",
                Some(Disposition::Failure("unsupported format".into())),
            ),
            (
                "x; processed/warning: duplicate-document",
                Some(Disposition::Warning("duplicate-document".into())),
            ),
            (
                "x; processed/Warning : duplicate-document",
                Some(Disposition::Warning("duplicate-document".into())),
            ),
            ("x; processed/error, decryption-failed", error(DispositionError::DecryptionFailed)),
            ("x; processed / error : decryption-failed", error(DispositionError::DecryptionFailed)),
            ("x; processed/error=decryption-failed", error(DispositionError::DecryptionFailed)),
            ("x; processed/error", error(DispositionError::UnexpectedProcessingError)),
            ("x; processed (by a machine)", Some(Disposition::Processed)),
            ("x; processed;", Some(Disposition::Processed)),
            ("x; failed", Some(Disposition::Failure("failure".into()))),
            ("x; processed with errors", None),
            ("x; deleted", None),
            ("", None),
        ] {
            assert_eq!(Disposition::parse(value), expected, "{value}");
        }
    }

    #[test]
    fn what_is_written_reads_back() {
        for (error, _) in DispositionError::NAMED {
            let disposition = Disposition::Error(error);
            assert_eq!(Disposition::parse(&disposition.to_string()), Some(disposition));
        }
        assert_eq!(
            Disposition::Error(DispositionError::DecryptionFailed).to_string(),
            "automatic-action/MDN-sent-automatically; processed/error: decryption-failed"
        );
    }

    /// Partners compare these texts with those of RFC 4130, 7.5, and RFC 5402, 4.3.
    #[test]
    fn every_disposition_is_written_exactly_as_its_rfc_has_it() {
        use DispositionError as E;
        let written = |disposition: &Disposition| disposition.to_string();
        assert_eq!(written(&Disposition::Processed), "automatic-action/MDN-sent-automatically; processed");
        for (error, text) in [
            (E::AuthenticationFailed, "authentication-failed"),
            (E::DecompressionFailed, "decompression-failed"),
            (E::DecryptionFailed, "decryption-failed"),
            (E::InsufficientMessageSecurity, "insufficient-message-security"),
            (E::IntegrityCheckFailed, "integrity-check-failed"),
            (E::UnexpectedProcessingError, "unexpected-processing-error"),
            (E::UnknownTradingPartner, "unknown-trading-partner"),
        ] {
            let expected = format!("automatic-action/MDN-sent-automatically; processed/error: {text}");
            assert_eq!(written(&Disposition::Error(error)), expected);
        }
        assert_eq!(
            written(&Disposition::Warning("duplicate-document".into())),
            "automatic-action/MDN-sent-automatically; processed/warning: duplicate-document"
        );
        for text in ["unsupported format", "unsupported MIC-algorithms", "sender-equals-receiver"] {
            let expected = format!("automatic-action/MDN-sent-automatically; failed/failure: {text}");
            assert_eq!(written(&Disposition::Failure(text.into())), expected);
        }
    }

    #[test]
    fn a_duplicate_is_one_however_it_is_said() {
        for (value, duplicate) in [
            ("x; processed/warning: duplicate-document", true),
            ("x; processed/Warning: duplicate-document", true),
            ("x; processed/error: Duplicate-Document", true),
            ("x; failed/failure: duplicate message received", true),
            ("x; processed/warning: duplicate", true),
            ("x; processed/error: duplicate-filename", false),
            ("x; processed/warning: authentication-failed, processing continued", false),
            ("x; processed", false),
        ] {
            assert_eq!(Disposition::parse(value).unwrap().is_duplicate(), duplicate, "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_value_panics_and_only_processed_is_good(value in ".{0,80}") {
            if let Some(disposition) = Disposition::parse(&value) {
                prop_assert!(!disposition.is_positive() || value.to_lowercase().contains("process") || value.to_lowercase().contains("disp"));
            }
        }
    }
}
