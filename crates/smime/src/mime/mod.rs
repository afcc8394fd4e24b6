//! MIME as streams: header sections, content types, multiparts and transfer encodings,
//! read leniently and written strictly (RFC 2045, 2046, 2047, 2231).

pub(crate) mod content_type;
pub(crate) mod entity;
pub(crate) mod form_data;
pub(crate) mod headers;
pub(crate) mod multipart;
pub(crate) mod transfer;
pub(crate) mod words;
