//! Time stamps over the seals, by an authority (RFC 3161).
//!
//! The newest seal is stamped, not each: it holds the digest of the one before, and so on down. Whether
//! the authority answers is nothing that sealing waits for: this is a chore of its own, tried again at growing
//! intervals, with one event when it begins to fail and one when it works again.

use crate::process::ClockAndRandom;
use async_trait::async_trait;
use config::Settings;
use console::{ActiveProblem, ProblemKind};
use engine::Maintenance;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request, StatusCode, Uri};
use model::{
    AuditEvent, Error, ErrorKind, EventId, EventKind, NodeName, Protocol, Purpose, Result, Retry, Severity,
    Sha256, Timestamp,
};
use net::http::{Body, HttpClient, HttpProfile, RequestMeta};
use net::{Net, TlsOptions};
use smime::{TimestampAuthorities, TimestampProof, TimestampRequest};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use store::{MarkFile, SealMark, Store};

/// Longest answer that is read, in bytes; a token has a few thousand.
const LONGEST_ANSWER: usize = 64 << 10;
/// Time for a whole exchange.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest pause after failures; the first is the time between two stamps, doubled with each.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// Longest time between two looks for a new seal.
const LOOK: Duration = Duration::from_secs(5);

/// One node's time stamps.
pub(crate) struct Timestamps {
    store: Store,
    ambient: ClockAndRandom,
    node: NodeName,
    mark: MarkFile,
    authority: Authority,
    every: Duration,
    standing: Mutex<Standing>,
}

/// How it goes.
#[derive(Clone, Default)]
struct Standing {
    /// In a row.
    failures: u32,
    since: Option<Timestamp>,
    why: String,
    next: Option<Timestamp>,
}

/// Certificates of authorities, from a file.
///
/// # Errors
/// It cannot be read, or holds none.
pub(crate) fn read_certificates(path: &Path) -> Result<TimestampAuthorities> {
    const OPERATION: &str = "read the certificates of time-stamping authorities";
    let failed = |error| Error::local_io(OPERATION, error).with("path", path.display());
    let pem = std::fs::read(path).map_err(failed)?;
    TimestampAuthorities::from_pem(&pem).map_err(|error| {
        Error::permanent(ErrorKind::ConfigInvalid, OPERATION)
            .caused_by(error)
            .with("path", path.display())
            .advice("the file must contain certificates in PEM form (-----BEGIN CERTIFICATE-----)")
    })
}

impl Timestamps {
    /// `None` when the settings ask for none.
    ///
    /// # Errors
    /// The certificates cannot be read.
    pub(crate) fn new(
        settings: &Settings,
        net: &Net,
        store: &Store,
        ambient: &ClockAndRandom,
    ) -> Result<Option<Self>> {
        let Some(wanted) = &settings.audit.timestamps else { return Ok(None) };
        let authority = Authority::new(wanted.url.as_str(), read_certificates(&wanted.certificates)?, net)?;
        Ok(Some(Self {
            store: store.clone(),
            ambient: ambient.clone(),
            node: settings.node.clone(),
            mark: MarkFile::within(&settings.state_directory),
            authority,
            every: wanted.every,
            standing: Mutex::default(),
        }))
    }

    /// What an operator should know; nothing while it works.
    pub(crate) fn problem(&self) -> Option<ActiveProblem> {
        let standing = self.standing();
        if standing.failures == 0 {
            return None;
        }
        let what = "Audit seals are not time-stamped";
        let mut problem = ActiveProblem::new(ProblemKind::Audit, Severity::Warning, "timestamps", what)
            .why(standing.why)
            .advice("Events are still sealed. The next time stamp covers all of them.")
            .page("/audit?kind=audit.timestamp_failed");
        if let Some(since) = standing.since {
            problem = problem.since(since);
        }
        Some(match standing.next {
            Some(next) => problem.next_try(next),
            None => problem,
        })
    }

