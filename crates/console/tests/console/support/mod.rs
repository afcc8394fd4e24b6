//! A store with plausible transfers in every state, for tests and for looking at the pages.

mod certificates;
mod record;

use console::{
    ActiveProblem, Console, ConsoleSettings, EndpointStatus, JournalStatus, NodeStatus, ProblemKind,
    StagingStatus,
};
use control::Control;
use model::{
    Certificate, ConnectionClosed, ConnectionId, ConnectionOpened, Direction, PeerText, Protocol, Purpose,
    Security, Severity, Suspension, SuspensionKind, Timestamp,
};
pub(crate) use record::{Filler, Way};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::{Journal, JournalEntry, JournalSettings, Store, StoreSettings};
use uuid::Uuid;

/// A store in a directory of its own, and the clock that all share.
pub(crate) struct World {
    /// The store.
    pub(crate) store: Store,
    /// The console over it.
    pub(crate) console: Console,
    /// Where its files lie.
    pub(crate) dir: tempfile::TempDir,
    clock: Arc<Time>,
}

/// Stands still until it is moved, or ticks from where it stands.
struct Time {
    at: Mutex<Timestamp>,
    ticks_since: Option<std::time::Instant>,
}

impl Time {
    fn now(&self) -> Timestamp {
        let ticked = self.ticks_since.map(|begun| begun.elapsed()).unwrap_or_default();
        let micros = i64::try_from(ticked.as_micros()).unwrap();
        *self.at.lock().unwrap() + chrono::TimeDelta::microseconds(micros)
    }
}

/// What a node would say of itself, and what may be done there.
struct Said {
    control: Control,
}

/// The operations over a store, with a transport whose servers show host keys.
fn control(store: &Store, clock: &Arc<Time>) -> Control {
    let environment = config::ProcessEnvironment::at(clock.now());
    let (settings, _) = config::Settings::load(None, Vec::new(), &environment).unwrap();
    let lent = clock.clone();
    Control::new(control::Parts {
        store: store.clone(),
        settings,
        catalogue: config::Catalogue::from_iter([
            Arc::new(testkit::fake::HostKeysOnly) as Arc<dyn model::Declaration>
        ]),
        now: Arc::new(move || lent.now()),
        ids: Arc::new(Uuid::now_v7),
        random: Arc::new(|bytes: &mut [u8]| bytes.fill(7)),
    })
}

impl NodeStatus for Said {
    fn endpoints(&self) -> Vec<EndpointStatus> {
        let said = |name: &str, failures, in_flight| EndpointStatus {
            name: name.into(),
            failures,
            offline_until: (failures > 0)
                .then(|| Timestamp::from_timestamp_micros(4_000_000_000_000_000).unwrap()),
            in_flight,
        };
        vec![said("globex-as2", 0, 1), said("initech-as2", 5, 0)]
    }

    fn suspensions(&self) -> Vec<Suspension> {
        vec![Suspension {
            kind: SuspensionKind::Endpoint,
            name: "initech-as2".into(),
            by: model::Actor::User("anna".into()),
            reason: Some("the partner <moves>".into()),
            since: Timestamp::from_timestamp_micros(1_795_183_800_000_000).unwrap(),
        }]
    }

    fn journal(&self) -> Option<JournalStatus> {
        Some(JournalStatus { backlog_bytes: 0, most_bytes: 1 << 30 })
    }

    fn problems(&self) -> Vec<ActiveProblem> {
        let what = "Listener partners is down";
        vec![
            ActiveProblem::new(ProblemKind::Listener, Severity::Error, "partners", what)
                .why("could not listen: address in use (address 0.0.0.0:4080)"),
        ]
    }

    fn keys(&self) -> Vec<control::KeyDetail> {
        let named = |name: &str| control::KeyDetail {
            name: name.into(),
            public: None,
            problem: None,
            used_by: Vec::new(),
        };
        let public = model::definition::PublicKey {
            algorithm: "ssh-ed25519".into(),
            fingerprint: "SHA256:gGQZHBHcGZq4cRUVqDmiaRiBTRqlmFRJeiWJoCVWGFE".into(),
            openssh: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPbrUuGeFOTs/6OVIUCQj/Ggc2nJ9RFkFBDzf7v1KLRO"
                .into(),
        };
        vec![
            control::KeyDetail { public: Some(public), ..named("acme-ssh") },
            control::KeyDetail { problem: Some("a key of <DSA>".into()), ..named("old") },
        ]
    }

