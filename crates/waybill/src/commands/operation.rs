//! Carrying out operations of `control` at the command line, beside a gateway that may be running.

use super::catalogue;
use crate::command_session::CommandSession;
use crate::gateway::{control, open_command_session};
use crate::process::{ClockAndRandom, person};
use config::Settings;
use control::{Caller, Control};
use engine::Trial;
use model::{Error, ErrorKind, Result};
use serde::Serialize;
use std::future::Future;
use std::path::Path;
use store::Store;

/// Runs an operation beside a gateway that may be running.
pub(super) async fn with_control<T, F: Future<Output = Result<T>>>(
    settings: &Settings,
    store: Store,
    ambient: &ClockAndRandom,
    operation: impl FnOnce(Control, Caller) -> F,
) -> Result<T> {
    let control = control(settings, &store, catalogue(settings), ambient);
    let done = operation(control, Caller::command_line(person())).await;
    store.close().await;
    done
}

/// The same in a database that is there.
pub(super) async fn beside<T, F: Future<Output = Result<T>>>(
    settings: &Settings,
    operation: impl FnOnce(Control, Caller) -> F,
) -> Result<T> {
    let ambient = ClockAndRandom::default();
    let store = open_command_session(settings, &ambient).await?;
    with_control(settings, store, &ambient, operation).await
}

/// The same, for an operation that needs the database itself as well.
pub(super) async fn beside_store<T>(
    settings: &Settings,
    operation: impl AsyncFnOnce(Store, Control, Caller) -> Result<T>,
) -> Result<T> {
    let ambient = ClockAndRandom::default();
    let store = open_command_session(settings, &ambient).await?;
    let control = control(settings, &store, catalogue(settings), &ambient);
    let done = operation(store.clone(), control, Caller::command_line(person())).await;
    store.close().await;
    done
}

/// Runs an operation that uses endpoints: those of a directory of definitions, or those in force. Its connections are on
/// record.
pub(super) async fn with_endpoints<T, F: Future<Output = Result<T>>>(
    settings: &Settings,
    directory: Option<&Path>,
    operation: impl FnOnce(Control, Caller, Trial) -> F,
) -> Result<T> {
    let session = CommandSession::open(settings, directory).await?;
    let caller = Caller::command_line(person());
    let done = operation(session.control(settings), caller, session.trial()).await;
    session.close().await?;
    done
}

/// An answer as JSON.
pub(super) fn as_json(answer: &impl Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(answer)
        .map_err(|error| Error::permanent(ErrorKind::Internal, "write the result").caused_by(error))
}
