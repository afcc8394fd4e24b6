//! `waybill user`, as clap reads it.

use clap::{Args, Subcommand};
use model::Role;
use std::path::PathBuf;

/// Everyone who can run these commands on the host is an administrator, so a lost password can be replaced
/// here.
#[derive(Subcommand, Debug)]
pub(crate) enum User {
    /// Add a user of the console.
    Add {
        /// The name to log in with: letters, digits and . - _ @
        name: String,
        /// The user's role; docs/roles.md explains the roles.
        #[arg(long, value_parser = role, value_name = "ROLE")]
        role: Role,
        #[command(flatten)]
        password: PasswordFrom,
    },
    /// Set a new password. The user's sessions end.
    Passwd {
        /// The user's name.
        name: String,
        #[command(flatten)]
        password: PasswordFrom,
    },
    /// Change a user's role.
    Role {
        /// The user's name.
        name: String,
        /// The new role.
        #[arg(value_parser = role)]
        role: Role,
    },
    /// Disable a user: the user cannot log in, and the user's sessions end.
    Disable {
        /// The user's name.
        name: String,
    },
    /// Enable a disabled user.
    Enable {
        /// The user's name.
        name: String,
    },
    /// List the users and their roles.
    List,
}

/// Where a password comes from; never from an argument, which other users of the host could see.
#[derive(Args, Debug)]
pub(crate) struct PasswordFrom {
    /// Read the password from a file, without the line break at its end; - is standard input. Without this
    /// option,
    /// Waybill asks for it at the terminal.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

fn role(word: &str) -> Result<Role, String> {
    Role::parse(word).ok_or_else(|| {
        let roles: Vec<&str> = Role::ALL.iter().map(|role| role.as_str()).collect();
        format!("the roles are {}", roles.join(", "))
    })
}
