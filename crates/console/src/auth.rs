//! What logging in is made of: the session cookie, hashes of passwords, and the delay after failed logins.
//!
//! Nothing here knows the console's state; `web::session` and `pages::login` put the parts together.

pub(crate) mod client_address;
pub(crate) mod cookie;
pub(crate) mod hasher;
pub(crate) mod throttle;
