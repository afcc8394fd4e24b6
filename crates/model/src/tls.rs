//! TLS as settings and definitions speak of it.

/// A version of TLS.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

impl TlsVersion {
    /// How versions are written.
    pub const WORDS: &'static [&'static str] = &["1.2", "1.3"];

    /// The version that a word means.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "1.2" => Some(Self::V1_2),
            "1.3" => Some(Self::V1_3),
            _ => None,
        }
    }
}

/// Whether a server asks its clients for certificates.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ClientCertificates {
    /// It does not ask.
    Off,
    /// It asks; who shows none is served as well. One that cannot be trusted is refused.
    Optional,
    /// It asks, and serves nobody without.
    Required,
}

impl ClientCertificates {
    /// How they are written.
    pub const WORDS: &'static [&'static str] = &["off", "optional", "required"];

    /// What a word means.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "off" => Some(Self::Off),
            "optional" => Some(Self::Optional),
            "required" => Some(Self::Required),
            _ => None,
        }
    }
}
