//! Users of console and API, their sessions, and the links by which the first of them is made.
//!
//! Passwords arrive as hashes and are never seen here in clear text; of tokens only the SHA-256 is stored, so that
//! reading the database does not allow to log in.

mod change;
mod session;

use crate::Store;
use crate::either::on;
use crate::search::{Attempted, UnreadableRow, split};
use change::{ChangeUser, CreateUser, RemoveUser};
use model::{AuditEvent, Error, ErrorKind, Result, Role, Secret, Sha256, Timestamp};
use session::{BeginSession, CreateSetupLink, EndSession, PurgeLogins, TouchSession, UseSetupLink};
use sqlx::FromRow;

/// A user, without the password.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// The name to log in with.
    pub name: String,
    /// What the user may do.
    pub role: Role,
    /// Whether the user is locked out.
    pub disabled: bool,
    /// When the user was made.
    pub created_at: Timestamp,
    /// When password, role or access last changed.
    pub changed_at: Timestamp,
}

/// A user to be made.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// The name to log in with.
    pub name: String,
    /// Argon2, in PHC string form.
    pub password_hash: Secret<String>,
    /// What the user may do.
    pub role: Role,
}

/// What to change of a user; `None` leaves it.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    /// A new password, Argon2 in PHC string form; ends the user's sessions.
    pub password_hash: Option<Secret<String>>,
    /// Another role.
    pub role: Option<Role>,
    /// Locks the user out and ends the sessions, or allows the user in again.
    pub disabled: Option<bool>,
}

/// A session that is in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// Whose it is.
    pub user: User,
    /// When it began.
    pub created_at: Timestamp,
    /// When it was last used.
    pub seen_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// The value of a password in events: SHA-256 of its Argon2 hash, which is salted, so that it does not help to guess
/// the password.
pub(crate) fn password_digest(password_hash: &str) -> String {
    Sha256(openssl::sha::sha256(password_hash.as_bytes())).to_string()
}

#[derive(FromRow)]
pub(crate) struct UserRow {
    pub(crate) name: String,
    pub(crate) password_hash: String,
    pub(crate) role: String,
    pub(crate) disabled: bool,
    pub(crate) created_at: Timestamp,
    pub(crate) changed_at: Timestamp,
}

impl UserRow {
    fn user(self) -> Result<(User, Secret<String>)> {
        let role = Role::parse(&self.role).ok_or_else(|| {
            Error::permanent(ErrorKind::Internal, "read a user")
                .with("name", &self.name)
                .with("role", &self.role)
        })?;
        let user = User {
            name: self.name,
            role,
            disabled: self.disabled,
            created_at: self.created_at,
            changed_at: self.changed_at,
        };
        Ok((user, Secret::new(self.password_hash)))
    }
}

#[derive(FromRow)]
struct SessionRow {
    #[sqlx(flatten)]
    user: UserRow,
    began_at: Timestamp,
    seen_at: Timestamp,
    expires_at: Timestamp,
}

