//! `waybill user add|passwd|role|disable|enable|list`: beside a running gateway, and without one.

mod ask;

use super::{catalogue, write};
use crate::cli::{Output, User};
use crate::command_session::open_or_make;
use crate::gateway::control;
use crate::process::{ClockAndRandom, person};
use config::Settings;
use control::{AddUser, Caller, Control, SetDisabled, SetRole, UserDetail, UserList};
use model::{ErrorKind, Result};
use std::process::ExitCode;

pub(crate) async fn run(settings: &Settings, command: User, output: Output) -> Result<ExitCode> {
    let ambient = ClockAndRandom::default();
    let store = open_or_make(settings, &ambient).await?;
    let control = control(settings, &store, catalogue(settings), &ambient);
    let done = carry_out(&control, command, output).await;
    store.close().await;
    done.map(|()| ExitCode::SUCCESS)
}

async fn carry_out(control: &Control, command: User, output: Output) -> Result<()> {
    let caller = Caller::command_line(person());
    let (user, done) = match command {
        User::List => return list(&control.users(&caller).await?, output),
        User::Add { name, role, password } => {
            let password = ask::password(&name, password.password_file.as_deref())?;
            (control.add_user(&caller, &AddUser { name, role }, password).await?, "added")
        }
        User::Passwd { name, password } => {
            // Before a person types it twice.
            find(control, &caller, &name).await?;
            let password = ask::password(&name, password.password_file.as_deref())?;
            (control.set_user_password(&caller, &name, password).await?, "has a new password")
        }
        User::Role { name, role } => {
            (control.set_user_role(&caller, &SetRole { name, role }).await?, "has a new role")
        }
        User::Disable { name } => {
            (control.set_user_disabled(&caller, &SetDisabled { name, disabled: true }).await?, "disabled")
        }
        User::Enable { name } => {
            (control.set_user_disabled(&caller, &SetDisabled { name, disabled: false }).await?, "enabled")
        }
    };
    match output {
        Output::Json => write::json(&json(&user)?)?,
        Output::Text => write::line(format_args!("user {}: {done}, role {}", user.name, user.role))?,
    }
    if !control.users(&caller).await?.has_administrator() {
        write::note(
            "no enabled user can manage users: add an administrator with `waybill user add NAME --role \
            admin`",
        );
    }
    Ok(())
}

async fn find(control: &Control, caller: &Caller, name: &str) -> Result<()> {
    let known = control.users(caller).await?.users.iter().any(|user| user.name == name);
    known.then_some(()).ok_or_else(|| {
        model::Error::permanent(ErrorKind::NotFound, "find the user")
            .with("name", name)
            .advice("`waybill user list` shows the users")
    })
}

fn json(answer: &impl serde::Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(answer)
        .map_err(|cause| model::Error::permanent(ErrorKind::Internal, "write the result").caused_by(cause))
}

fn list(list: &UserList, output: Output) -> Result<()> {
    if output == Output::Json {
        return write::json(&json(list)?);
    }
    let cells = |user: &UserDetail| {
        vec![
            user.name.clone(),
            user.role.to_string(),
            if user.disabled { "disabled" } else { "enabled" }.to_owned(),
            write::time(user.created_at),
            write::time(user.changed_at),
        ]
    };
    let rows: Vec<Vec<String>> = list.users.iter().map(cells).collect();
    write::Columns::new(&["NAME", "ROLE", "LOGIN", "ADDED", "CHANGED"]).write(rows)?;
    for error in &list.unreadable {
        write::note(format_args!("a user cannot be read: {error}"));
    }
    Ok(())
}
