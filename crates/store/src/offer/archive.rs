//! Files in archives, which are removed when their time is over.

use crate::command::Command;
use crate::either::on;
use crate::fault::Fault;
use crate::open::Store;
use crate::row::{PayloadRow, digest, path, signed, unsigned};
use crate::tx::Tx;
use async_trait::async_trait;
use model::{AuditEvent, NodeName, OfferId, PayloadRecord, RemotePath, Result, Timestamp};
use sqlx::FromRow;

/// Where an archive is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ArchiveSite {
    /// At an endpoint.
    Endpoint(String),
    /// On the disk of a node.
    Node(NodeName),
}

/// A file in an archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ArchiveRecord {
    /// The flow that archived it.
    pub flow: String,
    /// Where.
    pub site: ArchiveSite,
    /// Its path there.
    pub path: RemotePath,
    /// Its size in bytes when it was archived.
    pub size: Option<u64>,
    /// Its modification time when it was archived.
    pub modified: Option<Timestamp>,
    /// When it is to be removed.
    pub remove_at: Timestamp,
}

impl ArchiveRecord {
    fn key(&self) -> String {
        let (kind, name) = match &self.site {
            ArchiveSite::Endpoint(name) => ("endpoint", name.as_str()),
            ArchiveSite::Node(name) => ("node", name.as_str()),
        };
        digest(&serde_json::json!([kind, name, self.path.to_text()]).to_string())
    }
}

#[derive(FromRow)]
struct Row {
    flow: String,
    endpoint: Option<String>,
    node: Option<String>,
    path: String,
    size: Option<i64>,
    modified_at: Option<Timestamp>,
    remove_at: Timestamp,
}

impl Row {
    fn record(self) -> Result<Option<ArchiveRecord>> {
        let site = match (self.endpoint, self.node.map(NodeName::try_from)) {
            (Some(endpoint), _) => ArchiveSite::Endpoint(endpoint),
            (None, Some(Ok(node))) => ArchiveSite::Node(node),
            (None, _) => return Ok(None),
        };
        Ok(Some(ArchiveRecord {
            flow: self.flow,
            site,
            path: path(&self.path)?,
            size: self.size.map(unsigned).transpose()?,
            modified: self.modified_at,
            remove_at: self.remove_at,
        }))
    }
}

impl Store {
    /// The files that a node may remove from archives now, at endpoints and on its own disk; the longest due first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn archived_past(
        &self,
        node: &NodeName,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<ArchiveRecord>> {
        let rows: Vec<Row> = self
            .read("look up archived files past their time", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT flow, endpoint, node, path, size, modified_at, remove_at FROM archived_files \
                     WHERE remove_at <= $1 AND (node IS NULL OR node = $2) ORDER BY remove_at, key LIMIT $3")
                    .bind(now).bind(node.as_str()).bind(i64::from(limit)).fetch_all(c).await)
            })
            .await?;
        rows.into_iter().filter_map(|row| row.record().transpose()).collect()
    }

    /// Records files that were archived on a node, before their source is settled: whatever happens then, they are removed
    /// when their time is over. Idempotent.
    ///
    /// # Errors
    /// The database failed.
    pub async fn record_archived(&self, files: Vec<ArchiveRecord>, now: Timestamp) -> Result<()> {
        self.write(Archived { files, now }).await
    }

    /// Puts off the removal of all files of one endpoint's archives that are due now.
    ///
    /// # Errors
    /// The database failed.
    pub async fn postpone_archives_of(&self, endpoint: &str, now: Timestamp, until: Timestamp) -> Result<()> {
        self.write(PostponeAll { endpoint: endpoint.to_owned(), now, until }).await
    }

    /// Forgets a file of an archive, with the events that say what became of it; false if another node has done so, or
    /// the file was archived anew since: then nothing was written.
    ///
    /// # Errors
    /// The database failed.
    pub async fn forget_archived(&self, file: &ArchiveRecord, events: Vec<AuditEvent>) -> Result<bool> {
        self.write(Forget { key: file.key(), remove_at: file.remove_at, events }).await
    }

    /// Tries to remove a file of an archive later.
    ///
    /// # Errors
    /// The database failed.
    pub async fn postpone_archived(&self, file: &ArchiveRecord, until: Timestamp) -> Result<()> {
        self.write(Postpone { key: file.key(), remove_at: file.remove_at, until }).await
    }

    /// The payloads that were read for an offer, in the order of its parts.
    ///
    /// # Errors
    /// The database failed.
    pub async fn payloads_of_offer(&self, offer: OfferId) -> Result<Vec<PayloadRecord>> {
        let rows: Vec<PayloadRow> = self
            .read("look up the payloads of an offer", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT id, length, sha256, streamed, media_type, file_name, staged_at FROM ( \
                       SELECT p.id, p.length, p.sha256, p.streamed, p.media_type, t.file_name, p.staged_at, \
                         t.sequence, 0 AS place FROM transfers t \
                       JOIN payloads p ON p.id = t.payload_id WHERE t.offer_id = $1 AND t.parent_id IS NULL \
                       UNION ALL SELECT p.id, p.length, p.sha256, p.streamed, p.media_type, p.file_name, p.staged_at, \
                         t.sequence, a.place FROM transfers t JOIN attachments a ON a.transfer_id = t.id \
                       JOIN payloads p ON p.id = a.payload_id WHERE t.offer_id = $1 AND t.parent_id IS NULL) AS files \
                     ORDER BY sequence, place")
                    .bind(offer.uuid()).fetch_all(c).await)
            })
            .await?;
        rows.into_iter().map(PayloadRow::payload).collect()
    }
}

