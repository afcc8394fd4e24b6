//! Audit events: the entries of the audit trail.

mod severity;
mod summary;

pub use summary::EventWords;

use crate::connection::words;
use crate::{ConnectionId, DeliveryId, EventId, NodeName, PeerText, Timestamp, TransferId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The key of an event's detail that holds what the operator can tell the partner.
pub const TELL_PARTNER: &str = "tell_partner";

words! {
    /// What happened.
    EventKind {
        /// A node started.
        NodeStarted = "node.started",
        /// A node stopped in the ordinary way.
        NodeStopped = "node.stopped",
        /// A node did not renew its lease in time, so its claims were released to other nodes. It may still
        /// be running.
        NodeFenced = "node.fenced",
        /// A revision of the definitions was stored.
        DefinitionsApplied = "definitions.applied",
        /// A node put a revision of the definitions in force.
        DefinitionsInForce = "definitions.in_force",
        /// A node could not put a revision of the definitions in force; the previous one stays in force
        /// there.
        DefinitionsRefused = "definitions.refused",
        /// All stored secrets were encrypted with a new master key.
        MasterKeyRotated = "secrets.key_rotated",
        /// A master key that is lost was forgotten, with all secrets that were encrypted with it.
        MasterKeyForgotten = "secrets.key_forgotten",
        /// A poll failed.
        PollFailed = "poll.failed",
        /// An offer could not be staged; it will be tried again.
        OfferBackedOff = "offer.backed_off",
        /// An offer was refused: Waybill does not try it again.
        OfferRefused = "offer.refused",
        /// An offer changed while it was read; it will be offered again.
        OfferChanged = "offer.changed",
        /// An offer was accepted although its source reports another size than was read, or a different time
        /// on each request.
        OfferMismatch = "offer.mismatch",
        /// A file is not accepted yet, because its modification time is different each time it is listed.
        OfferUnstable = "offer.unstable",
        /// The source was settled: file deleted, archived, moved or kept.
        OfferSettled = "offer.settled",
        /// A file has the content of one that was taken before: it is settled and not transferred again.
        OfferDuplicate = "offer.duplicate",
        /// The source could not be settled yet.
        SettleFailed = "offer.settle_failed",
        /// A payload was staged, and a transfer was created for it.
        TransferRecorded = "transfer.recorded",
        /// All deliveries of a transfer succeeded.
        TransferCompleted = "transfer.completed",
        /// A transfer ended without all of its deliveries.
        TransferFailed = "transfer.failed",
        /// A person cancelled a transfer.
        TransferCancelled = "transfer.cancelled",
        /// A person held a transfer: it waits until a person releases or cancels it.
        TransferHeld = "transfer.held",
        /// A person released a held transfer.
        TransferReleased = "transfer.released",
        /// A person sent a transfer's payload once more, as a transfer of its own.
        TransferResubmitted = "transfer.resubmitted",
        /// A file that is not staged was read at its source to its end, unchanged, and delivered.
        TransferStreamed = "transfer.streamed",
        /// A step of a flow made a new payload of another.
        StepDone = "step.done",
        /// The steps of a transfer could not be done this time; they will be tried again.
        StepsRetrying = "steps.retrying",
        /// A person retried the steps of a transfer that waited for their next attempt.
        StepsRequeued = "steps.requeued",
        /// The steps of a transfer were interrupted, because the lease of their node ended; they are done again.
        StepsInterrupted = "steps.interrupted",
        /// An attempt of a delivery began.
        DeliveryAttempted = "delivery.attempted",
        /// A delivery waits for its receipt.
        DeliveryAwaiting = "delivery.awaiting_receipt",
        /// A delivery succeeded, with its receipt.
        DeliveryDelivered = "delivery.delivered",
        /// An attempt failed; the delivery will be tried again.
        DeliveryRetrying = "delivery.retrying",
        /// A delivery failed permanently: it is not tried again by itself.
        DeliveryFailed = "delivery.failed",
        /// A delivery expired: it was not finished within its time.
        DeliveryExpired = "delivery.expired",
        /// A person cancelled or skipped a delivery.
        DeliveryCancelled = "delivery.cancelled",
        /// A person retried a delivery.
        DeliveryRequeued = "delivery.requeued",
        /// The outcome of an attempt is unknown: the lease of its node ended before the outcome was recorded.
        DeliveryInterrupted = "delivery.interrupted",
        /// A receipt arrived, but no delivery waits for it.
        ReceiptUnmatched = "receipt.unmatched",
        /// A receipt arrived that proves nothing: its delivery still waits for one.
        ReceiptUnproven = "receipt.unproven",
        /// A receipt arrived and changed nothing: its delivery has ended, or is tried again anyway.
        ReceiptIgnored = "receipt.ignored",
        /// A listener could not start, or stopped unexpectedly: it receives nothing.
        ListenerFailed = "listener.failed",
        /// A listener reached its limit of connections: some were refused, or closed while idle.
        ListenerLimitReached = "listener.limit_reached",
        /// A listener that was down is up again.
        ListenerRecovered = "listener.recovered",
        /// A listener refused a message.
        MessageRefused = "message.refused",
        /// A message whose connection was lost goes on at the first byte that the partner does not have.
        MessageRestarted = "message.restarted",
        /// A partner does not support AS2 restart: a message whose connection was lost is sent whole again.
        RestartUnsupported = "message.restart_unsupported",
        /// MD5, SHA-1 or a key under 2,048 bits was used, as the partner's `legacy = true` allows.
        LegacyUsed = "message.legacy_used",
        /// A key or certificate was used outside its time: the other side has not changed yet, or changed early.
        CertificateFallback = "certificate.fallback_used",
        /// A certificate in use ends in 60, 30, 7 or 1 days, and none replaces it. Recorded once for each of these.
        CertificateExpires = "certificate.expires",
        /// A certificate in use has ended, and none replaces it.
        CertificateExpired = "certificate.expired",
        /// A partner asks us to accept new certificates of its own.
        CertificateProposed = "certificate.proposed",
        /// The certificates that a partner proposed were accepted, or the partner was answered so.
        CertificateAccepted = "certificate.accepted",
        /// The certificates that a partner proposed were rejected, or the partner was answered so.
        CertificateRejected = "certificate.rejected",
        /// A certificate of ours is announced to a partner.
        CertificateAnnounced = "certificate.announced",
        /// A partner answered whether it accepts a certificate of ours.
        CertificateAnswered = "certificate.answered",
        /// A partner did not answer in time whether it accepts a certificate of ours.
        CertificateUnanswered = "certificate.unanswered",
        /// A message about certificates changed nothing: it repeats an earlier one, or answers none of ours.
        CertificateIgnored = "certificate.ignored",
        /// A message that had been answered before was received and answered again.
        MessageRepeated = "message.repeated",
        /// A message came under the Message-ID of an earlier one, with other content: it was refused, or taken from an answer.
        MessageContentDiffers = "message.content_differs",
        /// The connection of a message broke before it was whole; what had come is kept, so that its sender can go on.
        MessagePartialKept = "message.partial_kept",
        /// The sender of a message went on where an earlier connection had broken.
        MessageContinued = "message.continued",
        /// What was kept of a message is removed: its sender did not go on in time, too little of it had come, or it made room
        /// for another one.
        MessagePartialRemoved = "message.partial_removed",
        /// A connection was established.
        ConnectionOpened = "connection.opened",
        /// A connection ended.
        ConnectionClosed = "connection.closed",
        /// It is unknown whether a connection is still open: its node did not renew its lease.
        ConnectionLost = "connection.lost",
        /// A connection whose state was unknown is still open, as its own node reports.
        ConnectionStillOpen = "connection.still_open",
        /// A connection is used although the peer was not verified, as configured.
        ConnectionWeakened = "connection.weakened",
        /// A key of this machine's SSH agent was accepted by a server.
        AgentKeyUsed = "connection.agent_key_used",
        /// A connection could not be established.
        ConnectionFailed = "connection.failed",
        /// An endpoint goes offline after failures.
        EndpointOffline = "endpoint.offline",
        /// An endpoint that was offline is online again.
        EndpointOnline = "endpoint.online",
        /// One of several addresses of an endpoint goes offline after failures; the others are used.
        AddressOffline = "endpoint.address_offline",
        /// An address that was offline is online again.
        AddressOnline = "endpoint.address_online",
        /// As many deliveries to an endpoint wait as its queue allows: its flows take no new files.
        EndpointQueueFull = "endpoint.queue_full",
        /// The queue of an endpoint has room again.
        EndpointQueueFree = "endpoint.queue_free",
        /// A person set an endpoint offline.
        EndpointSetOffline = "endpoint.set_offline",
        /// A person set an endpoint online again.
        EndpointSetOnline = "endpoint.set_online",
        /// Fewer files than a flow expects came by the time of the day.
        FlowFilesMissing = "flow.files_missing",
        /// The files that a flow expected came after their time.
        FlowFilesArrived = "flow.files_arrived",
        /// Staging has no room for files that a poll found: they wait at their source. Recorded for the first one.
        FlowWaitsForRoom = "flow.waits_for_room",
        /// No file of a flow waits for room in staging any more.
        FlowHasRoom = "flow.has_room",
        /// The node that a flow prefers refused the flow's revision: another node polls the flow's source.
        FlowPreferredNodeBehind = "flow.preferred_node_behind",
        /// A person paused a flow: it takes no new files.
        FlowPaused = "flow.paused",
        /// A person resumed a paused flow.
        FlowResumed = "flow.resumed",
        /// A person asked for a poll of a flow's source at once.
        FlowRunRequested = "flow.run_requested",
        /// A poll that a person asked for has ended.
        FlowRun = "flow.run",
        /// A person looked at what a poll of a flow's source would do.
        FlowDryRun = "flow.dry_run",
        /// A person tested an endpoint.
        EndpointTested = "endpoint.tested",
        /// A person added a key to the list of known hosts.
        KnownHostAdded = "known_host.added",
        /// A person removed a key from the list of known hosts, or replaced it.
        KnownHostRemoved = "known_host.removed",
        /// A payload's bytes were removed at the end of its retention.
        PayloadRemoved = "payload.removed",
        /// A file in an archive was removed when its time was over, or left there because it was changed.
        ArchiveRemoved = "archive.removed",
        /// Staged bytes without a record were moved to quarantine.
        PayloadQuarantined = "payload.quarantined",
        /// What proves a message that was sent was recorded after its receipt, which came before the answer to the message.
        EvidenceRecorded = "evidence.recorded",
        /// What proves a message was removed at the end of its retention.
        EvidenceRemoved = "evidence.removed",
        /// A person saved what proves a message.
        EvidenceExported = "evidence.exported",
        /// A month of audit events was removed at the end of its retention.
        AuditRemoved = "audit.removed",
        /// A node or an administrator confirmed that a seal key belongs to this installation.
        AuditKeyTrusted = "audit.key_trusted",
        /// An administrator accepted the audit trail of a restored database.
        AuditRestored = "audit.restored",
        /// A node stopped sealing: the audit trail is not the one that it sealed before.
        AuditAlarm = "audit.alarm",
        /// A seal got no time stamp. Recorded for the first failure in a row only.
        TimestampFailed = "audit.timestamp_failed",
        /// Seals are time-stamped again after failures.
        TimestampRecovered = "audit.timestamp_recovered",
        /// Someone logged in.
        LoginSucceeded = "login.succeeded",
        /// Someone failed to log in.
        LoginFailed = "login.failed",
        /// A login attempt was delayed after failed ones, and its password not checked. Recorded once for
        /// each delay.
        LoginThrottled = "login.throttled",
        /// Someone logged out.
        LoginEnded = "login.ended",
        /// A user was added or changed.
        UserChanged = "user.changed",
    }
}

words! {
    /// How much an event matters.
    Severity {
        /// Nothing to do.
        Info = "info",
        /// Worth checking.
        Warning = "warning",
        /// Something failed.
        Error = "error",
    }
}

/// Who did it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", content = "name", rename_all = "snake_case")]
pub enum Actor {
    /// Waybill itself.
    System,
    /// A person, by user name.
    User(String),
    /// The peer.
    Peer,
    /// A person at the command line, by the operating system's user name.
    CommandLine(String),
}

impl Actor {
    /// The text form in a database column: `system`, `peer`, `user:ada`, `cli:root`.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::System => "system".into(),
            Self::Peer => "peer".into(),
            Self::User(name) => format!("user:{name}"),
            Self::CommandLine(name) => format!("cli:{name}"),
        }
    }

    /// The actor for people: `ada`, `root at the command line`, `Waybill`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::System => "Waybill".into(),
            Self::Peer => "The peer".into(),
            Self::User(name) => name.clone(),
            Self::CommandLine(name) => format!("{name} at the command line"),
        }
    }

    /// Reads [`Actor::to_text`] back.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        match (text, text.split_once(':')) {
            ("system", _) => Some(Self::System),
            ("peer", _) => Some(Self::Peer),
            (_, Some(("user", name))) => Some(Self::User(name.into())),
            (_, Some(("cli", name))) => Some(Self::CommandLine(name.into())),
            _ => None,
        }
    }
}

