//! How many deliveries to each endpoint are not finished.

use crate::Store;
use crate::either::on;
use model::Result;
use std::collections::BTreeMap;

impl Store {
    /// Deliveries that have not ended, by endpoint; endpoints without any are left out.
    ///
    /// # Errors
    /// The database failed.
    pub async fn unfinished_deliveries(&self) -> Result<BTreeMap<String, u64>> {
        let rows: Vec<(String, i64)> = self
            .read("count the deliveries that are not finished", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT endpoint, count(*) FROM deliveries \
                     WHERE state IN ('pending', 'sending', 'awaiting_receipt', 'retrying') GROUP BY endpoint")
                    .fetch_all(c).await)
            })
            .await?;
        Ok(rows.into_iter().map(|(endpoint, count)| (endpoint, count.unsigned_abs())).collect())
    }
}
