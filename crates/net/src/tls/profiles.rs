//! TLS profiles by their options, so that certificates are not read again for each connection.

use super::client::{TlsOptions, TlsProfile, identity};
use crate::connection::lock;
use model::Result;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// A profile is created again after this time, so that changes to the system's authorities take effect.
const RENEWED_AFTER: Duration = Duration::from_secs(300);

/// The profiles of a [`crate::Net`], by the digest of their options.
#[derive(Default)]
pub(crate) struct Profiles {
    made: Mutex<HashMap<[u8; 32], (TlsProfile, Instant)>>,
}

impl Profiles {
    /// # Errors
    /// As [`TlsProfile::new`].
    pub(crate) fn get(&self, options: &TlsOptions) -> Result<TlsProfile> {
        let (now, key) = (Instant::now(), identity(options));
        {
            let mut made = lock(&self.made);
            made.retain(|_, (_, at)| now - *at < RENEWED_AFTER);
            if let Some((profile, _)) = made.get(&key) {
                return Ok(profile.clone());
            }
        }
        let profile = TlsProfile::new(options)?;
        lock(&self.made).insert(key, (profile.clone(), now));
        Ok(profile)
    }
}
