//! Messages that listeners receive.

pub(crate) mod intake;
pub(crate) mod kept;
mod keys;
mod reception;
mod routing;
