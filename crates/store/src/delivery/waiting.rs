//! How many deliveries wait for an endpoint.

use crate::either::on;
use crate::open::Store;
use model::Result;

impl Store {
    /// The number of deliveries that wait to be sent to an endpoint, those that are held among them; `most` when there
    /// are more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn waiting(&self, endpoint: &str, most: u32) -> Result<u32> {
        let count: i64 = self
            .read("count the deliveries that wait for an endpoint", async {
                on!(self.pool(), c => sqlx::query_scalar(
                    "SELECT count(*) FROM (SELECT 1 FROM deliveries \
                     WHERE state IN ('pending', 'retrying') AND endpoint = $1 LIMIT $2) waiting")
                    .bind(endpoint).bind(i64::from(most)).fetch_one(c).await)
            })
            .await?;
        Ok(u32::try_from(count).unwrap_or(most))
    }
}
