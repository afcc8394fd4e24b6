//! The authority that stamps seals with the time.

use super::{parsed, server_url, within};
use crate::reader::Reader;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// Time stamps over seals.
#[derive(Clone, Debug)]
pub struct Timestamps {
    /// `http` or `https`, without a user.
    pub url: Url,
    /// Certificates (PEM) that the signer's chain must lead to.
    pub certificates: PathBuf,
    /// Least time between two.
    pub every: Duration,
}

/// The authority, when one is set; nothing when that cannot be used.
pub(super) fn timestamps(audit: &Reader<'_>, certificates: Option<&PathBuf>) -> Option<Option<Timestamps>> {
    let every = within(audit, "timestamp_every", 1..=86_400);
    if !audit.has("timestamp_url") {
        return every.map(|_| None);
    }
    let url = parsed(audit, "timestamp_url", |text| {
        let url = server_url(text).map_err(|why| {
            format!("must be a URL such as \"http://tsa.example/tsr\", not {text:?}: {why}")
        })?;
        if url.fragment().is_some() {
            Err("must be a URL without a fragment (#…)".to_owned())
        } else {
            Ok(url)
        }
    });
    if certificates.is_none() {
        let advice = "needs audit.timestamp_certificates: without them, time stamps cannot be verified";
        audit.error("timestamp_url", advice);
    }
    Some(Some(Timestamps { url: url?, certificates: certificates?.clone(), every: every? }))
}
