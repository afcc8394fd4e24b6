//! Flows that a person paused and endpoints that a person set offline. Nodes follow the changes by their numbers.

#[cfg(test)]
mod tests;

use crate::Store;
use crate::command::Command;
use crate::either::on;
use crate::fault::Fault;
use crate::offline_endpoints::set_online;
use crate::row::word;
use crate::tx::Tx;
use crate::wake::Topic;
use async_trait::async_trait;
use model::{Actor, AuditEvent, Error, ErrorKind, PeerText, Result, Suspension, SuspensionKind, Timestamp};
use sqlx::FromRow;

/// A change of a suspension.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SuspensionChange {
    /// Its number. A later change has a higher one, also on another node.
    pub number: i64,
    /// The kind of the suspended object.
    pub kind: SuspensionKind,
    /// The name of the flow or endpoint.
    pub name: String,
    /// The suspension in force; `None` if it has ended.
    pub now: Option<Suspension>,
}

/// The end of a suspension.
#[derive(Clone, Debug)]
pub struct EndSuspension {
    /// The kind of the suspended object.
    pub kind: SuspensionKind,
    /// The name of the flow or endpoint.
    pub name: String,
    /// Who ends it.
    pub by: Actor,
    /// The reason.
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
    /// Whether it must be in force; if not, its end is still a change that nodes follow.
    pub must_be_in_force: bool,
    /// The events of the change.
    pub events: Vec<AuditEvent>,
}

#[derive(FromRow)]
struct Row {
    kind: String,
    name: String,
    in_force: bool,
    actor: String,
    reason: Option<String>,
    changed_at: Timestamp,
    change: i64,
}

impl Row {
    fn change(self) -> Result<SuspensionChange> {
        let kind = word(SuspensionKind::parse(&self.kind), "suspensions.kind", &self.kind)?;
        // An actor of a newer version is shown by its text.
        let by = Actor::from_text(&self.actor)
            .unwrap_or_else(|| Actor::User(PeerText::from(self.actor.as_str()).as_str().to_owned()));
        let now = self.in_force.then(|| Suspension {
            kind,
            name: self.name.clone(),
            by,
            reason: self.reason,
            since: self.changed_at,
        });
        Ok(SuspensionChange { number: self.change, kind, name: self.name, now })
    }
}

impl Store {
    /// Suspends a flow or an endpoint, with the events that say so.
    ///
    /// # Errors
    /// `AlreadyExists` when it is suspended already; the database failed.
    pub async fn suspend(&self, suspension: Suspension, events: Vec<AuditEvent>) -> Result<()> {
        self.write(Suspend { suspension, events }).await
    }

    /// Ends a suspension, and returns the one that was in force.
    ///
    /// # Errors
    /// `NotFound` when none is in force and one must be; the database failed.
    pub async fn end_suspension(&self, end: EndSuspension) -> Result<Option<Suspension>> {
        self.write(end).await
    }

    /// The suspensions in force, flows first, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn suspensions(&self) -> Result<Vec<Suspension>> {
        let rows: Vec<Row> = self
            .read("read what is paused and offline", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT * FROM suspensions WHERE in_force ORDER BY kind DESC, name").fetch_all(c).await)
            })
            .await?;
        let changes = rows.into_iter().map(Row::change).collect::<Result<Vec<_>>>()?;
        Ok(changes.into_iter().filter_map(|change| change.now).collect())
    }

    /// What changed after the change of this number, oldest first; 0 for all.
    ///
    /// # Errors
    /// The database failed.
    pub async fn suspension_changes(&self, after: i64) -> Result<Vec<SuspensionChange>> {
        let rows: Vec<Row> = self
            .read("read what was paused or resumed", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT * FROM suspensions WHERE change > $1 ORDER BY change")
                    .bind(after).fetch_all(c).await)
            })
            .await?;
        rows.into_iter().map(Row::change).collect()
    }
}

struct Suspend {
    suspension: Suspension,
    events: Vec<AuditEvent>,
}

