//! `waybill user`, as clap reads it.

use clap::{Args, Subcommand};
use model::Role;
use std::path::PathBuf;

/// Whoever can run these on the host is an administrator: a lost password is set again here.
#[derive(Subcommand, Debug)]
pub(crate) enum User {
    /// Add a user of the console.
    Add {
        /// The name to log in with: letters, digits and . - _ @
        name: String,
        /// What the user may do; docs/roles.md has the table.
        #[arg(long, value_parser = role, value_name = "ROLE")]
        role: Role,
        #[command(flatten)]
        password: PasswordFrom,
    },
    /// Set another password. The user's sessions end.
    Passwd {
        /// The user's name.
        name: String,
        #[command(flatten)]
        password: PasswordFrom,
    },
    /// Give a user another role.
    Role {
        /// The user's name.
        name: String,
        /// What the user may do from now on.
        #[arg(value_parser = role)]
        role: Role,
    },
    /// Disable a user: no login any more, and the sessions end.
    Disable {
        /// The user's name.
        name: String,
    },
    /// Let a disabled user log in again.
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
    /// Read the password from a file, without the line break at its end; - is standard input. Without this option
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
