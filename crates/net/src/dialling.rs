//! The steps of dialling, as types: an error's type says which step failed.

use model::{Error, ErrorKind, Retry, Step};

/// A step of dialling.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Dialling {
    FindHost,
    FindProxy,
    Connect,
    ConnectProxy,
    Tunnel,
    Jump,
    Tls,
}

impl Dialling {
    /// Its error.
    pub(crate) fn error(self, kind: ErrorKind, retry: Retry) -> Error {
        let (words, step) = match self {
            Self::FindHost => ("find the host's address", Step::Name),
            Self::FindProxy => ("find the proxy's address", Step::Proxy),
            Self::Connect => ("connect", Step::Tcp),
            Self::ConnectProxy => ("connect to the proxy", Step::Proxy),
            Self::Tunnel => ("open a tunnel through the proxy", Step::Proxy),
            Self::Jump => ("open a connection through the jump host", Step::Jump),
            Self::Tls => ("finish the TLS handshake", Step::Tls),
        };
        Error::new(kind, retry, words).at_step(step)
    }
}
