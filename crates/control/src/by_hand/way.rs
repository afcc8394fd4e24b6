//! The way of a message to a partner, step by step, as it is on record: what passed, what failed and what to do about it.

use model::{
    DeliveryState, Direction, EventKind, Lifecycle, Receipt, ReceiptKind, Security, Step, TELL_PARTNER,
    Timestamp,
};
use serde::Serialize;
use serde_json::Value;
use store::{ConnectionView, DeliveryView, EventView, Waybill};

/// How far a step is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStanding {
    /// It passed.
    Passed,
    /// It failed.
    Failed,
    /// Its end is awaited.
    Open,
    /// A step before it failed, or has not ended.
    NotReached,
}

impl StepStanding {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::Failed => "FAILED",
            Self::Open => "waits",
            Self::NotReached => "not reached",
        }
    }
}

/// One step of the way.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ExchangeStep {
    /// Which.
    pub step: Step,
    /// How far it is.
    pub standing: StepStanding,
    /// What was seen, or why it failed.
    pub words: String,
    /// What to do, of a step that failed.
    pub advice: Option<&'static str>,
}

/// The way of a message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Explained {
    /// Where its delivery stands.
    pub state: DeliveryState,
    /// Whether all of it passed; `None` until it has ended.
    pub passed: Option<bool>,
    /// The steps in order.
    pub steps: Vec<ExchangeStep>,
    /// Until when a receipt is awaited that comes later.
    pub receipt_until: Option<Timestamp>,
    /// What the operator can tell the partner.
    pub tell_partner: Option<String>,
}

/// The way of the first delivery of a transfer, by its last attempt. `None` for a transfer without a delivery.
#[must_use]
pub fn explain(waybill: &Waybill) -> Option<Explained> {
    let delivery = waybill.deliveries.first()?;
    Some(explain_delivery(delivery, &waybill.events, &waybill.connections))
}

fn explain_delivery(
    delivery: &DeliveryView,
    events: &[EventView],
    connections: &[ConnectionView],
) -> Explained {
    let failed = last_failure(events, delivery);
    let connection = connection_of(connections, failed);
    let record = Record { delivery, failed, connection };
    let kinds = record.kinds();
    let reached = record.reached(&kinds);
    let steps = kinds.iter().enumerate().map(|(at, step)| record.step(*step, at, reached)).collect();
    let text = |event: &EventView| event.detail.get(TELL_PARTNER)?.as_str().map(str::to_owned);
    Explained {
        state: delivery.state,
        passed: delivery.state.is_final().then_some(delivery.state == DeliveryState::Delivered),
        steps,
        receipt_until: delivery.receipt_deadline.filter(|_| delivery.state == DeliveryState::AwaitingReceipt),
        tell_partner: failed.and_then(text),
    }
}

/// The event of the last failed attempt, of a delivery that is not delivered.
fn last_failure<'a>(events: &'a [EventView], delivery: &DeliveryView) -> Option<&'a EventView> {
    use DeliveryState::{Expired, Failed, Retrying};
    if !matches!(delivery.state, Failed | Retrying | Expired) {
        return None;
    }
    let is_failure = |event: &&EventView| {
        let kind = EventKind::parse(&event.kind);
        matches!(kind, Some(EventKind::DeliveryFailed | EventKind::DeliveryRetrying))
            && event.delivery == Some(delivery.id)
    };
    events.iter().rev().find(is_failure)
}

/// The connection on which it failed; else the last one that went out. A receipt that comes later comes on one of the partner's.
fn connection_of<'a>(
    connections: &'a [ConnectionView],
    failed: Option<&EventView>,
) -> Option<&'a ConnectionView> {
    let is_ours = |connection: &&ConnectionView| connection.direction == Some(Direction::Outbound);
    let failed = failed.and_then(|event| event.connection);
    let named = connections.iter().filter(is_ours).find(|connection| Some(connection.id) == failed);
    named.or_else(|| connections.iter().rev().find(is_ours))
}

/// What is on record of a delivery.
struct Record<'a> {
    delivery: &'a DeliveryView,
    failed: Option<&'a EventView>,
    connection: Option<&'a ConnectionView>,
}

/// How far the way went: before this place all passed; what is there failed, or is open.
#[derive(Clone, Copy)]
struct Reached {
    place: usize,
    failed: bool,
}

