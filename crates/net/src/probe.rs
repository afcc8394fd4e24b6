//! Dialling for the test of an endpoint, which shows each step.

use crate::{DialRequest, Net, Stream};
use model::{Probe, ProbeStep, Security, Step};
use tokio::time::Instant;

impl Net {
    /// Connects as [`Net::dial_deferred`] does and adds each step: name, TCP or proxy, and TLS if the request asks
    /// for it. `None` if one failed, which is then the last step.
    pub async fn dial_for_test(&self, request: &DialRequest, probe: &mut Probe) -> Option<Stream> {
        let target = request.target();
        let began = Instant::now();
        let dialled = self.dial_deferred(request).await;
        // It was one operation, so its time is shown once.
        let took = began.elapsed();
        match dialled {
            Ok(stream) => {
                let address = stream.handle().remote().map(|address| address.to_string()).unwrap_or_default();
                let (step, seen) = match stream.handle().proxy() {
                    Some(proxy) => {
                        probe.note(Step::Name, format!("{target}: the proxy finds the address"));
                        (Step::Proxy, format!("connected through {proxy}"))
                    }
                    None => {
                        probe.note(Step::Name, format!("{target}: {address}"));
                        (Step::Tcp, format!("connected to {address}"))
                    }
                };
                probe.steps.push(ProbeStep { step, took, result: Ok(seen) });
                if request.tls.is_some() {
                    let seen = match stream.handle().security() {
                        Security::Tls { version, cipher, .. } => format!("{version}, {cipher}"),
                        _ => "done".to_owned(),
                    };
                    probe.note(Step::Tls, seen);
                }
                Some(stream)
            }
            Err(error) => {
                let failed = error.step().unwrap_or(Step::Tcp);
                if failed != Step::Name {
                    probe.note(Step::Name, target);
                }
                probe.steps.push(ProbeStep { step: failed, took, result: Err(error) });
                None
            }
        }
    }
}
