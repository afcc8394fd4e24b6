//! Media types by the names of files.

/// The media type of a file of which nothing but its name is known.
pub(crate) fn by_name(name: &[u8]) -> &'static str {
    match name.rsplit(|b| *b == b'.').next() {
        Some(b"edi" | b"x12" | b"EDI" | b"X12") => "application/edi-x12",
        Some(b"edifact" | b"EDIFACT") => "application/edifact",
        Some(b"xml" | b"XML") => "application/xml",
        _ => "application/octet-stream",
    }
}
