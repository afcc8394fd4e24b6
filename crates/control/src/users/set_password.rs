//! Giving a user another password.

use crate::password::password_problem;
use crate::users::{UserDetail, accepted};
use crate::{Caller, Control};
use model::{Permission, Result, Secret};
use store::UserChange;

impl Control {
    /// Gives a user another password. The user's sessions end.
    ///
    /// # Errors
    /// The caller may not manage users; the password is not accepted; `NotFound`; the database failed.
    pub async fn set_user_password(
        &self,
        caller: &Caller,
        name: &str,
        password: Secret<String>,
    ) -> Result<UserDetail> {
        caller.require(Permission::ManageUsers)?;
        accepted("set a password", password_problem(name, &password))?;
        let password_hash = Some(self.hash_password(password).await?);
        let change = UserChange { password_hash, ..UserChange::default() };
        self.change_user(caller, name, change, "password changed").await
    }
}
