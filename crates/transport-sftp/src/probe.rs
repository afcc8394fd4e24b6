//! The first steps of a test of an endpoint: name, TCP, host key, login. What follows is the folder's.

use crate::folder::SftpFolder;
use crate::pool::Pool;
use crate::session::{Connection, Remote};
use model::{Purpose, Result};
use net::DialStep;
use std::sync::Arc;
use std::time::Duration;
use transport::folder::Folder;
use transport::{Probe, ProbeStep};

pub(crate) fn step(name: &'static str, took: Duration, result: Result<String>) -> ProbeStep {
    ProbeStep { name, took, result }
}

/// The steps up to the login, on a connection of the test's own. The rest goes over the same one.
pub(crate) async fn reach(remote: &Arc<Remote>, probe: &mut Probe) -> Option<Arc<dyn Folder>> {
    let connection = log_in(remote, probe).await?;
    // The pool lives as long as the folder, and the connection as long as the pool.
    let pool = Pool::new(Arc::clone(remote), Purpose::Test);
    drop(pool.admit(connection));
    Some(Arc::new(SftpFolder::new(pool)))
}

async fn log_in(remote: &Remote, probe: &mut Probe) -> Option<Connection> {
    let clock = Arc::clone(&remote.services.clock);
    let target = remote.settings.target();
    let began = clock.monotonic();
    let reached = remote.reach(Purpose::Test).await;
    let took = clock.monotonic().saturating_sub(began);
    let stream = match reached {
        Ok(stream) => {
            let address = stream.handle().remote().map(|address| address.to_string()).unwrap_or_default();
            // All was one act: its time is shown once.
            if let Some(proxy) = stream.handle().proxy() {
                probe.steps.push(step("name", Duration::ZERO, Ok(format!("{target}: found by the proxy"))));
                probe.steps.push(step("proxy", took, Ok(format!("connected through {proxy}"))));
            } else {
                probe.steps.push(step("name", Duration::ZERO, Ok(format!("{target}: {address}"))));
                probe.steps.push(step("tcp", took, Ok(format!("connected to {address}"))));
            }
            stream
        }
        Err(error) => {
            let failed = match DialStep::of(&error) {
                Some(DialStep::Name) => "name",
                Some(DialStep::Proxy) => "proxy",
                Some(DialStep::Socket) | None => "tcp",
            };
            if failed != "name" {
                probe.steps.push(step("name", Duration::ZERO, Ok(target)));
            }
            probe.steps.push(step(failed, took, Err(error)));
            return None;
        }
    };
    let began = clock.monotonic();
    let greeted = remote.greet(stream).await;
    let took = clock.monotonic().saturating_sub(began);
    let greeted = match greeted {
        Ok(greeted) => {
            let mut seen = greeted.host_key.clone();
            for line in remote.settings.trust.passed_over() {
                seen.push_str(&format!("; known_hosts {line}: passed over"));
            }
            probe.steps.push(step("host key", took, Ok(seen)));
            greeted
        }
        Err(error) => {
            probe.steps.push(step("host key", took, Err(error)));
            return None;
        }
    };
    let began = clock.monotonic();
    let connection = remote.log_in(greeted).await;
    let took = clock.monotonic().saturating_sub(began);
    match connection {
        Ok(connection) => {
            let start = connection.client().absolute(&"".into()).await;
            let seen = start.map_or_else(|_| "logged in".to_owned(), |path| format!("logged in at {path}"));
            probe.steps.push(step("login", took, Ok(seen)));
            Some(connection)
        }
        Err(error) => {
            probe.steps.push(step("login", took, Err(error)));
            None
        }
    }
}