impl Store {
    /// How many users there are.
    ///
    /// # Errors
    /// The database failed.
    pub async fn count_users(&self) -> Result<u64> {
        let count: i64 = self
            .read("count users", async {
                on!(self.pool(), c => sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(c).await)
            })
            .await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// All users by name; and what this version cannot read of them, such as a role that a newer node
    /// knows.
    ///
    /// # Errors
    /// The database failed.
    pub async fn users(&self) -> Result<(Vec<User>, Vec<UnreadableRow>)> {
        let rows: Vec<Attempted<UserRow>> = self
            .read("read the users", async {
                on!(self.pool(), c => sqlx::query_as("SELECT * FROM users ORDER BY name").fetch_all(c).await)
            })
            .await?;
        Ok(split(rows, |row| row.user().map(|(user, _)| user)))
    }

    /// A user with the hash of the password, for a login.
    ///
    /// # Errors
    /// The database failed.
    pub async fn user(&self, name: &str) -> Result<Option<(User, Secret<String>)>> {
        // PostgreSQL does not take a NUL, not even to look for.
        if name.contains('\0') {
            return Ok(None);
        }
        let row: Option<UserRow> = self
            .read("read a user", async {
                on!(self.pool(), c => sqlx::query_as("SELECT * FROM users WHERE name = $1")
                    .bind(name)
                    .fetch_optional(c)
                    .await)
            })
            .await?;
        row.map(UserRow::user).transpose()
    }

    /// Makes a user.
    ///
    /// # Errors
    /// `AlreadyExists` when the name is taken; or the database failed.
    pub async fn create_user(&self, user: NewUser, now: Timestamp, events: Vec<AuditEvent>) -> Result<()> {
        self.write(CreateUser { user, now, events }).await
    }

    /// Changes a user; a new password, or being kept out, ends the user's sessions.
    ///
    /// # Errors
    /// `NotFound`; or the database failed.
    pub async fn change_user(
        &self,
        name: &str,
        change: UserChange,
        now: Timestamp,
        events: Vec<AuditEvent>,
    ) -> Result<()> {
        self.write(ChangeUser { name: name.to_owned(), change, now, events }).await
    }

    /// Removes a user and the user's sessions.
    ///
    /// # Errors
    /// `NotFound`; or the database failed.
    pub async fn remove_user(&self, name: &str, events: Vec<AuditEvent>) -> Result<()> {
        self.write(RemoveUser { name: name.to_owned(), events }).await
    }

    /// Begins a session. `token` is SHA-256 of what the browser has.
    ///
    /// # Errors
    /// The database failed, or there is no such user.
    pub async fn begin_session(
        &self,
        token: Sha256,
        user: &str,
        now: Timestamp,
        expires_at: Timestamp,
        events: Vec<AuditEvent>,
    ) -> Result<()> {
        self.write(BeginSession { token, user: user.to_owned(), now, expires_at, events }).await
    }

    /// The session of a token, if it is in force and its user may come in.
    ///
    /// # Errors
    /// The database failed.
    pub async fn session(&self, token: Sha256, now: Timestamp) -> Result<Option<Session>> {
        let row: Option<SessionRow> = self
            .read("read a session", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT u.*, s.created_at AS began_at, s.seen_at, s.expires_at FROM sessions s \
                     JOIN users u ON u.name = s.user_name \
                     WHERE s.token_digest = $1 AND s.expires_at > $2 AND NOT u.disabled",
                )
                .bind(&token.0[..])
                .bind(now)
                .fetch_optional(c)
                .await)
            })
            .await?;
        let Some(row) = row else { return Ok(None) };
        let (user, _) = row.user.user()?;
        Ok(Some(Session { user, created_at: row.began_at, seen_at: row.seen_at, expires_at: row.expires_at }))
    }

    /// Notes that a session is used, and until when that keeps it in force. Once a minute is enough.
    ///
    /// # Errors
    /// The database failed.
    pub async fn touch_session(&self, token: Sha256, now: Timestamp, expires_at: Timestamp) -> Result<()> {
        self.write(TouchSession { token, now, expires_at }).await
    }

    /// Ends a session, and those that are over.
    ///
    /// # Errors
    /// The database failed.
    pub async fn end_session(&self, token: Sha256, now: Timestamp, events: Vec<AuditEvent>) -> Result<()> {
        self.write(EndSession { token, now, events }).await
    }

    /// Forgets sessions that are over, and links that are used or can be used no more.
    ///
    /// # Errors
    /// The database failed.
    pub async fn purge_logins(&self, now: Timestamp) -> Result<()> {
        self.write(PurgeLogins { now }).await
    }

    /// Makes a link that lets whoever has it make one user. `token` is SHA-256 of what the link has.
    /// Links that were not used before are void from now on.
    ///
    /// # Errors
    /// The database failed.
    pub async fn create_setup_link(
        &self,
        token: Sha256,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> Result<()> {
        self.write(CreateSetupLink { token, now, expires_at }).await
    }

    /// Whether a link can still be used.
    ///
    /// # Errors
    /// The database failed.
    pub async fn setup_link_holds(&self, token: Sha256, now: Timestamp) -> Result<bool> {
        self.read("read a setup link", async {
            on!(self.pool(), c => sqlx::query_scalar(
                "SELECT EXISTS (SELECT 1 FROM setup_links \
                 WHERE token_digest = $1 AND used_at IS NULL AND expires_at > $2)",
            )
            .bind(&token.0[..])
            .bind(now)
            .fetch_one(c)
            .await)
        })
        .await
    }

    /// Uses a link and creates its user, both or neither. False if the link is unknown, used or expired: if two
    /// requests come at once, one succeeds.
    ///
    /// # Errors
    /// `AlreadyExists` when the name is taken (the link can be used again); or the database failed.
    pub async fn use_setup_link(
        &self,
        token: Sha256,
        user: NewUser,
        now: Timestamp,
        events: Vec<AuditEvent>,
    ) -> Result<bool> {
        self.write(UseSetupLink { token, create: CreateUser { user, now, events } }).await
    }
}

#[cfg(test)]
mod tests;
