//! Adding a user.

use crate::password::{name_problem, password_problem};
use crate::users::{UserDetail, accepted};
use crate::{Caller, Control};
use model::{Permission, Result, Role, Secret};
use serde::{Deserialize, Serialize};
use store::NewUser;

/// A user to be added. The password is handed over apart, so that the request can be logged and stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AddUser {
    /// The name to log in with: 1 to 64 letters, digits and `. - _ @`.
    pub name: String,
    /// What the user may do.
    pub role: Role,
}

impl Control {
    /// Adds a user, who can log in at once.
    ///
    /// # Errors
    /// The caller may not manage users; the name or the password is not accepted; `AlreadyExists`; the database
    /// failed.
    pub async fn add_user(
        &self,
        caller: &Caller,
        request: &AddUser,
        password: Secret<String>,
    ) -> Result<UserDetail> {
        caller.require(Permission::ManageUsers)?;
        let name = &request.name;
        accepted("add a user", name_problem(name).or_else(|| password_problem(name, &password)))?;
        let password_hash = self.hash_password(password).await?;
        let user = NewUser { name: name.clone(), password_hash, role: request.role };
        let event = self.user_event(caller, "added");
        self.0.store.create_user(user, (self.0.now)(), vec![event]).await?;
        self.find_user(name).await
    }
}
