//! Messages that listeners receive.

pub(crate) mod intake;
mod keys;
mod proof;
mod reception;
mod reply;
mod routing;