#[async_trait]
impl Command for Suspend {
    type Answer = ();

    fn place(&self) -> u128 {
        u128::MAX
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        let Suspension { kind, name, by, reason, since } = &self.suspension;
        lock(tx).await?;
        if let Some(found) = in_force(tx, *kind, name).await? {
            return Err(Error::permanent(ErrorKind::AlreadyExists, operation(*kind))
                .with(kind.as_str(), name)
                .with("already", found.words())
                .into());
        }
        write(tx, Written { kind: *kind, name, in_force: true, by, reason: reason.as_deref(), at: *since })
            .await?;
        tx.events(&self.events);
        Ok(())
    }
}

#[async_trait]
impl Command for EndSuspension {
    type Answer = Option<Suspension>;

    fn place(&self) -> u128 {
        u128::MAX
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Option<Suspension>, Fault> {
        lock(tx).await?;
        let found = in_force(tx, self.kind, &self.name).await?;
        if found.is_none() && self.must_be_in_force {
            let operation = match self.kind {
                SuspensionKind::Flow => "resume a flow",
                SuspensionKind::Endpoint => "set an endpoint online",
            };
            let error = Error::permanent(ErrorKind::NotFound, operation).with(self.kind.as_str(), &self.name);
            return Err(error.advice("it is not suspended").into());
        }
        let Self { kind, name, by, reason, at, .. } = self;
        write(tx, Written { kind: *kind, name, in_force: false, by, reason: reason.as_deref(), at: *at })
            .await?;
        if *kind == SuspensionKind::Endpoint {
            set_online(tx, name, *at).await?;
        }
        tx.events(&self.events);
        Ok(found)
    }
}

const fn operation(kind: SuspensionKind) -> &'static str {
    match kind {
        SuspensionKind::Flow => "pause a flow",
        SuspensionKind::Endpoint => "set an endpoint offline",
    }
}

/// Changes are made one at a time, until the commit: numbers are given in the order of commits, so that a node that
/// has seen one has seen all lower ones. SQLite has one writer.
async fn lock(tx: &mut Tx<'_>) -> Result<(), Fault> {
    on!(tx,
        sqlite _c => Ok(()),
        postgres c => sqlx::query("LOCK TABLE suspensions IN SHARE ROW EXCLUSIVE MODE").execute(c).await.map(|_| ()),
    )?;
    // Nodes query for changes when they are woken.
    tx.wake(Topic::Decisions);
    Ok(())
}

async fn in_force(tx: &mut Tx<'_>, kind: SuspensionKind, name: &str) -> Result<Option<Suspension>, Fault> {
    let row: Option<Row> = on!(tx, c => sqlx::query_as(
        "SELECT * FROM suspensions WHERE kind = $1 AND name = $2 AND in_force")
        .bind(kind.as_str()).bind(name).fetch_optional(c).await)?;
    Ok(row.map(Row::change).transpose()?.and_then(|change| change.now))
}

struct Written<'a> {
    kind: SuspensionKind,
    name: &'a str,
    in_force: bool,
    by: &'a Actor,
    reason: Option<&'a str>,
    at: Timestamp,
}

async fn write(tx: &mut Tx<'_>, row: Written<'_>) -> Result<(), Fault> {
    on!(tx, c => sqlx::query(
        "INSERT INTO suspensions (kind, name, in_force, actor, reason, changed_at, change) \
         VALUES ($1, $2, $3, $4, $5, $6, (SELECT coalesce(max(change), 0) + 1 FROM suspensions)) \
         ON CONFLICT (kind, name) DO UPDATE SET in_force = excluded.in_force, actor = excluded.actor, \
         reason = excluded.reason, changed_at = excluded.changed_at, change = excluded.change",
    )
    .bind(row.kind.as_str())
    .bind(row.name)
    .bind(row.in_force)
    .bind(row.by.to_text())
    .bind(row.reason)
    .bind(row.at)
    .execute(c)
    .await
    .map(|_| ()))?;
    Ok(())
}
