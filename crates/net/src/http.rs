//! HTTP/1.1 client and server over the recorded connections of this crate.

mod body;
mod client;
mod connector;
mod login;
mod outcome;
mod pace;
mod server;
mod shown;

pub use body::Body;
pub use client::{ConnectionInfo, HttpClient, HttpProfile, RequestMeta};
pub use login::{LoginMethod, ResolvedLogin, ServerLogin};
pub use outcome::CarriedBy;
pub use server::{
    FoldedFields, ForwardedHeader, Handler, HttpServers, ListenSpec, ListenerNumbers, PeerInfo, Route,
    RouteGuard, ServerLimits, Standby, TowerHandler, TrustedProxies, Unserved, Waits, client_network,
};

pub(crate) use client::Clients;