/// Writes a file of an archive; one with its path there is replaced. Where offers share a file, it stays for the longest
/// time that was promised.
pub(crate) async fn insert_archived(
    tx: &mut Tx<'_>,
    file: &ArchiveRecord,
    now: Timestamp,
) -> Result<(), Fault> {
    let (endpoint, node) = match &file.site {
        ArchiveSite::Endpoint(name) => (Some(name.as_str()), None),
        ArchiveSite::Node(name) => (None, Some(name.as_str())),
    };
    let size = file.size.map(signed).transpose()?;
    on!(tx, c => sqlx::query(
        "INSERT INTO archived_files (key, flow, endpoint, node, path, size, modified_at, archived_at, remove_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (key) DO UPDATE SET flow = excluded.flow, \
           size = excluded.size, modified_at = excluded.modified_at, archived_at = excluded.archived_at, \
           remove_at = CASE WHEN excluded.remove_at > archived_files.remove_at THEN excluded.remove_at \
             ELSE archived_files.remove_at END")
        .bind(file.key()).bind(&file.flow).bind(endpoint).bind(node).bind(file.path.to_text()).bind(size)
        .bind(file.modified).bind(now).bind(file.remove_at).execute(c).await.map(|_| ()))?;
    Ok(())
}

struct Archived {
    files: Vec<ArchiveRecord>,
    now: Timestamp,
}

#[async_trait]
impl Command for Archived {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        for file in &self.files {
            insert_archived(tx, file, self.now).await?;
        }
        Ok(())
    }
}

struct Forget {
    key: String,
    remove_at: Timestamp,
    events: Vec<AuditEvent>,
}

#[async_trait]
impl Command for Forget {
    type Answer = bool;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        let removed = on!(tx, c => sqlx::query("DELETE FROM archived_files WHERE key = $1 AND remove_at = $2")
            .bind(&self.key).bind(self.remove_at).execute(c).await.map(|done| done.rows_affected()))?;
        if removed == 0 {
            return Ok(false);
        }
        tx.events(&self.events);
        Ok(true)
    }
}

struct Postpone {
    key: String,
    remove_at: Timestamp,
    until: Timestamp,
}

#[async_trait]
impl Command for Postpone {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        on!(tx, c => sqlx::query("UPDATE archived_files SET remove_at = $3 WHERE key = $1 AND remove_at = $2")
            .bind(&self.key).bind(self.remove_at).bind(self.until).execute(c).await.map(|_| ()))?;
        Ok(())
    }
}

struct PostponeAll {
    endpoint: String,
    now: Timestamp,
    until: Timestamp,
}

#[async_trait]
impl Command for PostponeAll {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        on!(tx, c => sqlx::query("UPDATE archived_files SET remove_at = $3 WHERE endpoint = $1 AND remove_at <= $2")
            .bind(&self.endpoint).bind(self.now).bind(self.until).execute(c).await.map(|_| ()))?;
        Ok(())
    }
}
