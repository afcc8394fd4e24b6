//! The first steps of a test of an endpoint: name, TCP, TLS, login. What follows is the folder's.

use crate::connection::{Connection, Remote};
use model::{Probe, Purpose, Security, Step};
use std::time::Duration;

impl Remote {
    /// Connects and logs in, telling each step; `None` when one failed.
    pub(crate) async fn connect_for_test(&self, endpoint: &str, probe: &mut Probe) -> Option<Connection> {
        let clock = &self.services.clock;
        let (request, tls) = match self.request(Purpose::Test, endpoint) {
            Ok(request) => request,
            Err(error) => return probe.add(Step::Tcp, Duration::ZERO, Err(error), |_| String::new()),
        };
        let stream = self.net.dial_for_test(&request, probe).await?;
        let began = clock.monotonic();
        let has_tls = tls.is_some();
        let greeted = self.greet(stream, tls).await;
        let took = clock.monotonic().saturating_sub(began);
        let greeted = match greeted {
            Ok(greeted) if !has_tls => greeted,
            greeted => {
                let step = if has_tls { Step::Tls } else { Step::Login };
                probe.add(step, took, greeted, |greeted| match greeted.record.security() {
                    Security::Tls { version, cipher, .. } => format!("{version}, {cipher}"),
                    _ => "greeted".to_owned(),
                })?
            }
        };
        let began = clock.monotonic();
        let connection = self.log_in(greeted, request).await;
        let took = clock.monotonic().saturating_sub(began);
        probe.add(Step::Login, took, connection, |connection| format!("logged in at {}", connection.start))
    }
}
