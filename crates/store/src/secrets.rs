//! Secrets of definitions, encrypted. What encrypts them is not in this room's database.

use crate::either::on;
use crate::fault::Fault;
use crate::tx::Tx;
use sqlx::QueryBuilder;
use uuid::Uuid;

/// Rows of one statement: SQLite binds 32,766 values at most.
const ROWS: usize = 1000;

/// A secret to be stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewSecret {
    /// What the definition's document names it by.
    pub id: Uuid,
    /// The definition's section.
    pub section: String,
    /// The definition's name.
    pub name: String,
    /// The field's path within the definition.
    pub field: String,
    /// The master key that it is encrypted with.
    pub key_id: String,
    /// Nonce, ciphertext and tag.
    pub sealed: Vec<u8>,
}

/// Writes secrets; those that are there already are left alone.
pub(crate) async fn insert(tx: &mut Tx<'_>, secrets: &[NewSecret]) -> Result<(), Fault> {
    for rows in secrets.chunks(ROWS) {
        on!(tx, c => {
            let mut insert =
                QueryBuilder::<Db>::new("INSERT INTO secrets (id, section, name, field, key_id, sealed) ");
            insert.push_values(rows, |mut row, secret| {
                row.push_bind(secret.id)
                    .push_bind(&secret.section)
                    .push_bind(&secret.name)
                    .push_bind(&secret.field)
                    .push_bind(&secret.key_id)
                    .push_bind(&secret.sealed);
            });
            insert.push(" ON CONFLICT (id) DO NOTHING");
            insert.build().persistent(false).execute(c).await.map(|_| ())
        })?;
    }
    Ok(())
}
