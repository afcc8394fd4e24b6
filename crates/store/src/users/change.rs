//! Making, changing and removing users.

use super::{NewUser, UserChange, password_digest};
use crate::command::Command;
use crate::delivery::precise;
use crate::either::on;
use crate::fault::Fault;
use crate::tx::Tx;
use async_trait::async_trait;
use model::{AuditEvent, Error, ErrorKind, EventKind, Role, Secret, Timestamp};

pub(super) struct CreateUser {
    pub(super) user: NewUser,
    pub(super) now: Timestamp,
    pub(super) events: Vec<AuditEvent>,
}

#[async_trait]
impl Command for CreateUser {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        let made = on!(tx, c => sqlx::query(
            "INSERT INTO users (name, password_hash, role, disabled, created_at, changed_at) \
             VALUES ($1, $2, $3, FALSE, $4, $4) ON CONFLICT (name) DO NOTHING",
        )
        .bind(&self.user.name)
        .bind(self.user.password_hash.reveal())
        .bind(self.user.role.as_str())
        .bind(self.now)
        .execute(c)
        .await
        .map(|done| done.rows_affected()))?;
        if made == 0 {
            return Err(Error::permanent(ErrorKind::AlreadyExists, "add a user")
                .with("name", &self.user.name)
                .into());
        }
        let state = State {
            role: self.user.role.as_str().to_owned(),
            disabled: false,
            password_hash: self.user.password_hash.reveal().clone(),
            created_at: self.now,
        };
        tx.events(&described(&self.events, &self.user.name, Some((&state, self.now))));
        Ok(())
    }
}

pub(super) struct ChangeUser {
    pub(super) name: String,
    pub(super) change: UserChange,
    pub(super) now: Timestamp,
    pub(super) events: Vec<AuditEvent>,
}

#[async_trait]
impl Command for ChangeUser {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        let changed = on!(tx, c => sqlx::query(
            "UPDATE users SET password_hash = coalesce($2, password_hash), role = coalesce($3, role), \
             disabled = coalesce($4, disabled), changed_at = $5 WHERE name = $1",
        )
        .bind(&self.name)
        .bind(self.change.password_hash.as_ref().map(Secret::reveal))
        .bind(self.change.role.map(Role::as_str))
        .bind(self.change.disabled)
        .bind(self.now)
        .execute(c)
        .await
        .map(|done| done.rows_affected()))?;
        if changed == 0 {
            return Err(no_such_user("change a user", &self.name).into());
        }
        if self.change.password_hash.is_some() || self.change.disabled == Some(true) {
            on!(tx, c => sqlx::query("DELETE FROM sessions WHERE user_name = $1")
                .bind(&self.name)
                .execute(c)
                .await
                .map(|_| ()))?;
        }
        let state: State = on!(tx, c => sqlx::query_as(
            "SELECT role, disabled, password_hash, created_at FROM users WHERE name = $1")
            .bind(&self.name).fetch_one(c).await)?;
        tx.events(&described(&self.events, &self.name, Some((&state, self.now))));
        Ok(())
    }
}

pub(super) struct RemoveUser {
    pub(super) name: String,
    pub(super) events: Vec<AuditEvent>,
}

#[async_trait]
impl Command for RemoveUser {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        let removed = on!(tx, c => sqlx::query("DELETE FROM users WHERE name = $1")
            .bind(&self.name)
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
        if removed == 0 {
            return Err(no_such_user("remove a user", &self.name).into());
        }
        tx.events(&described(&self.events, &self.name, None));
        Ok(())
    }
}

/// A user's row, as far as it is shown.
#[derive(sqlx::FromRow)]
struct State {
    role: String,
    disabled: bool,
    password_hash: String,
    created_at: Timestamp,
}

/// The events of a user, with what verification compares the row with later, and the time of its change;
/// nothing of one that was removed.
fn described(events: &[AuditEvent], name: &str, state: Option<(&State, Timestamp)>) -> Vec<AuditEvent> {
    let describe = |event: &AuditEvent| {
        if event.kind != EventKind::UserChanged {
            return event.clone();
        }
        let event = event.clone().detail("user", name);
        match state {
            None => event.detail("removed", true),
            Some((state, at)) => AuditEvent { at, ..event }
                .detail("role", state.role.as_str())
                .detail("disabled", state.disabled)
                .detail("password_digest", password_digest(&state.password_hash))
                .detail("created_at", precise(state.created_at)),
        }
    };
    events.iter().map(describe).collect()
}

fn no_such_user(operation: &'static str, name: &str) -> Error {
    Error::permanent(ErrorKind::NotFound, operation).with("name", name)
}
