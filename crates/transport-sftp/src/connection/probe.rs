//! The first steps of a test of an endpoint: name, TCP, host key, login. The folder adds the others.

use super::Greeted;
use crate::connection::{Connection, JumpHost, Remote};
use model::{Probe, Purpose, Step};
use net::{Pool, Stream};
use std::time::Duration;

impl Remote {
    /// Connects and logs in, and adds each step; `None` if one failed.
    pub(crate) async fn connect_for_test(&self, endpoint: &str, probe: &mut Probe) -> Option<Connection> {
        let clock = &self.services.clock;
        let greeted = self.greet_for_test(endpoint, probe).await?;
        let began = clock.monotonic();
        let connection = self.log_in(greeted).await;
        let took = clock.monotonic().saturating_sub(began);
        let start = match &connection {
            Ok(connection) => connection.client().absolute(&"".into()).await.ok(),
            Err(_) => None,
        };
        probe.add(Step::Login, took, connection, |_| match start {
            Some(path) => format!("logged in at {path}"),
            None => "logged in".to_owned(),
        })
    }

    /// Connects and logs in as others do who are reached over this server, and adds each step. No SFTP is spoken.
    pub(crate) async fn test_as_jump_host(&self, endpoint: &str, probe: &mut Probe) {
        let clock = &self.services.clock;
        let Some(greeted) = self.greet_for_test(endpoint, probe).await else { return };
        let began = clock.monotonic();
        let session = self.authenticated(greeted).await;
        let took = clock.monotonic().saturating_sub(began);
        probe.add(Step::Login, took, session, |_| {
            "logged in; used as a jump host, so no folder was tried".to_owned()
        });
    }

    /// Connects and compares the host key, and adds each step; `None` if one failed.
    async fn greet_for_test(&self, endpoint: &str, probe: &mut Probe) -> Option<Greeted> {
        let clock = &self.services.clock;
        let stream = match &self.jump {
            Some(jump) => self.reach_for_test(jump, endpoint, probe).await?,
            None => {
                let request = match self.request(Purpose::Test, endpoint) {
                    Ok(request) => request,
                    Err(error) => {
                        return probe.add(Step::Tcp, Duration::ZERO, Err(error), |_| String::new());
                    }
                };
                self.net.dial_for_test(&request, probe).await?
            }
        };
        let began = clock.monotonic();
        let greeted = self.greet(stream).await;
        let took = clock.monotonic().saturating_sub(began);
        probe.add(Step::HostKey, took, greeted, |greeted| {
            let mut seen = greeted.host_key.clone();
            for line in self.settings.trust.passed_over() {
                seen.push_str(&format!("; known_hosts {line}: ignored"));
            }
            seen
        })
    }

    /// Reaches the server through its jump host, and adds both steps.
    async fn reach_for_test(
        &self,
        jump: &Pool<JumpHost>,
        endpoint: &str,
        probe: &mut Probe,
    ) -> Option<Stream> {
        let clock = &self.services.clock;
        let jump_host = jump.connector().0.settings.target();
        let began = clock.monotonic();
        let lease = self.test_jump(jump).await;
        let took = clock.monotonic().saturating_sub(began);
        let lease = probe
            .add(Step::Jump, took, lease, |lease| format!("logged in at {jump_host}, {}", lease.host_key))?;
        let began = clock.monotonic();
        let stream = self.reach_through(lease, Purpose::Test, endpoint).await;
        let took = clock.monotonic().saturating_sub(began);
        let target = self.settings.target();
        probe.add(Step::Tcp, took, stream, |_| format!("{target}: connected through {jump_host}"))
    }
}
