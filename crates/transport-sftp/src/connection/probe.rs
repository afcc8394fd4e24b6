//! The first steps of a test of an endpoint: name, TCP, host key, login. The folder adds the others.

use crate::connection::{Connection, Remote};
use model::{Probe, Purpose, Step};

impl Remote {
    /// Connects and logs in, and adds each step; `None` if one failed.
    pub(crate) async fn connect_for_test(&self, endpoint: &str, probe: &mut Probe) -> Option<Connection> {
        let clock = &self.services.clock;
        let request = match self.request(Purpose::Test, endpoint) {
            Ok(request) => request,
            Err(error) => {
                return probe.add(Step::Tcp, std::time::Duration::ZERO, Err(error), |_| String::new());
            }
        };
        let stream = self.net.dial_for_test(&request, probe).await?;
        let began = clock.monotonic();
        let greeted = self.greet(stream).await;
        let took = clock.monotonic().saturating_sub(began);
        let greeted = probe.add(Step::HostKey, took, greeted, |greeted| {
            let mut seen = greeted.host_key.clone();
            for line in self.settings.trust.passed_over() {
                seen.push_str(&format!("; known_hosts {line}: ignored"));
            }
            seen
        })?;
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
}
