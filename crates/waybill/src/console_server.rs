//! The console of a gateway: its pages and probes on their own address, and what the node adds to them
//! that is not in the database.

use crate::certificate_ends::CertificateEnds;
use crate::certificate_exchange::CertificateExchange;
use crate::gateway::Gateway;
use crate::readiness::Readiness;
use crate::revisions::Revisions;
use crate::seal_copies::SealCopies;
use crate::timestamps::Timestamps;
use console::{
    ActiveProblem, Console, ConsoleSettings, EndpointStatus, JournalStatus, NodeStatus, ProblemKind,
    StagingStatus,
};
use control::{Caller, Control, KeyDetail, ScanHostKeys, ScannedHost, StagedPayloads};
use engine::{EndpointHealth, Trial, UnstableFiles, WithheldFile};
use model::definition::{Definitions, KeyDefinition};
use model::{Error, Protocol, Purpose, Result, Severity, Suspension};
use net::http::{HttpServers, ListenSpec, ListenerNumbers, Route, RouteGuard, TowerHandler};
use staging::Staging;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use store::{Journal, SealAlarm, Sealer};

/// A journal that waits with more than this is behind: something keeps it from the database.
const MOST_BACKLOG: u64 = 64 << 20;

/// The console, as long as it is held.
pub(crate) struct ConsoleRoom {
    /// Held, so that it stays open.
    _route: RouteGuard,
    url: String,
    first_start: Option<String>,
}

impl ConsoleRoom {
    /// Where people reach it.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The link to open: the one-time link as long as there is no user.
    pub(crate) fn link(&self) -> String {
        self.first_start.clone().unwrap_or_else(|| self.url.clone())
    }

    /// The one-time link, when there is no user yet.
    pub(crate) fn first_start(&self) -> Option<&str> {
        self.first_start.as_deref()
    }
}

/// An address that a browser on this machine can open: one that stands for all of the machine's own is none.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// Opens the console's address.
pub(crate) async fn open(gateway: &Gateway) -> Result<ConsoleRoom> {
    let public_url = gateway.settings.listen.console_url.clone();
    let settings = ConsoleSettings {
        node: gateway.settings.node.clone(),
        secure_cookies: public_url.as_ref().is_some_and(|url| url.scheme() == "https"),
        public_url: public_url.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        refusing_transports: gateway.transports.refusing(),
    };
    let random = Arc::clone(&gateway.ambient.random);
    let node = ThisNode {
        health: gateway.engine.health(),
        unstable: gateway.engine.unstable(),
        journal: Arc::clone(&gateway.journal),
        staging: gateway.staging.clone(),
        min_free: gateway.settings.staging.min_free,
        readiness: Arc::clone(&gateway.readiness),
        sealer: Arc::clone(&gateway.sealer),
        timestamps: gateway.timestamps.clone(),
        copies: Arc::clone(&gateway.copies),
        servers: gateway.servers.clone(),
        may_act: Box::new(gateway.engine.may_act()),
        suspensions: Box::new(gateway.engine.suspensions()),
        revisions: Arc::clone(&gateway.revisions),
        keys: Mutex::default(),
        certificate_ends: Arc::clone(&gateway.certificate_ends),
        certificate_exchange: Arc::clone(&gateway.certificate_exchange),
        trial: gateway.engine.trial(),
    };
    let console = Console::with_node(
        gateway.store.clone(),
        settings,
        gateway.ambient.now_fn(),
        Arc::new(move |bytes: &mut [u8]| random.fill(bytes)),
        Arc::new(node),
    );
    let listen = ListenSpec {
        proxy_protocol: gateway.settings.listen.console_proxy_protocol,
        ..ListenSpec::plain("console", gateway.settings.listen.console)
    };
    let route = Route {
        host: None,
        path: "/".into(),
        protocol: Protocol::Http,
        purpose: Purpose::Console,
        endpoint: None,
        certificate: None,
    };
    let route = gateway.servers.route(&listen, route, Arc::new(TowerHandler::new(console.router())))?;
    let own = || format!("http://{}/", reachable(route.local_addr()));
    let url = public_url.map_or_else(own, |url| url.to_string());
    let first_start = console.first_start_link(&url).await?;
    Ok(ConsoleRoom { _route: route, url, first_start })
}

/// What this node knows that is not in the database.
struct ThisNode {
    health: Arc<EndpointHealth>,
    unstable: Arc<UnstableFiles>,
    journal: Arc<Journal>,
    staging: Staging,
    min_free: u64,
    readiness: Arc<Readiness>,
    sealer: Arc<Sealer>,
    timestamps: Option<Arc<Timestamps>>,
    copies: Arc<SealCopies>,
    servers: HttpServers,
    /// Whether the node has its lease.
    may_act: Box<dyn Fn() -> Result<()> + Send + Sync>,
    /// What people have paused or set offline.
    suspensions: Box<dyn Fn() -> Vec<Suspension> + Send + Sync>,
    revisions: Arc<Revisions>,
    /// What was found out of keys: it takes long for one that is encrypted.
    keys: Mutex<Vec<(Arc<KeyDefinition>, KeyDetail)>>,
    certificate_ends: Arc<CertificateEnds>,
    certificate_exchange: Arc<CertificateExchange>,
    /// What servers are asked with.
    trial: Trial,
}

impl NodeStatus for ThisNode {
    fn endpoints(&self) -> Vec<EndpointStatus> {
        let mut endpoints: Vec<EndpointStatus> = self
            .health
            .snapshot()
            .into_iter()
            .map(|(name, state)| EndpointStatus {
                name,
                failures: state.failures,
                offline_until: state.offline_until,
                in_flight: state.in_flight,
            })
            .collect();
        endpoints.sort_by(|a, b| a.name.cmp(&b.name));
        endpoints
    }

