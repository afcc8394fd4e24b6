//! What a message may claim before it is refused.

/// Caps on everything that a reader keeps in memory or loops over. Content is not among them: it
/// streams, and who writes it away knows how much there is room for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one header section (64 KiB).
    pub header_bytes: usize,
    /// Fields of one header section (200).
    pub header_fields: usize,
    /// Layers of encryption, signature, compression and multipart around each other (10).
    pub nesting: usize,
    /// Parts of all multiparts together (1,000).
    pub parts: usize,
    /// Depth of ASN.1 constructions (32).
    pub asn1_depth: usize,
    /// Bytes of one CMS element other than the content, and of a signature part (1 MiB).
    pub element_bytes: u64,
    /// Recipients of one message (200).
    pub recipients: usize,
    /// Signers of one message (20).
    pub signers: usize,
    /// Bytes that may come out of one compressed content (1 TiB).
    pub expanded_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            header_bytes: 64 * 1024,
            header_fields: 200,
            nesting: 10,
            parts: 1000,
            asn1_depth: 32,
            element_bytes: 1024 * 1024,
            recipients: 200,
            signers: 20,
            expanded_bytes: 1 << 40,
        }
    }
}
