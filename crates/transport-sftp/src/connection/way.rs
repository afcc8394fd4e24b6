//! Which endpoints lead to which: jump hosts, and jump hosts behind jump hosts.

use super::{JumpHost, Remote};
use crate::options::{SPEC, Settings};
use model::definition::{Definitions, Endpoint};
use model::{Error, ErrorKind, Purpose, Result};
use net::{Pool, PoolLimits, Pools};
use std::sync::Arc;

/// The most jump hosts on the way to a server.
const MOST: usize = 4;

/// The jump hosts on the way to an endpoint, the nearest to it first.
///
/// # Errors
/// Why the way leads nowhere, for the field `jump`.
fn way<'a>(
    endpoint: &'a Endpoint,
    definitions: &'a Definitions,
) -> std::result::Result<Vec<&'a Arc<Endpoint>>, String> {
    let mut way: Vec<&Arc<Endpoint>> = Vec::new();
    let mut from = endpoint;
    while let Some(name) = from.options.text("jump") {
        // The check of references reports that it is not defined.
        let Some(next) = definitions.endpoints.get(name) else { break };
        if next.transport != SPEC.name {
            return Err(format!("'{name}' is no SSH server: name an endpoint with transport = \"sftp\""));
        }
        if next.urls.len() > 1 {
            return Err(format!("'{name}' has several addresses; a jump host must have one"));
        }
        if next.name == endpoint.name || way.iter().any(|other| other.name == next.name) {
            return Err(format!("leads in a circle: '{name}' is reached through itself"));
        }
        way.push(next);
        if way.len() > MOST {
            return Err(format!("there are more than {MOST} jump hosts on the way"));
        }
        from = next;
    }
    Ok(way)
}

/// Checks an endpoint's `jump`.
///
/// # Errors
/// Why it cannot be used.
pub(crate) fn check(endpoint: &Endpoint, definitions: &Definitions) -> std::result::Result<(), String> {
    way(endpoint, definitions).map(drop)
}

/// The connections to the jump host of an endpoint, if it has one. All endpoints behind it share them. `remote` makes what
/// connects to a jump host, from its settings and the jump host before it.
///
/// # Errors
/// `ConfigInvalid`: it is not defined, or cannot be used.
pub(crate) fn jump_host(
    pools: &Pools<JumpHost>,
    (endpoint, purpose): (&Endpoint, Purpose),
    definitions: &Definitions,
    remote: impl Fn(Settings, Option<Pool<JumpHost>>) -> Remote,
) -> Result<Option<Pool<JumpHost>>> {
    let invalid = |why: String| {
        Error::permanent(ErrorKind::ConfigInvalid, "use the endpoint's jump host")
            .with("endpoint", &endpoint.name)
            .advice(why)
    };
    let mut below = None;
    let way = way(endpoint, definitions).map_err(invalid)?;
    let last = way.last().map_or(endpoint, |last| last);
    if let Some(missing) = last.options.text("jump") {
        return Err(invalid(format!("define [endpoint.{missing}], or correct the name")));
    }
    for host in way.into_iter().rev() {
        let pool = pools.get(host, definitions, purpose, || {
            let settings = Settings::of(host)?;
            // Whoever is behind it tries again.
            let limits = PoolLimits { retries: 0, ..settings.limits };
            Ok((JumpHost(remote(settings, below.take())), limits))
        })?;
        below = Some(pool);
    }
    Ok(below)
}
