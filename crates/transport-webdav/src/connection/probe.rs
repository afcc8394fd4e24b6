//! The first steps of a test of an endpoint: name, TCP or proxy, TLS. What follows is the folder's.

use super::{Ask, Remote};
use crate::error;
use model::{Error, ErrorKind, Probe, Protocol, Purpose, RemotePath, Result, Step};
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

    /// The classes of WebDAV that the server says it keeps to (OPTIONS, RFC 4918, 10.1 and 18); `None` where it tells none.
    ///
    /// # Errors
    /// `Unsupported`: the endpoint is to lock files, and the server offers no locks (class 2).
    pub(crate) async fn classes(&self, directory: &RemotePath) -> Result<Option<String>> {
        const OPERATION: &str = "ask what the server offers";
        let ask = Ask::new("OPTIONS", directory).directory();
        let answer = self.ask(OPERATION, ask).await?;
        let values = answer.headers.get_all("dav").iter().filter_map(|value| value.to_str().ok());
        let classes: Vec<String> =
            values.flat_map(|value| value.split(',')).map(|class| class.trim().to_owned()).collect();
        drop(error::discard(answer).await);
        if self.settings.locks && !classes.is_empty() && !classes.iter().any(|class| class == "2") {
            return Err(Error::permanent(ErrorKind::Unsupported, OPERATION)
                .with("host", self.settings.target())
                .with("classes", classes.join(", "))
                .advice("the server does not offer locks here: set lock = false on the endpoint"));
        }
        Ok((!classes.is_empty()).then(|| classes.join(", ")))
    }
}
