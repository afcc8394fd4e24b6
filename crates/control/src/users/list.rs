//! Listing users.

use crate::{Caller, Control};
use model::{Permission, Result, Role, Timestamp};
use serde::Serialize;
use store::User;

/// A user, without the password.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct UserDetail {
    /// The name to log in with.
    pub name: String,
    /// What the user may do.
    pub role: Role,
    /// Whether the user cannot log in.
    pub disabled: bool,
    /// When the user was added.
    pub created_at: Timestamp,
    /// When password, role or access last changed.
    pub changed_at: Timestamp,
}

impl From<User> for UserDetail {
    fn from(user: User) -> Self {
        Self {
            name: user.name,
            role: user.role,
            disabled: user.disabled,
            created_at: user.created_at,
            changed_at: user.changed_at,
        }
    }
}

/// All users.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct UserList {
    /// By name.
    pub users: Vec<UserDetail>,
    /// Errors of users that this version cannot read, such as with a role that a newer one knows.
    pub unreadable: Vec<String>,
}

impl UserList {
    /// Whether anybody who can log in may manage users.
    #[must_use]
    pub fn has_administrator(&self) -> bool {
        self.users.iter().any(|user| !user.disabled && user.role.may(Permission::ManageUsers))
    }
}

impl Control {
    /// Lists the users by name.
    ///
    /// # Errors
    /// The caller may not see users; the database failed.
    pub async fn users(&self, caller: &Caller) -> Result<UserList> {
        caller.require(Permission::ViewUsers)?;
        let (users, unreadable) = self.0.store.users().await?;
        Ok(UserList {
            users: users.into_iter().map(UserDetail::from).collect(),
            unreadable: unreadable.into_iter().map(|row| row.error).collect(),
        })
    }
}
