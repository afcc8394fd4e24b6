//! The list of known hosts, and the keys that servers showed and that are not on it. Nodes follow the list by the number of its
//! newest change.

#[cfg(test)]
mod tests;

use crate::Store;
use crate::command::Command;
use crate::either::on;
use crate::fault::Fault;
use crate::row::word;
use crate::tx::Tx;
use crate::wake::Topic;
use async_trait::async_trait;
use model::{
    Actor, AuditEvent, Error, ErrorKind, HostKeyStanding, KnownHost, OfferedHostKey, PeerText, Result,
    Timestamp,
};
use sqlx::FromRow;
use uuid::Uuid;

/// How many keys of one server wait for a decision: the newest ones. A server may show another key each time.
const KEPT_OFFERS: i64 = 5;

/// The list as it is at a change.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KnownHostState {
    /// The number of the newest change; 0 before the first.
    pub change: i64,
    /// The lines in force, in the order in which they were added.
    pub hosts: Vec<KnownHost>,
}

/// A change of the list, whole or not at all.
#[derive(Clone, Debug, Default)]
pub struct ChangeKnownHosts {
    /// The number of the newest change that whoever decided has seen: another one since refuses this one.
    pub base: i64,
    /// Lines to add.
    pub added: Vec<KnownHost>,
    /// Lines to remove, by their ids, with who removes them and when.
    pub removed: Vec<(Uuid, Actor, Timestamp)>,
    /// Keys that waited for a decision, which this is.
    pub decided: Vec<OfferedHostKey>,
    /// The events of the change.
    pub events: Vec<AuditEvent>,
}

#[derive(FromRow)]
struct Row {
    id: Uuid,
    line: String,
    fingerprint: String,
    comment: Option<String>,
    added_by: String,
    added_at: Timestamp,
}

impl From<Row> for KnownHost {
    fn from(row: Row) -> Self {
        // An actor of a newer version is shown by its text.
        let by = Actor::from_text(&row.added_by)
            .unwrap_or_else(|| Actor::User(PeerText::from(row.added_by.as_str()).as_str().to_owned()));
        let Row { id, line, fingerprint, comment, added_at: at, .. } = row;
        Self { id, line, fingerprint, comment, by, at }
    }
}

#[derive(FromRow)]
struct OfferedRow {
    host: String,
    port: i64,
    fingerprint: String,
    key_type: String,
    key: String,
    standing: String,
    endpoint: String,
    seen_at: Timestamp,
}

impl OfferedRow {
    fn offered(self) -> Result<OfferedHostKey> {
        let standing =
            word(HostKeyStanding::parse(&self.standing), "offered_host_keys.standing", &self.standing)?;
        let Self { host, fingerprint, key_type, key, endpoint, seen_at: at, .. } = self;
        // Written from such a number.
        let port = u16::try_from(self.port).unwrap_or_default();
        Ok(OfferedHostKey { host, port, key_type, key, fingerprint, standing, endpoint, at })
    }
}

const LINES: &str = "SELECT id, line, fingerprint, comment, added_by, added_at FROM known_hosts \
    WHERE removed_at IS NULL ORDER BY added_at, id";

impl Store {
    /// The number of the newest change of the list of known hosts; 0 before the first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn known_hosts_change(&self) -> Result<i64> {
        self.read("read whether the known hosts changed", async {
            on!(self.pool(), c => sqlx::query_scalar(NEWEST).fetch_one(c).await)
        })
        .await
    }

    /// The list of known hosts. A change that is committed meanwhile may be in the lines already, and not in the number:
    /// whoever follows reads once more then.
    ///
    /// # Errors
    /// The database failed.
    pub async fn known_hosts(&self) -> Result<KnownHostState> {
        let change = self.known_hosts_change().await?;
        let rows: Vec<Row> = self
            .read("read the known hosts", async {
                on!(self.pool(), c => sqlx::query_as(LINES).fetch_all(c).await)
            })
            .await?;
        Ok(KnownHostState { change, hosts: rows.into_iter().map(KnownHost::from).collect() })
    }

    /// Changes the list of known hosts.
    ///
    /// # Errors
    /// `Rejected`, permanent, when somebody changed it since the base; `AlreadyExists` for a line that is there already;
    /// `NotFound` for one that is to be removed and is not there; the database failed.
    pub async fn change_known_hosts(&self, change: ChangeKnownHosts) -> Result<()> {
        self.write(change).await
    }

    /// Keeps a key that a server showed, for a person to decide about.
    ///
    /// # Errors
    /// The database failed.
    pub async fn keep_offered_host_key(&self, key: OfferedHostKey) -> Result<()> {
        self.write(KeepOffered(key)).await
    }

    /// The keys that wait for a decision, newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn offered_host_keys(&self) -> Result<Vec<OfferedHostKey>> {
        let rows: Vec<OfferedRow> = self
            .read("read the host keys that servers offered", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT host, port, fingerprint, key_type, key, standing, endpoint, seen_at FROM offered_host_keys \
                     ORDER BY seen_at DESC, host, port LIMIT 1000").fetch_all(c).await)
            })
            .await?;
        rows.into_iter().map(OfferedRow::offered).collect()
    }

    /// Forgets keys that waited for a decision. A server that shows one again brings it back.
    ///
    /// # Errors
    /// The database failed.
    pub async fn forget_offered_host_keys(&self, keys: Vec<OfferedHostKey>) -> Result<()> {
        self.write(ForgetOffered(keys)).await
    }
}