/// One event of the audit trail. It is never changed after it was written, and is sealed together with its
/// neighbours.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AuditEvent {
    /// This event.
    pub id: EventId,
    /// When it happened, by the node's clock.
    pub at: Timestamp,
    /// Where it happened.
    pub node: NodeName,
    /// What happened.
    pub kind: EventKind,
    /// How much it matters.
    pub severity: Severity,
    /// Who did it.
    pub actor: Actor,
    /// The flow, if one is concerned.
    pub flow: Option<String>,
    /// The endpoint, if one is concerned.
    pub endpoint: Option<String>,
    /// The partner, if one is concerned.
    pub partner: Option<String>,
    /// The transfer, if one is concerned.
    pub transfer: Option<TransferId>,
    /// The delivery, if one is concerned.
    pub delivery: Option<DeliveryId>,
    /// The connection, if one is concerned.
    pub connection: Option<ConnectionId>,
    /// The peer's address, as `ip:port`.
    pub peer: Option<String>,
    /// The rest, by key. Text from a peer goes through [`PeerText`]; numbers are whole; no secrets.
    pub detail: Map<String, Value>,
}

impl AuditEvent {
    /// An event of the system, with nothing but its kind; the `with_…` methods add the rest.
    #[must_use]
    pub fn new(id: EventId, at: Timestamp, node: NodeName, kind: EventKind) -> Self {
        Self {
            id,
            at,
            node,
            kind,
            severity: kind.usual_severity(),
            actor: Actor::System,
            flow: None,
            endpoint: None,
            partner: None,
            transfer: None,
            delivery: None,
            connection: None,
            peer: None,
            detail: Map::new(),
        }
    }

