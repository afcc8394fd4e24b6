//! The pages: a file, or a folder, for each, with its handler, its query and its template together.

pub(crate) mod assets;
pub(crate) mod audit;
pub(crate) mod certificates;
pub(crate) mod connection;
pub(crate) mod connections;
pub(crate) mod evidence;
pub(crate) mod flows;
pub(crate) mod keys;
pub(crate) mod known_hosts;
pub(crate) mod login;
pub(crate) mod mdn;
pub(crate) mod overview;
pub(crate) mod partners;
pub(crate) mod setup;
pub(crate) mod theme;
pub(crate) mod transfers;
pub(crate) mod waybill;