    fn standing(&self) -> Standing {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn stand(&self, standing: Standing) {
        *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = standing;
    }

    /// The seal to stamp: one that this node has found in order.
    async fn due(&self) -> Result<Option<(i64, Sha256)>> {
        let Some(mark) = self.mark.read().await?.filter(SealMark::is_in_order) else { return Ok(None) };
        let due = self.store.seal_to_stamp(mark.newest.seal).await?;
        Ok(due.filter(|(_, digest)| *digest == mark.newest.digest))
    }

    async fn record(&self, kind: EventKind, error: Option<&str>) -> Result<()> {
        let now = self.ambient.clock.now();
        let mut event =
            AuditEvent::new(EventId::new(self.ambient.random.uuid(now)), now, self.node.clone(), kind)
                .detail("url", self.authority.shown.as_str());
        if let Some(error) = error {
            event = event.detail("error", error);
        }
        self.store.append_events(vec![event]).await.map(drop)
    }

    async fn stamped(&self, seal: i64, (token, proof): (Vec<u8>, TimestampProof)) -> Result<()> {
        self.store.keep_timestamp(seal, token).await?;
        let at = Timestamp::from(proof.at);
        tracing::info!(seal, %at, authority = proof.authority, "an audit seal was time-stamped");
        let before = self.standing();
        let next = Some(self.ambient.clock.now() + self.every);
        self.stand(Standing { next, ..Standing::default() });
        if before.failures > 0 {
            self.record(EventKind::TimestampRecovered, None).await?;
        }
        Ok(())
    }

    async fn failed(&self, seal: i64, error: &Error) -> Result<()> {
        let now = self.ambient.clock.now();
        let before = self.standing();
        let pause = self.every.saturating_mul(1 << before.failures.min(16));
        let next = now + pause.min(LONGEST_PAUSE.max(self.every));
        let why = error.chain();
        tracing::warn!(seal, error = why, %next, "an audit seal got no time stamp; this is tried again");
        self.stand(Standing {
            failures: before.failures.saturating_add(1),
            since: before.since.or(Some(now)),
            why: why.clone(),
            next: Some(next),
        });
        if before.failures == 0 {
            self.record(EventKind::TimestampFailed, Some(&why)).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Maintenance for Timestamps {
    fn name(&self) -> &'static str {
        "audit time stamps"
    }

    fn every(&self) -> Duration {
        self.every.min(LOOK)
    }

    async fn run(&self) -> Result<()> {
        if self.standing().next.is_some_and(|next| self.ambient.clock.now() < next) {
            return Ok(());
        }
        let Some((seal, digest)) = self.due().await? else { return Ok(()) };
        let mut random = [0; 16];
        self.ambient.random.fill(&mut random);
        match self.authority.stamp(&TimestampRequest::new(digest.0, random)).await {
            Ok(stamp) => self.stamped(seal, stamp).await,
            Err(error) => self.failed(seal, &error).await,
        }
    }
}

/// Who is asked, and whose answers are believed.
struct Authority {
    url: Uri,
    /// Without what a query may hold.
    shown: String,
    certificates: TimestampAuthorities,
    client: HttpClient,
}

impl Authority {
    fn new(url: &str, certificates: TimestampAuthorities, net: &Net) -> Result<Self> {
        let unusable =
            |error| Error::permanent(ErrorKind::ConfigInvalid, "read audit.timestamp_url").caused_by(error);
        let parsed: Uri = url.parse().map_err(|error: http::uri::InvalidUri| unusable(error))?;
        let tls = (parsed.scheme_str() == Some("https"))
            .then(|| net.tls_profile(&TlsOptions::default()))
            .transpose()?;
        let profile = HttpProfile {
            tls,
            // Nothing is asked again soon.
            max_idle: 0,
            ..HttpProfile::new(None, Protocol::Http, Purpose::Audit)
        };
        let shown = url.split_once('?').map_or(url, |(before, _)| before).to_owned();
        Ok(Self { url: parsed, shown, certificates, client: net.http_client(&profile) })
    }

    /// The token over the request's digest, checked.
    async fn stamp(&self, request: &TimestampRequest) -> Result<(Vec<u8>, TimestampProof)> {
        const OPERATION: &str = "get a time stamp for an audit seal";
        let late = |_| {
            Error::transient(ErrorKind::Timeout, OPERATION)
                .with("within", format!("{} s", PATIENCE.as_secs()))
        };
        let answer = tokio::time::timeout(PATIENCE, self.exchange(request)).await.map_err(late).flatten();
        let answer = answer.map_err(|error| error.with("authority", &self.shown))?;
        request.open(&answer, &self.certificates).map_err(|error| {
            let (kind, advice) = match &error {
                smime::Error::TimestampRefused(_) => (ErrorKind::Rejected, "ask the authority why"),
                smime::Error::Malformed { .. } => {
                    (ErrorKind::Protocol, "audit.timestamp_url must be that of an RFC 3161 service")
                }
                _ => (
                    ErrorKind::TrustFailed,
                    "compare audit.timestamp_certificates with what the authority publishes",
                ),
            };
            Error::new(kind, Retry::Transient, OPERATION)
                .caused_by(error)
                .with("authority", &self.shown)
                .advice(advice)
        })
    }

    async fn exchange(&self, request: &TimestampRequest) -> Result<Vec<u8>> {
        let wanted = Request::builder()
            .method(Method::POST)
            .uri(&self.url)
            .header(CONTENT_TYPE, "application/timestamp-query")
            .header(ACCEPT, "application/timestamp-reply")
            .body(Body::bytes(request.encode()))
            .map_err(|error| {
                Error::permanent(ErrorKind::Internal, "write a time stamp request").caused_by(error)
            })?;
        let answer = self.client.request(wanted, &RequestMeta::default()).await?;
        let (head, body) = answer.into_parts();
        let refused = |what: String| {
            Error::transient(ErrorKind::Protocol, "read the answer of the time-stamping authority").said(what)
        };
        if head.status != StatusCode::OK {
            return Err(refused(format!("status {}", head.status.as_u16())));
        }
        let media = head
            .headers
            .get(CONTENT_TYPE)
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let media = media.unwrap_or_default();
        let kind = media.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/timestamp-reply") {
            let error = refused(format!("Content-Type: {media}"));
            return Err(error.advice("audit.timestamp_url must be that of an RFC 3161 service"));
        }
        Ok(body.collect(LONGEST_ANSWER).await?.to_vec())
    }
}
