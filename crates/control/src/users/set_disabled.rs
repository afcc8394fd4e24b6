//! Disabling a user, and enabling one again.

use crate::users::UserDetail;
use crate::{Caller, Control};
use model::{Permission, Result};
use serde::{Deserialize, Serialize};
use store::UserChange;

/// A user to be disabled or enabled.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SetDisabled {
    /// The user's name.
    pub name: String,
    /// Whether the user can no longer log in.
    pub disabled: bool,
}

impl Control {
    /// Disables a user, whose sessions end at once; or enables one.
    ///
    /// # Errors
    /// The caller may not manage users; `NotFound`; the database failed.
    pub async fn set_user_disabled(&self, caller: &Caller, request: &SetDisabled) -> Result<UserDetail> {
        caller.require(Permission::ManageUsers)?;
        let words = if request.disabled { "disabled" } else { "enabled" };
        let change = UserChange { disabled: Some(request.disabled), ..UserChange::default() };
        self.change_user(caller, &request.name, change, words).await
    }
}
