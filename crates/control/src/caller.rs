//! Who asks for an operation.

use model::{Actor, Error, ErrorKind, Permission, Result, Role};

/// Who asks, and with which role.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    /// Who it is, for the audit trail.
    pub actor: Actor,
    /// What that person or program may do.
    pub role: Role,
}

impl Caller {
    /// A person at the command line of the host: an administrator by being there.
    #[must_use]
    pub const fn command_line(person: Actor) -> Self {
        Self { actor: person, role: Role::Admin }
    }

    /// The gateway itself, for its own directory of definitions.
    #[must_use]
    pub const fn system() -> Self {
        Self { actor: Actor::System, role: Role::Admin }
    }

    /// Refuses an operation that the caller's role does not permit.
    ///
    /// # Errors
    /// `PermissionDenied`.
    pub fn require(&self, permission: Permission) -> Result<()> {
        if self.role.may(permission) {
            return Ok(());
        }
        Err(Error::permanent(
            ErrorKind::PermissionDenied,
            permission.permits().trim_end_matches('.').to_lowercase(),
        )
        .with("role", self.role)
        .advice("ask an administrator for a role that permits this"))
    }
}
