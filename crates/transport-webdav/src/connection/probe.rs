//! The first steps of a test of an endpoint: name, TCP or proxy, TLS. What follows is the folder's.

use super::Remote;
use model::{Probe, Protocol, Purpose, Step};
use net::DialRequest;
use std::sync::Arc;
use std::time::Duration;

impl Remote {
    /// Connects, telling each step; the server over connections of the test alone, `None` when a step failed.
    pub(crate) async fn connect_for_test(&self, probe: &mut Probe) -> Option<Arc<Self>> {
        let settings = &self.settings;
        let request = self.connecting().and_then(|connecting| {
            let mut request =
                DialRequest::new(Protocol::Webdav, Purpose::Test, &settings.host, settings.port, &connecting);
            request.endpoint = Some(settings.endpoint.clone());
            if settings.is_secure {
                request.tls = Some(self.net.tls_profile(&connecting.tls)?);
            }
            Ok(request)
        });
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                return probe.add(Step::Tcp, Duration::ZERO, Err(error), |_: &Arc<Self>| String::new());
            }
        };
        // The HTTP client dials for itself: this connection shows that the server is reached, and how.
        drop(self.net.dial_for_test(&request, probe).await?);
        Some(Arc::new(self.for_test()))
    }
}
