//! Sessions, and the link by which the first user is made.

use super::change::CreateUser;
use crate::command::Command;
use crate::either::on;
use crate::fault::Fault;
use crate::tx::Tx;
use async_trait::async_trait;
use model::{AuditEvent, Sha256, Timestamp};

pub(super) struct BeginSession {
    pub(super) token: Sha256,
    pub(super) user: String,
    pub(super) now: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) events: Vec<AuditEvent>,
}

#[async_trait]
impl Command for BeginSession {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        on!(tx, c => sqlx::query(
            "INSERT INTO sessions (token_digest, user_name, created_at, seen_at, expires_at) \
             VALUES ($1, $2, $3, $3, $4)",
        )
        .bind(&self.token.0[..])
        .bind(&self.user)
        .bind(self.now)
        .bind(self.expires_at)
        .execute(c)
        .await
        .map(|_| ()))?;
        tx.events(&self.events);
        Ok(())
    }
}

pub(super) struct TouchSession {
    pub(super) token: Sha256,
    pub(super) now: Timestamp,
    pub(super) expires_at: Timestamp,
}

#[async_trait]
impl Command for TouchSession {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        // A session that is over is not brought back.
        on!(tx, c => sqlx::query(
            "UPDATE sessions SET seen_at = $2, expires_at = $3 WHERE token_digest = $1 AND expires_at > $2",
        )
        .bind(&self.token.0[..])
        .bind(self.now)
        .bind(self.expires_at)
        .execute(c)
        .await
        .map(|_| ()))?;
        Ok(())
    }
}

pub(super) struct EndSession {
    pub(super) token: Sha256,
    pub(super) now: Timestamp,
    pub(super) events: Vec<AuditEvent>,
}

#[async_trait]
impl Command for EndSession {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        on!(tx, c => sqlx::query("DELETE FROM sessions WHERE token_digest = $1 OR expires_at <= $2")
            .bind(&self.token.0[..])
            .bind(self.now)
            .execute(c)
            .await
            .map(|_| ()))?;
        tx.events(&self.events);
        Ok(())
    }
}

pub(super) struct PurgeLogins {
    pub(super) now: Timestamp,
}

#[async_trait]
impl Command for PurgeLogins {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        for sql in [
            "DELETE FROM sessions WHERE expires_at <= $1",
            "DELETE FROM setup_links WHERE used_at IS NOT NULL OR expires_at <= $1",
        ] {
            on!(tx, c => sqlx::query(sql).bind(self.now).execute(c).await.map(|_| ()))?;
        }
        Ok(())
    }
}

pub(super) struct CreateSetupLink {
    pub(super) token: Sha256,
    pub(super) now: Timestamp,
    pub(super) expires_at: Timestamp,
}

#[async_trait]
impl Command for CreateSetupLink {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        on!(tx, c => sqlx::query("DELETE FROM setup_links WHERE used_at IS NULL").execute(c).await.map(|_| ()))?;
        on!(tx, c => sqlx::query(
            "INSERT INTO setup_links (token_digest, created_at, expires_at) VALUES ($1, $2, $3)",
        )
        .bind(&self.token.0[..])
        .bind(self.now)
        .bind(self.expires_at)
        .execute(c)
        .await
        .map(|_| ()))?;
        Ok(())
    }
}

pub(super) struct UseSetupLink {
    pub(super) token: Sha256,
    pub(super) create: CreateUser,
}

#[async_trait]
impl Command for UseSetupLink {
    type Answer = bool;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        // A second one waits here for the first's commit, and then finds it used.
        let used = on!(tx, c => sqlx::query(
            "UPDATE setup_links SET used_at = $2 \
             WHERE token_digest = $1 AND used_at IS NULL AND expires_at > $2",
        )
        .bind(&self.token.0[..])
        .bind(self.create.now)
        .execute(c)
        .await
        .map(|done| done.rows_affected()))?;
        if used == 0 {
            return Ok(false);
        }
        self.create.apply(tx).await?;
        Ok(true)
    }
}
