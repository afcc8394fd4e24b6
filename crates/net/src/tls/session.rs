//! TLS sessions for further connections to a server: FTP servers accept data connections only with the session of their
//! control connection.

use crate::connection::lock;
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::ssl::{Ssl, SslConnectorBuilder, SslRef, SslSession, SslSessionCacheMode};
use std::sync::{Arc, Mutex, OnceLock};

/// The newest TLS session of a connection and of those that resume it. Clones share it.
///
/// It is kept as DER, and each connection gets a fresh copy: OpenSSL marks a session that ended abruptly as not
/// resumable, and takes a ticket of TLS 1.3 out of the session that used it.
#[derive(Clone, Default)]
pub struct TlsSession(Arc<Mutex<Option<Vec<u8>>>>);

impl TlsSession {
    /// Whether a session is kept.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        lock(&self.0).is_some()
    }

    /// Offers the session, if there is one, and keeps those that the server gives.
    pub(super) fn offer(&self, ssl: &mut SslRef) -> Result<(), ErrorStack> {
        ssl.set_ex_data(place()?, self.clone());
        let Some(der) = lock(&self.0).clone() else { return Ok(()) };
        let copy = SslSession::from_der(&der)?;
        // SAFETY: the function asks that the session belongs to no other context. The copy was made from bytes a line
        // above, belongs to none, and nothing else uses it.
        #[allow(unsafe_code, reason = "the only way to set a session; see above")]
        unsafe {
            ssl.set_session(&copy)
        }
    }
}

impl std::fmt::Debug for TlsSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsSession").field("kept", &self.is_kept()).finish()
    }
}

/// Where an SSL object holds the place of its sessions.
fn place() -> Result<Index<Ssl, TlsSession>, ErrorStack> {
    static PLACE: OnceLock<Index<Ssl, TlsSession>> = OnceLock::new();
    match PLACE.get() {
        Some(place) => Ok(*place),
        None => {
            let new = Ssl::new_ex_index()?;
            Ok(*PLACE.get_or_init(|| new))
        }
    }
}

/// Lets connections keep the sessions that their servers give. With TLS 1.3 they come after the handshake.
pub(super) fn keep_newest(builder: &mut SslConnectorBuilder) -> Result<(), ErrorStack> {
    let place = place()?;
    builder.set_session_cache_mode(SslSessionCacheMode::CLIENT | SslSessionCacheMode::NO_INTERNAL);
    builder.set_new_session_callback(move |ssl, session| {
        if let (Some(kept), Ok(der)) = (ssl.ex_data(place), session.to_der()) {
            *lock(&kept.0) = Some(der);
        }
    });
    Ok(())
}