    fn suspensions(&self) -> Vec<Suspension> {
        (self.suspensions)()
    }

    fn journal(&self) -> Option<JournalStatus> {
        Some(JournalStatus { backlog_bytes: self.journal.stats().backlog_bytes, most_bytes: MOST_BACKLOG })
    }

    fn staging(&self) -> Option<StagingStatus> {
        // `not_ready` reports that its file system does not answer.
        let space = self.staging.space().ok()?;
        Some(StagingStatus { free_bytes: space.free, min_free_bytes: self.min_free })
    }

    fn audit_alarm(&self) -> Option<SealAlarm> {
        self.sealer.state().alarm
    }

    fn sealing_stopped(&self) -> Option<String> {
        self.sealer.state().stopped
    }

    fn listeners(&self) -> Vec<ListenerNumbers> {
        self.servers.numbers()
    }

    fn keys(&self) -> Vec<KeyDetail> {
        let definitions = self.revisions.in_force();
        let mut known = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let detail = |key: &Arc<KeyDefinition>| {
            let found = known.iter().find(|(of, _)| Arc::ptr_eq(of, key)).map(|(_, detail)| detail.clone());
            (Arc::clone(key), found.unwrap_or_else(|| self.revisions.control().key_detail(key)))
        };
        let keys: Vec<_> = definitions.keys.values().map(detail).collect();
        known.clone_from(&keys);
        keys.into_iter().map(|(_, detail)| detail).collect()
    }

    fn control(&self) -> Option<&Control> {
        Some(self.revisions.control())
    }

    fn payloads(&self) -> Option<StagedPayloads> {
        Some(StagedPayloads::new(self.staging.clone()))
    }

    fn definitions(&self) -> Arc<Definitions> {
        self.revisions.in_force()
    }

    fn scan_host_keys(
        &self,
        caller: Caller,
        request: ScanHostKeys,
    ) -> Pin<Box<dyn Future<Output = Result<ScannedHost>> + Send + '_>> {
        Box::pin(async move { self.revisions.control().scan_host_keys(&caller, &self.trial, &request).await })
    }

    fn not_ready(&self) -> Vec<String> {
        let mut reasons = self.readiness.reasons();
        reasons.extend(self.faults().into_iter().map(|(room, error)| format!("{room}: {}", error.chain())));
        reasons
    }

    fn problems(&self) -> Vec<ActiveProblem> {
        let error = Severity::Error;
        let listener = |(name, why): (String, String)| {
            ActiveProblem::new(ProblemKind::Listener, error, &name, format!("Listener {name} is down"))
                .why(why)
                .advice("It receives nothing until it is up again.")
                .page("/audit?kind=listener.&within=7d")
        };
        let kept = |(name, why): (String, String)| {
            let what = format!("Listener {name} goes on under its old definition");
            ActiveProblem::new(ProblemKind::Listener, error, &format!("{name}-kept"), what)
                .why(why)
                .advice("Correct its definition, and apply it.")
                .page("/audit?kind=listener.&within=7d")
        };
        let fault = |(room, fault): (&str, Error)| {
            let what = format!("This node accepts no files: {room}");
            ActiveProblem::new(ProblemKind::Node, error, room, what).why(fault.chain())
        };
        let stamps = self.timestamps.iter().filter_map(|stamps| stamps.problem());
        let down = self.readiness.down().into_iter().map(listener);
        let faults = self.faults().into_iter().map(fault);
        let unstable = withheld(&self.unstable.snapshot());
        let kept = self.readiness.kept().into_iter().map(kept);
        let ends = self.certificate_ends.problems();
        down.chain(kept)
            .chain(faults)
            .chain(stamps)
            .chain(self.copies.problems())
            .chain(unstable)
            .chain(ends)
            .chain(self.certificate_exchange.problems())
            .collect()
    }
}

/// Files that are not taken because their time moves: one row for each flow, with the first of its files.
fn withheld(files: &[WithheldFile]) -> Vec<ActiveProblem> {
    let of_flows = files.chunk_by(|a, b| a.flow == b.flow);
    let rows = of_flows.filter_map(|of_flow| {
        let first = of_flow.first()?;
        let since = of_flow.iter().map(|file| file.since).min()?;
        let which = match of_flow.len() {
            1 => "1 file is".to_owned(),
            count => format!("{count} files are"),
        };
        let what = format!("{which} not accepted from {}", first.endpoint);
        let key = format!("{}/{}/unstable", first.flow, first.endpoint);
        let page = format!("/audit?kind=offer.unstable&flow={}", first.flow);
        let row = ActiveProblem::new(ProblemKind::Source, Severity::Warning, &key, what)
            .why(format!("{}: {}", first.file.path.to_text(), first.words()))
            .advice("A file is accepted when its modification time no longer changes. If nobody writes to it, see the audit event for what to do.")
            .since(since)
            .page(page);
        Some(row)
    });
    rows.collect()
}

impl ThisNode {
    /// What keeps the node from its work: the room, and its fault.
    fn faults(&self) -> Vec<(&'static str, Error)> {
        let staging = self.staging.check_there().and_then(|()| self.staging.space().map(drop));
        let rooms = [("lease", (self.may_act)()), ("staging", staging)];
        rooms.into_iter().filter_map(|(room, result)| Some((room, result.err()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_an_address_that_a_browser_can_open() {
        for (listens, reached) in [
            ("0.0.0.0:8420", "127.0.0.1:8420"),
            ("[::]:8420", "[::1]:8420"),
            ("10.20.0.5:80", "10.20.0.5:80"),
            ("[2001:db8::5]:80", "[2001:db8::5]:80"),
        ] {
            assert_eq!(reachable(listens.parse().unwrap()).to_string(), reached);
        }
    }
}