impl Record<'_> {
    fn receipt(&self) -> Option<&Receipt> {
        self.delivery.receipt.as_ref().filter(|receipt| receipt.positive)
    }

    /// The step that failed, where the error names one.
    fn failed_at(&self) -> Option<Step> {
        Step::parse(self.failed?.detail.get("failed_at")?.as_str()?)
    }

    fn is_tls(&self) -> bool {
        let connection = self.connection.and_then(|connection| connection.security.as_ref());
        matches!(connection, Some(Security::Tls { .. })) || self.failed_at() == Some(Step::Tls)
    }

    fn is_through_proxy(&self) -> bool {
        self.connection.is_some_and(|connection| connection.proxy.is_some())
            || self.failed_at() == Some(Step::Proxy)
    }

    /// The steps of this way.
    fn kinds(&self) -> Vec<Step> {
        let before = self.is_before_connection().then_some(Step::Keys);
        let link = if self.is_through_proxy() { Step::Proxy } else { Step::Tcp };
        let tls = self.is_tls().then_some(Step::Tls);
        let asks = !self.receipt().is_some_and(|receipt| receipt.kind == ReceiptKind::HttpStatus);
        let by_receipt = asks.then_some([Step::Receipt, Step::Signature, Step::Mic]);
        before
            .into_iter()
            .chain([Step::Name, link])
            .chain(tls)
            .chain([Step::Status])
            .chain(by_receipt.into_iter().flatten())
            .collect()
    }

    /// Whether the attempt ended before it began to connect: a key, a certificate or a definition cannot be used.
    fn is_before_connection(&self) -> bool {
        let named = self.failed.map(|event| event.connection);
        named == Some(None) && self.failed_at().is_none() && self.connection.is_none()
    }

    fn reached(&self, kinds: &[Step]) -> Reached {
        let place = |step: Step| kinds.iter().position(|kind| *kind == step).unwrap_or_default();
        match self.delivery.state {
            DeliveryState::Delivered => Reached { place: kinds.len(), failed: false },
            DeliveryState::AwaitingReceipt => Reached { place: place(Step::Receipt), failed: false },
            _ if self.failed.is_some() => {
                let step = match self.failed_at() {
                    Some(step) if kinds.contains(&step) => step,
                    // What was lost while the message was sent or its answer awaited.
                    _ if self.is_before_connection() => Step::Keys,
                    _ => Step::Status,
                };
                Reached { place: place(step), failed: true }
            }
            _ => Reached { place: 0, failed: false },
        }
    }

    fn step(&self, step: Step, at: usize, reached: Reached) -> ExchangeStep {
        let standing = match at.cmp(&reached.place) {
            std::cmp::Ordering::Less => StepStanding::Passed,
            std::cmp::Ordering::Equal if reached.failed => StepStanding::Failed,
            std::cmp::Ordering::Equal => StepStanding::Open,
            std::cmp::Ordering::Greater => StepStanding::NotReached,
        };
        let (words, advice) = match standing {
            StepStanding::Passed => (self.seen(step), None),
            StepStanding::Failed => (self.delivery.error.clone().unwrap_or_default(), Some(advice(step))),
            StepStanding::Open | StepStanding::NotReached => (String::new(), None),
        };
        ExchangeStep { step, standing, words, advice }
    }

    /// What was seen of a step that passed.
    fn seen(&self, step: Step) -> String {
        let connection = self.connection;
        let host = connection.and_then(|one| one.host.clone()).unwrap_or_default();
        let remote = connection.and_then(|one| one.remote.clone());
        match step {
            Step::Keys => "keys and certificates can be used".to_owned(),
            Step::Name => match (remote, self.is_through_proxy()) {
                (_, true) => format!("{host}: the proxy finds the address"),
                (Some(remote), false) => format!("{host}: {remote}"),
                (None, false) => host,
            },
            Step::Proxy => {
                let proxy = connection.and_then(|one| one.proxy.clone()).unwrap_or_default();
                format!("connected through {proxy}")
            }
            Step::Tcp => format!("connected to {}", remote.unwrap_or(host)),
            Step::Tls => match connection.and_then(|one| one.security.as_ref()) {
                Some(Security::Tls { version, cipher, peer }) => {
                    let peer = peer.as_ref().map(|peer| {
                        format!("; {}, valid until {}", peer.subject, peer.not_after.format("%Y-%m-%d"))
                    });
                    format!("{version}, {cipher}{}", peer.unwrap_or_default())
                }
                _ => String::new(),
            },
            Step::Status => match self.detail("status") {
                Some(status) => format!("HTTP status {status}"),
                None => "the server answered".to_owned(),
            },
            Step::Receipt => match self.receipt() {
                Some(receipt) => receipt.summary.clone(),
                None => "the receipt came".to_owned(),
            },
            Step::Signature => match (self.detail("signed").as_deref(), self.detail("signed_with")) {
                (Some("true"), Some(name)) => format!("verified with the partner's certificate {name}"),
                (Some("true"), None) => "verified with a certificate of the partner".to_owned(),
                (Some(_), _) => "the receipt is not signed, as was agreed".to_owned(),
                (None, _) => "passed".to_owned(),
            },
            Step::Mic => match (self.detail("mic_matched").as_deref(), self.detail("mic")) {
                (Some("true"), Some(mic)) => format!("the same as ours: {mic}"),
                (Some(_), _) => {
                    "the receipt has no MIC: it says that the message came, but not which bytes".to_owned()
                }
                (None, _) => "passed".to_owned(),
            },
            other => other.to_string(),
        }
    }

    /// A value of the receipt's detail as text.
    fn detail(&self, key: &str) -> Option<String> {
        match self.receipt()?.detail.get(key)? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }
}

/// What to do about a step that failed.
const fn advice(step: Step) -> &'static str {
    match step {
        Step::Keys => {
            "Correct the definitions of the partner, the identity and the endpoint: `waybill validate` names the field."
        }
        Step::Name => "Check the host in the endpoint's url, and the DNS servers of the gateway's machine.",
        Step::Proxy => {
            "Check the endpoint's proxy, its user and password, and whether it lets this host and port through."
        }
        Step::Tcp => {
            "Check host and port with the partner, the firewall on the way out, and whether the partner has to allow \
             the gateway's address."
        }
        Step::Tls => {
            "Compare the server's certificate with what the partner says, and set trust.authorities or trust.pins; an old \
             server may need tls.max and tls.ciphers; one that wants a client certificate, tls.client_key."
        }
        Step::Status => {
            "Check the path of the url and the login with the partner. `waybill endpoint test` shows what answers there \
             without sending a message."
        }
        Step::Receipt => {
            "The partner's system read the message and refused it, or gave no receipt: its words are above. Compare AS2 \
             names, certificates and security with the partner."
        }
        Step::Signature => {
            "Ask the partner which certificate signs its receipts, compare its fingerprint by telephone, and add it to the \
             partner's certificates."
        }
        Step::Mic => {
            "The partner confirms other bytes than were sent. The lines above compare its MIC with ours by every rule: give \
             the partner that line."
        }
        _ => "Look at the transfer: its attempts have the whole error.",
    }
}

#[cfg(test)]
mod tests;
