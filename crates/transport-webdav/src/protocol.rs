//! What WebDAV adds to HTTP: answers, multistatus answers, references to files, and the login by digest.

pub(crate) mod answer;
pub(crate) mod challenge;
pub(crate) mod href;
pub(crate) mod multistatus;