    /// Names who did it.
    #[must_use]
    pub fn by(mut self, actor: Actor) -> Self {
        self.actor = actor;
        self
    }

    /// Names the flow.
    #[must_use]
    pub fn flow(mut self, flow: &str) -> Self {
        self.flow = Some(flow.to_owned());
        self
    }

    /// Names the endpoint.
    #[must_use]
    pub fn endpoint(mut self, endpoint: &str) -> Self {
        self.endpoint = Some(endpoint.to_owned());
        self
    }

    /// Names the partner.
    #[must_use]
    pub fn partner(mut self, partner: &str) -> Self {
        self.partner = Some(partner.to_owned());
        self
    }

    /// Names the transfer.
    #[must_use]
    pub fn transfer(mut self, transfer: TransferId) -> Self {
        self.transfer = Some(transfer);
        self
    }

    /// Names the delivery.
    #[must_use]
    pub fn delivery(mut self, delivery: DeliveryId) -> Self {
        self.delivery = Some(delivery);
        self
    }

    /// Names the connection.
    #[must_use]
    pub fn connection(mut self, connection: ConnectionId) -> Self {
        self.connection = Some(connection);
        self
    }

    /// Adds a detail in Waybill's own words.
    #[must_use]
    pub fn detail(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.detail.insert(key.to_owned(), value.into());
        self
    }

    /// Adds a detail in the peer's words, made safe.
    #[must_use]
    pub fn peer_detail(self, key: &str, raw: impl AsRef<[u8]>) -> Self {
        self.detail(key, PeerText::new(raw.as_ref()).as_str())
    }

    /// Adds an error: its chain, kind and class, and the connection it names.
    #[must_use]
    pub fn error(mut self, error: &crate::Error) -> Self {
        self.connection = self.connection.or_else(|| error.connection());
        let step = error.failed_step().map(|step| step.as_str());
        let event = self
            .peer_detail("error", error.chain())
            .detail("error_kind", error.kind().as_str())
            .detail("retry", error.retry().as_str());
        let event = step.into_iter().fold(event, |event, step| event.detail("failed_at", step));
        match error.for_partner() {
            Some(words) => event.peer_detail(TELL_PARTNER, words),
            None => event,
        }
    }

    /// Sets how much it matters.
    #[must_use]
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }
}
