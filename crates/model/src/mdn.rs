//! MDNs that are kept, so that anybody can check them again, years later and with any tool.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fmt;

/// An MDN (RFC 8098, RFC 4130) as a whole MIME entity: header section, an empty line, and the body, byte for byte as it
/// came. At most about 1 MiB. In JSON it is base64.
#[derive(Clone, PartialEq, Eq)]
pub struct MdnEntity(Vec<u8>);

impl MdnEntity {
    /// Of these bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// From its text form.
    ///
    /// # Errors
    /// It is not base64.
    pub fn from_text(text: &str) -> Result<Self, base64::DecodeError> {
        BASE64.decode(text).map(Self)
    }

    /// Its text form: base64.
    #[must_use]
    pub fn to_text(&self) -> String {
        BASE64.encode(&self.0)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

impl fmt::Debug for MdnEntity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MdnEntity({} bytes)", self.0.len())
    }
}

impl Serialize for MdnEntity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_text())
    }
}

impl<'de> Deserialize<'de> for MdnEntity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_text(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// The key of the delivery's note that holds its last [`UnprovenMdn`].
pub const UNPROVEN_MDN: &str = "unproven_mdn";

/// The key of the delivery's note that holds the receipt which proved it until a later one contradicted it.
pub const CONTRADICTED_RECEIPT: &str = "contradicted_receipt";

/// The last MDN of a delivery that did not prove it: it says no, or its signature or MIC proves nothing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UnprovenMdn {
    /// The attempt that it answered.
    pub attempt: u32,
    /// The HTTP status that it came with.
    pub status: u16,
    /// Its media type, as the partner wrote it.
    pub content_type: String,
    /// The MDN itself.
    pub mdn: MdnEntity,
}