    fn control(&self) -> Option<&Control> {
        Some(&self.control)
    }

    fn definitions(&self) -> Arc<model::definition::Definitions> {
        certificates::definitions()
    }

    fn staging(&self) -> Option<StagingStatus> {
        Some(StagingStatus { free_bytes: 212 << 30, min_free_bytes: 1 << 30 })
    }
}

impl World {
    /// Puts definitions in force: section, name and document of each.
    pub(crate) async fn define(&self, definitions: Vec<(&str, String, serde_json::Value)>) {
        let put = definitions.into_iter().zip(0..).map(|((section, name, document), position)| {
            let (origin, file) = ("/etc/flows".to_owned(), "flows.toml".to_owned());
            model::StoredDefinition { section: section.to_owned(), name, origin, file, position, document }
        });
        let revision = store::NewRevision {
            id: uuid::Uuid::now_v7(),
            base: self.store.current_revision_number().await.unwrap(),
            at: self.now(),
            author: model::Actor::System,
            kind: model::RevisionKind::Apply,
            source: Some("/etc/flows".to_owned()),
            summary: String::new(),
            put: put.collect(),
            removed: vec![],
            files_put: vec![],
            files_removed: vec![],
            secrets: store::NewSecrets::default(),
            events: vec![],
        };
        self.store.apply_revision(revision).await.unwrap();
    }

    /// Over the given database, or a new SQLite file. Time stands still unless it ticks.
    pub(crate) async fn open(url: Option<String>, now: Timestamp, ticks: bool) -> Self {
        Self::behind(None, url, now, ticks).await
    }