const NEWEST: &str = "SELECT coalesce(max(change), 0) FROM known_hosts";

#[async_trait]
impl Command for ChangeKnownHosts {
    type Answer = ();

    fn place(&self) -> u128 {
        u128::MAX
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        lock(tx).await?;
        let newest: i64 = on!(tx, c => sqlx::query_scalar(NEWEST).fetch_one(c).await)?;
        if newest != self.base {
            return Err(Error::permanent(ErrorKind::Rejected, "change the known hosts")
                .advice(
                    "somebody else changed the list in the meantime: look at it again, and repeat the change",
                )
                .into());
        }
        for (id, by, at) in &self.removed {
            remove(tx, *id, by, *at, newest + 1).await?;
        }
        for host in &self.added {
            add(tx, host, newest + 1).await?;
        }
        forget(tx, &self.decided).await?;
        tx.events(&self.events);
        // Nodes query for changes when they are woken.
        tx.wake(Topic::Decisions);
        Ok(())
    }
}

/// Changes are made one at a time, until the commit. SQLite has one writer.
async fn lock(tx: &mut Tx<'_>) -> Result<(), Fault> {
    on!(tx,
        sqlite _c => Ok(()),
        postgres c => sqlx::query("LOCK TABLE known_hosts IN SHARE ROW EXCLUSIVE MODE").execute(c).await.map(|_| ()),
    )?;
    Ok(())
}

async fn remove(tx: &mut Tx<'_>, id: Uuid, by: &Actor, at: Timestamp, change: i64) -> Result<(), Fault> {
    let done = on!(tx, c => sqlx::query(
        "UPDATE known_hosts SET removed_by = $2, removed_at = $3, change = $4 WHERE id = $1 AND removed_at IS NULL")
        .bind(id).bind(by.to_text()).bind(at).bind(change)
        .execute(c).await.map(|done| done.rows_affected()))?;
    if done == 0 {
        return Err(Error::permanent(ErrorKind::NotFound, "remove a known host")
            .with("known host", id)
            .advice("there is no such line any more: look at the list again")
            .into());
    }
    Ok(())
}

async fn add(tx: &mut Tx<'_>, host: &KnownHost, change: i64) -> Result<(), Fault> {
    let there: i64 = on!(tx, c => sqlx::query_scalar(
        "SELECT count(*) FROM known_hosts WHERE line = $1 AND removed_at IS NULL")
        .bind(&host.line).fetch_one(c).await)?;
    if there > 0 {
        return Err(Error::permanent(ErrorKind::AlreadyExists, "add a known host")
            .with("hosts", host.hosts())
            .with("key", &host.fingerprint)
            .into());
    }
    on!(tx, c => sqlx::query(
        "INSERT INTO known_hosts (id, line, fingerprint, comment, added_by, added_at, change) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)")
        .bind(host.id).bind(&host.line).bind(&host.fingerprint).bind(&host.comment)
        .bind(host.by.to_text()).bind(host.at).bind(change)
        .execute(c).await.map(|_| ()))?;
    Ok(())
}

struct KeepOffered(OfferedHostKey);

#[async_trait]
impl Command for KeepOffered {
    type Answer = ();

    fn place(&self) -> u128 {
        crate::command::place_of(&self.0.listed_host())
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        let Self(key) = self;
        on!(tx, c => sqlx::query(
            "INSERT INTO offered_host_keys (host, port, fingerprint, key_type, key, standing, endpoint, seen_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
             ON CONFLICT (host, port, fingerprint) DO UPDATE SET standing = excluded.standing, \
             endpoint = excluded.endpoint, seen_at = excluded.seen_at")
            .bind(&key.host).bind(i64::from(key.port)).bind(&key.fingerprint).bind(&key.key_type)
            .bind(&key.key).bind(key.standing.as_str()).bind(&key.endpoint).bind(key.at)
            .execute(c).await.map(|_| ()))?;
        on!(tx, c => sqlx::query(
            "DELETE FROM offered_host_keys WHERE host = $1 AND port = $2 AND fingerprint NOT IN ( \
             SELECT fingerprint FROM offered_host_keys WHERE host = $1 AND port = $2 \
             ORDER BY seen_at DESC, fingerprint LIMIT $3)")
            .bind(&key.host).bind(i64::from(key.port)).bind(KEPT_OFFERS)
            .execute(c).await.map(|_| ()))?;
        Ok(())
    }
}

struct ForgetOffered(Vec<OfferedHostKey>);

#[async_trait]
impl Command for ForgetOffered {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        forget(tx, &self.0).await
    }
}

async fn forget(tx: &mut Tx<'_>, keys: &[OfferedHostKey]) -> Result<(), Fault> {
    for key in keys {
        on!(tx, c => sqlx::query(
            "DELETE FROM offered_host_keys WHERE host = $1 AND port = $2 AND fingerprint = $3")
            .bind(&key.host).bind(i64::from(key.port)).bind(&key.fingerprint)
            .execute(c).await.map(|_| ()))?;
    }
    Ok(())
}
