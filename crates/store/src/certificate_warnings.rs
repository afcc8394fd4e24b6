//! Which ends of certificates were warned of: each certificate and threshold once over all nodes.

use crate::Store;
use crate::command::Command;
use crate::either::on;
use crate::fault::Fault;
use crate::tx::Tx;
use async_trait::async_trait;
use model::{AuditEvent, Result, Timestamp};

impl Store {
    /// Records that a certificate reached a threshold before its end, in days (0: its end), with the event that tells it;
    /// false where that was recorded already: then nothing is written. `fingerprint` is the SHA-256 of its DER, in
    /// hexadecimal.
    ///
    /// # Errors
    /// The database failed.
    pub async fn warn_of_certificate(
        &self,
        fingerprint: &str,
        days: i64,
        at: Timestamp,
        event: AuditEvent,
    ) -> Result<bool> {
        self.write(Warn { fingerprint: fingerprint.to_owned(), days, at, event }).await
    }
}

struct Warn {
    fingerprint: String,
    days: i64,
    at: Timestamp,
    event: AuditEvent,
}

#[async_trait]
impl Command for Warn {
    type Answer = bool;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        let written = on!(tx, c => sqlx::query(
            "INSERT INTO certificate_warnings (fingerprint, days, warned_at) VALUES ($1, $2, $3) \
             ON CONFLICT (fingerprint, days) DO NOTHING")
            .bind(&self.fingerprint).bind(self.days).bind(self.at)
            .execute(c).await.map(|done| done.rows_affected()))?;
        if written == 0 {
            return Ok(false);
        }
        tx.events(std::slice::from_ref(&self.event));
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{at, both, event};
    use futures::future::join_all;
    use model::{AuditEvent, EventKind};

    both! {
        each_threshold_of_a_certificate_is_told_once(store) {
            let told = |n| AuditEvent { kind: EventKind::CertificateExpires, ..event(n) };
            // As nodes that look at the same moment.
            let all = join_all((1..9).map(|n| store.warn_of_certificate("ab12", 30, at(n), told(n)))).await;
            assert_eq!(all.into_iter().filter(|first| *first.as_ref().unwrap()).count(), 1);
            assert!(store.warn_of_certificate("ab12", 7, at(10), told(10)).await.unwrap());
            assert!(store.warn_of_certificate("cd34", 7, at(11), told(11)).await.unwrap());
            assert!(!store.warn_of_certificate("ab12", 7, at(12), told(12)).await.unwrap());
            assert_eq!(store.unsealed_events(crate::Bound::START, 20).await.unwrap(), 3);
        }
    }
}
