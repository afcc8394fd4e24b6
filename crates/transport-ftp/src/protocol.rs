//! FTP itself: replies, addresses of data connections, listings. No I/O but reading replies.

pub(crate) mod address;
pub(crate) mod ascii;
pub(crate) mod features;
pub(crate) mod listing;
pub(crate) mod names;
pub(crate) mod path;
pub(crate) mod reply;

#[cfg(test)]
mod fuzz;
