//! Local and network-mounted directories as sources and destinations.
//!
//! An endpoint names a directory (`file:///abs/dir`) below one of the roots that `waybill.toml` allows.
//! [`LocalFolder`] does the file-system work, never leaving its roots; polling and safe writing are
//! [`transport::folder`]'s. Local directories need no connection and give no connection events.

mod endpoint;
mod folder;
mod options;
mod place;

pub use endpoint::FileTransport;
pub use folder::LocalFolder;
pub use options::SPEC;
