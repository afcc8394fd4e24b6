//! What WebDAV adds to HTTP: answers, multistatus answers, and references to files.

pub(crate) mod answer;
pub(crate) mod href;
pub(crate) mod multistatus;

#[cfg(test)]
mod fuzz;
