//! Users: who may log in, and with which role.

mod add;
mod list;
mod set_disabled;
mod set_password;
mod set_role;

pub use add::AddUser;
pub use list::{UserDetail, UserList};
pub use set_disabled::SetDisabled;
pub use set_role::SetRole;

use crate::password::{self, HashMemory};
use crate::{Caller, Control};
use model::{AuditEvent, Error, ErrorKind, EventKind, Result, Secret};
use store::UserChange;

impl Control {
    /// Changes a user, with its event.
    async fn change_user(
        &self,
        caller: &Caller,
        name: &str,
        change: UserChange,
        words: &'static str,
    ) -> Result<UserDetail> {
        let event = self.user_event(caller, words);
        let changed = self.0.store.change_user(name, change, (self.0.now)(), vec![event]).await;
        changed.map_err(|error| match error.kind() {
            ErrorKind::NotFound => error.advice("`waybill user list` shows the users"),
            _ => error,
        })?;
        self.find_user(name).await
    }

    async fn find_user(&self, name: &str) -> Result<UserDetail> {
        let found = self.0.store.user(name).await?;
        found
            .map(|(user, _)| user.into())
            .ok_or_else(|| Error::permanent(ErrorKind::NotFound, "read a user").with("name", name))
    }

    /// The store adds the user's name and new state.
    fn user_event(&self, caller: &Caller, words: &'static str) -> AuditEvent {
        self.event(EventKind::UserChanged).by(caller.actor.clone()).detail("change", words)
    }

    /// Hashes on a thread of its own: it takes about 20 ms.
    async fn hash_password(&self, password: Secret<String>) -> Result<Secret<String>> {
        let mut salt = [0; 16];
        (self.0.random)(&mut salt);
        let hashed =
            tokio::task::spawn_blocking(move || password::hash(&password, &salt, &mut HashMemory::default()));
        hashed
            .await
            .map_err(|cause| Error::permanent(ErrorKind::Internal, "hash a password").caused_by(cause))?
    }
}

/// Refuses what `password` does not accept.
fn accepted(operation: &'static str, problem: Option<String>) -> Result<()> {
    problem
        .map_or(Ok(()), |problem| Err(Error::permanent(ErrorKind::ConfigInvalid, operation).advice(problem)))
}
