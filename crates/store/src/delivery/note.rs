//! What a transport must not forget about a delivery.

use crate::delivery::Done;
use crate::open::Store;
use model::{Claim, Result};
use serde_json::Value;

impl Store {
    /// Writes a note, durable before this answers.
    ///
    /// # Errors
    /// The database failed.
    pub async fn note(&self, claim: &Claim, key: &str, value: Value) -> Result<Done> {
        self.write(Note { claim: claim.clone(), key: key.to_owned(), value }).await
    }

    /// Binds a key (a Message-ID) to the delivery, so that a receipt finds it. The same key again for
    /// the same delivery is no error.
    ///
    /// # Errors
    /// The key belongs to another delivery; the database failed.
    pub async fn correlate(&self, claim: &Claim, key: &str) -> Result<Done> {
        self.write(Correlate { claim: claim.clone(), key: key.to_owned() }).await
    }
}

struct Note {
    claim: Claim,
    key: String,
    value: Value,
}
struct Correlate {
    claim: Claim,
    key: String,
}
crate::command::unfinished!(Note => Done, Correlate => Done);
