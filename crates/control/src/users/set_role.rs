//! Giving a user another role.

use crate::users::UserDetail;
use crate::{Caller, Control};
use model::{Permission, Result, Role};
use serde::{Deserialize, Serialize};
use store::UserChange;

/// A user's new role.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SetRole {
    /// The user's name.
    pub name: String,
    /// The new role.
    pub role: Role,
}

impl Control {
    /// Gives a user another role. It holds from the next request of the user's sessions on.
    ///
    /// # Errors
    /// The caller may not manage users; `NotFound`; the database failed.
    pub async fn set_user_role(&self, caller: &Caller, request: &SetRole) -> Result<UserDetail> {
        caller.require(Permission::ManageUsers)?;
        let change = UserChange { role: Some(request.role), ..UserChange::default() };
        self.change_user(caller, &request.name, change, "role changed").await
    }
}