    /// The same, reached by people at another address.
    pub(crate) async fn behind(
        public_url: Option<&str>,
        url: Option<String>,
        now: Timestamp,
        ticks: bool,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = url.unwrap_or_else(|| format!("sqlite:{}", dir.path().join("waybill.db").display()));
        let mut settings = StoreSettings::new(url);
        settings.away_for = Duration::from_millis(300);
        let (store, _) = Store::open(&settings, Arc::new(Uuid::now_v7)).await.unwrap();
        let ticks_since = ticks.then(std::time::Instant::now);
        let clock = Arc::new(Time { at: Mutex::new(now), ticks_since });
        let settings = ConsoleSettings {
            node: "acme-1".parse().unwrap(),
            public_url: public_url.map(|url| url.parse().unwrap()),
            secure_cookies: public_url.is_some_and(|url| url.starts_with("https:")),
            version: "0.1.0".into(),
            refusing_transports: vec!["sftp", "file"],
        };
        let lent = clock.clone();
        let console = Console::with_node(
            store.clone(),
            settings,
            Arc::new(move || lent.now()),
            Arc::new(|bytes: &mut [u8]| {
                for chunk in bytes.chunks_mut(16) {
                    chunk.copy_from_slice(&Uuid::new_v4().as_bytes()[..chunk.len()]);
                }
            }),
            Arc::new(Said { control: control(&store, &clock) }),
        );
        Self { store, console, dir, clock }
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Lets time go by.
    pub(crate) fn pass(&self, time: Duration) {
        *self.clock.at.lock().unwrap() += time;
    }

    /// Connections in and out, live and past.
    pub(crate) async fn connections(&self, count: u32) -> Vec<ConnectionId> {
        self.record_connections(count, None, None).await
    }

    /// Connections by which pages of the console were asked for.
    pub(crate) async fn console_connections(&self, count: u32) -> Vec<ConnectionId> {
        self.record_connections(count, Some(Purpose::Console), None).await
    }

    /// Data connections (FTP) of a control connection.
    pub(crate) async fn data_connections(&self, count: u32, control: ConnectionId) -> Vec<ConnectionId> {
        self.record_connections(count, Some(Purpose::Data), Some(control)).await
    }

    async fn record_connections(
        &self,
        count: u32,
        purpose: Option<Purpose>,
        control: Option<ConnectionId>,
    ) -> Vec<ConnectionId> {
        let started = self.now() - Duration::from_secs(86_400);
        let journal = Journal::open(
            JournalSettings::new(self.dir.path().join(format!("journal-{purpose:?}"))),
            "acme-1".parse().unwrap(),
            started,
        )
        .unwrap();
        let mut ids = Vec::new();
        for number in 0..count {
            let at = self.now() - Duration::from_secs(u64::from(90 * (count - number)));
            let id = ConnectionId::new(Uuid::now_v7());
            ids.push(id);
            let opened = opened(id, number, at);
            let purpose = purpose.unwrap_or(opened.purpose);
            let opened = ConnectionOpened { purpose, control, ..opened };
            journal.append(JournalEntry::Opened(opened)).await.unwrap();
            if number % 9 != 8 {
                let failed = number % 7 == 6;
                let lasted = Duration::from_millis(340 + 977 * u64::from(number % 40));
                journal
                    .append(JournalEntry::Closed(ConnectionClosed {
                        id,
                        at: at + lasted,
                        bytes_in: 1_900 + 7_919 * u64::from(number),
                        bytes_out: 4_200 + 104_729 * u64::from(number),
                        duration: lasted,
                        requests: u64::from(1 + number % 12),
                        reason: PeerText::from(if failed { "reset by the peer" } else { "done" }),
                        failed,
                    }))
                    .await
                    .unwrap();
            }
        }
        journal.ship_pending(&self.store, self.now()).await.unwrap();
        ids
    }
}

fn opened(id: ConnectionId, number: u32, at: Timestamp) -> ConnectionOpened {
    let sftp = number.is_multiple_of(3);
    let inbound = number % 3 == 2;
    let host = match number % 3 {
        0 => "sftp.acme.example:22",
        1 => "as2.globex.example:443",
        _ => "gateway.acme.example:8443",
    };
    ConnectionOpened {
        id,
        at,
        node: "acme-1".parse().unwrap(),
        direction: if inbound { Direction::Inbound } else { Direction::Outbound },
        protocol: if sftp { Protocol::Sftp } else { Protocol::As2 },
        purpose: match number % 3 {
            0 => Purpose::Poll,
            1 => Purpose::Deliver,
            _ => Purpose::Receive,
        },
        endpoint: Some(["acme-sftp", "globex-as2", "as2"][number as usize % 3].into()),
        host: Some(PeerText::from(host)),
        remote: Some(
            format!("203.0.113.{}:{}", 10 + number % 40, if inbound { 40_100 + number } else { 443 })
                .parse()
                .unwrap(),
        ),
        local: Some(format!("10.20.0.5:{}", 50_000 + number).parse().unwrap()),
        proxy: None,
        security: if sftp {
            Security::Ssh {
                host_key_type: "ssh-ed25519".into(),
                host_key: "SHA256:2h0a7t5Jv3oZ8yW6vZK1m0cS9d4bQxRr7uE5TnPfXgk".into(),
                kex: "curve25519-sha256".into(),
                cipher: "chacha20-poly1305@openssh.com".into(),
                mac: String::new(),
                server: PeerText::from("SSH-2.0-OpenSSH_9.2p1 Debian-2"),
            }
        } else {
            Security::Tls {
                version: "TLSv1.3".into(),
                cipher: "TLS_AES_256_GCM_SHA384".into(),
                peer: (!inbound).then(|| {
                    Box::new(Certificate {
                        subject: PeerText::from("CN=as2.globex.example,O=Globex"),
                        issuer: PeerText::from("CN=Globex Issuing CA,O=Globex"),
                        serial: "4a91c0ffee12".into(),
                        sha256: "9f2c".repeat(16),
                        not_before: at - Duration::from_secs(90 * 86_400),
                        not_after: at + Duration::from_secs(275 * 86_400),
                    })
                }),
            }
        },
        control: None,
        through: None,
    }
}
