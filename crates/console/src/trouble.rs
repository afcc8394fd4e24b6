//! What is in trouble: one list of one shape, whatever it is about. The overview shows it first.
//!
//! Rows come from the database ([`from_database`]: all nodes), and from this node itself
//! ([`crate::Vitals::trouble`]: what only it knows). To add a row, make a [`Trouble`] in one of the two.

use crate::overview::Count;
use crate::query::Asked;
use crate::show::{Badge, Icon, Moment, Tone, cut, duration_text, grouped, one_line, path_text, size_text};
use crate::site::{EndpointVitals, Site};
use crate::transfers::PATH as TRANSFERS;
use model::{DeliveryState, Severity, Timestamp};
use std::time::Duration;
use store::{FailingDelivery, Overview};

/// Rows of each kind that are shown.
const EACH: usize = 10;
/// The longest texts of a row, in characters.
const WHAT: usize = 120;
const WHY: usize = 320;
/// Seals follow within seconds; after so long, something keeps them.
pub(crate) const LONG_LAG: Duration = Duration::from_secs(300);

/// What a trouble is about; the list is in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TroubleKind {
    /// The audit trail: its seals do not fit, or are behind.
    Audit,
    /// A node: its lease, its staging area, its journal.
    Node,
    /// A listener that does not receive.
    Listener,
    /// An endpoint that is offline.
    Endpoint,
    /// A source where files could not be deleted, archived or moved.
    Source,
    /// Messages that were refused.
    Message,
    /// A delivery that failed or is tried again.
    Delivery,
}

impl TroubleKind {
    const ALL: [Self; 7] = [
        Self::Audit,
        Self::Node,
        Self::Listener,
        Self::Endpoint,
        Self::Source,
        Self::Message,
        Self::Delivery,
    ];

    /// Where all of a kind can be seen.
    fn page(self) -> Option<&'static str> {
        match self {
            Self::Audit | Self::Node => None,
            Self::Listener => Some("/audit?kind=listener.&within=7d"),
            Self::Endpoint => Some("/audit?kind=endpoint.&within=7d"),
            Self::Source => Some("/audit?kind=offer.settle_failed&within=24h"),
            Self::Message => Some("/audit?kind=message.refused&within=24h"),
            Self::Delivery => Some("/transfers?trouble=24h"),
        }
    }

    const fn plural(self) -> &'static str {
        match self {
            Self::Audit => "alarms of the audit trail",
            Self::Node => "faults of nodes",
            Self::Listener => "listeners",
            Self::Endpoint => "endpoints",
            Self::Source => "sources",
            Self::Message => "reasons for which messages were refused",
            Self::Delivery => "deliveries",
        }
    }
}

/// Something in trouble.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trouble {
    kind: TroubleKind,
    severity: Severity,
    key: String,
    what: String,
    why: String,
    advice: String,
    since: Option<Timestamp>,
    next: Option<Timestamp>,
    page: Option<String>,
}

impl Trouble {
    /// What is in trouble, such as `Listener as2 is down`. `key` tells it from others of its kind.
    #[must_use]
    pub fn new(kind: TroubleKind, severity: Severity, key: &str, what: impl Into<String>) -> Self {
        Self {
            kind,
            severity,
            key: key.to_owned(),
            what: what.into(),
            why: String::new(),
            advice: String::new(),
            since: None,
            next: None,
            page: None,
        }
    }

    /// The cause, in the error's words.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    /// What a person can do about it: whole sentences.
    #[must_use]
    pub fn advice(mut self, advice: impl Into<String>) -> Self {
        self.advice = advice.into();
        self
    }

    /// Since when.
    #[must_use]
    pub fn since(mut self, since: Timestamp) -> Self {
        self.since = Some(since);
        self
    }

    /// When Waybill tries it again by itself.
    #[must_use]
    pub fn next_try(mut self, at: Timestamp) -> Self {
        self.next = Some(at);
        self
    }

    /// The console's page that shows more: its path, with its query.
    #[must_use]
    pub fn page(mut self, path: impl Into<String>) -> Self {
        self.page = Some(path.into());
        self
    }
}

/// A row as it is shown.
pub(crate) struct TroubleLine {
    pub(crate) key: String,
    pub(crate) badge: Badge,
    pub(crate) what: String,
    pub(crate) why: String,
    pub(crate) advice: String,
    pub(crate) since: Option<Moment>,
    pub(crate) next: Option<Moment>,
    pub(crate) page: Option<String>,
}

impl From<Trouble> for TroubleLine {
    fn from(trouble: Trouble) -> Self {
        Self {
            key: format!("{:?}-{}", trouble.kind, cut(&one_line(&trouble.key), WHAT)).to_lowercase(),
            badge: badge(&trouble),
            what: cut(&one_line(&trouble.what), WHAT),
            why: cut(&one_line(&trouble.why), WHY),
            advice: one_line(&trouble.advice),
            since: trouble.since.map(Moment),
            next: trouble.next.map(Moment),
            page: trouble.page,
        }
    }
}

fn badge(trouble: &Trouble) -> Badge {
    let (tone, icon) = match trouble.severity {
        Severity::Error => (Tone::Bad, Icon::Cross),
        Severity::Warning => (Tone::Warn, Icon::Warning),
        Severity::Info => (Tone::Quiet, Icon::Info),
    };
    let word = match trouble.kind {
        TroubleKind::Audit => "Audit",
        TroubleKind::Node => "Node",
        TroubleKind::Listener => "Listener",
        TroubleKind::Endpoint => "Endpoint",
        TroubleKind::Source => "Source",
        TroubleKind::Message => "Message",
        TroubleKind::Delivery => "Delivery",
    };
    Badge::new(tone, icon, word)
}

/// More of a kind than are shown.
pub(crate) struct More {
    pub(crate) text: String,
    pub(crate) page: Option<&'static str>,
}

/// The list, bounded for each kind.
#[derive(Default)]
pub(crate) struct Troubles {
    pub(crate) lines: Vec<TroubleLine>,
    pub(crate) more: Vec<More>,
    /// Where all transfers in trouble are listed, when any delivery is.
    pub(crate) transfers: Option<&'static str>,
}

/// Everything that is in trouble.
pub(crate) fn troubles(site: &Site, count: &Count) -> Troubles {
    let now = site.now();
    let mut all = from_database(&count.overview, now);
    all.extend(offline_endpoints(&count.overview, &site.vitals.endpoints(), now));
    all.extend(of_this_node(site));
    // More deliveries than were read.
    let unread = count.overview.in_trouble.saturating_sub(count.overview.failing.len() as u64);
    shown(all, unread)
}

fn shown(all: Vec<Trouble>, unread_deliveries: u64) -> Troubles {
    let mut troubles = Troubles::default();
    for kind in TroubleKind::ALL {
        let mut of_kind: Vec<Trouble> = all.iter().filter(|trouble| trouble.kind == kind).cloned().collect();
        let unread = if kind == TroubleKind::Delivery { unread_deliveries } else { 0 };
        let left_out = of_kind.len().saturating_sub(EACH) as u64 + unread;
        if left_out > 0 {
            let text = format!("{} more {}", grouped(left_out), kind.plural());
            troubles.more.push(More { text, page: kind.page() });
        }
        if kind == TroubleKind::Delivery && left_out + of_kind.len() as u64 > 0 {
            troubles.transfers = kind.page();
        }
        of_kind.truncate(EACH);
        troubles.lines.extend(of_kind.into_iter().map(TroubleLine::from));
    }
    troubles
}

/// What the database tells of all nodes.
fn from_database(overview: &Overview, now: Timestamp) -> Vec<Trouble> {
    let mut all = Vec::new();
    let lag = &overview.seal_lag;
    if lag.lag >= LONG_LAG {
        all.push(
            Trouble::new(TroubleKind::Audit, Severity::Warning, "lag", "Audit events are not sealed")
                .why(format!("The oldest of them is {} old.", duration_text(lag.lag)))
                .advice("The log of the node that seals tells what keeps it.")
                .since(now - lag.lag),
        );
    }
    for source in &overview.unsettled {
        let files =
            if source.files == 1 { "1 file".to_owned() } else { format!("{} files", grouped(source.files)) };
        let what = format!("{files} at {} could not be settled", source.endpoint);
        let query = [("kind", Some("offer.settle_failed")), ("flow", Some(source.flow.as_str()))];
        all.push(
            Trouble::new(TroubleKind::Source, Severity::Warning, &format!("{}/{}", source.flow, source.endpoint), what)
                .why(source.error.clone().unwrap_or_default())
                .advice(format!(
                    "Flow {} has them safely; at the source they are still to be deleted, archived or moved, which \
                     is tried again at least every hour.",
                    source.flow
                ))
                .since(source.since)
                .page(Asked::default().url("/audit", &query)),
        );
    }
    for refused in &overview.refused {
        let messages = if refused.count == 1 {
            "A message was refused".to_owned()
        } else {
            format!("{} messages were refused", grouped(refused.count))
        };
        let from = match (&refused.partner, &refused.peer) {
            (Some(partner), _) => format!(" from partner {partner}"),
            (None, Some(peer)) => format!(" from an unknown sender, the last from {peer}"),
            (None, None) => String::new(),
        };
        let key = format!("{}/{}", refused.partner.as_deref().unwrap_or_default(), refused.why);
        all.push(
            Trouble::new(TroubleKind::Message, Severity::Warning, &key, format!("{messages}{from}"))
                .why(&refused.why)
                .advice("Its sender was told so. The audit event has all that is known of it.")
                .since(refused.since)
                .page("/audit?kind=message.refused&within=24h"),
        );
    }
    all.extend(overview.failing.iter().map(delivery));
    all
}

/// By the trail, which knows of all nodes, and by this node, which knows until when.
fn offline_endpoints(overview: &Overview, here: &[EndpointVitals], now: Timestamp) -> Vec<Trouble> {
    let offline = |name: &str| {
        let query = [("kind", Some("endpoint.offline")), ("endpoint", Some(name))];
        let what = format!("Endpoint {name} is offline");
        Trouble::new(TroubleKind::Endpoint, Severity::Warning, name, what)
            .why("It failed several times in a row.")
            .advice("Its files wait in order and go on once it answers again.")
            .page(Asked::default().url("/audit", &query))
    };
    let mut all: Vec<Trouble> =
        overview.offline.iter().map(|known| offline(&known.endpoint).since(known.since)).collect();
    for endpoint in here {
        let Some(until) = endpoint.offline_until.filter(|until| *until > now) else { continue };
        let place = all.iter().position(|trouble| trouble.key == endpoint.name).unwrap_or_else(|| {
            all.push(offline(&endpoint.name));
            all.len() - 1
        });
        all[place].why = format!("It failed {} times in a row.", endpoint.failures);
        all[place].next = Some(until);
    }
    all
}

fn delivery(failing: &FailingDelivery) -> Trouble {
    let retrying = failing.state == DeliveryState::Retrying;
    let severity = if retrying { Severity::Warning } else { Severity::Error };
    let word = Badge::delivery(failing.state).word.to_lowercase();
    // Both ends of a name tell something, and so does what is behind it.
    let name = cut(&path_text(&failing.file_name), WHAT - 50);
    let what = format!("{name} to {}: {word}", cut(&failing.endpoint, 30));
    let key = failing.delivery.to_string();
    let trouble = Trouble::new(TroubleKind::Delivery, severity, &key, what)
        .why(failing.error.as_deref().unwrap_or_default())
        .since(failing.updated_at)
        .page(format!("{TRANSFERS}/{}", failing.transfer));
    if retrying {
        trouble.next_try(failing.due_at)
    } else {
        let retry = format!("Remove the cause, then: waybill transfer retry {}", failing.transfer);
        trouble.advice(retry)
    }
}

/// What this node knows of the trail that it seals.
fn audit_alarms(site: &Site) -> Vec<Trouble> {
    let alarm = site.vitals.audit_alarm().map(|alarm| {
        let what = format!("Audit alarm: {}", alarm.title());
        let why = if alarm.stops_sealing() {
            format!("This node seals nothing: {}.", alarm.what)
        } else {
            format!("{}.", sentence(&alarm.what))
        };
        Trouble::new(TroubleKind::Audit, Severity::Error, "alarm", what)
            .why(why)
            .advice(format!("{}.", sentence(&alarm.advice().replace('`', ""))))
            .since(alarm.since)
            .page("/audit?kind=audit.alarm")
    });
    let stopped = site.vitals.sealing_stopped().map(|why| {
        Trouble::new(TroubleKind::Audit, Severity::Error, "stopped", "Audit events are not being sealed")
            .why(why)
    });
    alarm.into_iter().chain(stopped).collect()
}

/// With a capital at its beginning.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    first + letters.as_str()
}

/// What this node adds.
fn of_this_node(site: &Site) -> Vec<Trouble> {
    let mut all = audit_alarms(site);
    all.extend(site.vitals.trouble());
    let full = |key: &str, what: &str, why: String, advice: &str| {
        Trouble::new(TroubleKind::Node, Severity::Error, key, what).why(why).advice(advice)
    };
    if let Some(journal) = site.vitals.journal().filter(|journal| journal.backlog_bytes >= journal.most_bytes)
    {
        all.push(full(
            "journal",
            "Connections are not recorded in the database",
            format!("{} wait in this node's journal.", size_text(journal.backlog_bytes)),
            "The log tells what keeps them from the database.",
        ));
    }
    if let Some(space) = site.vitals.staging().filter(|space| space.free_bytes < space.min_free_bytes) {
        all.push(full(
            "staging",
            "The staging area is full",
            format!(
                "{} are free, {} must stay free.",
                size_text(space.free_bytes),
                size_text(space.min_free_bytes)
            ),
            "Nothing is taken in until there is room: make some on its file system.",
        ));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_bounded_and_in_the_order_of_their_kinds() {
        let trouble = |kind, number: usize| {
            Trouble::new(kind, Severity::Warning, &number.to_string(), "w".repeat(5000)).why("y".repeat(5000))
        };
        let mut all: Vec<Trouble> = (0..25).map(|number| trouble(TroubleKind::Delivery, number)).collect();
        all.push(trouble(TroubleKind::Audit, 0));
        let troubles = shown(all, 1_000);
        assert_eq!(troubles.lines.len(), 11);
        assert_eq!(troubles.lines[0].badge.word, "Audit");
        assert_eq!(troubles.more.len(), 1);
        assert_eq!(troubles.more[0].text, "1,015 more deliveries");
        let longest = troubles.lines.iter().map(|line| line.why.chars().count()).max();
        assert_eq!(longest, Some(WHY));
        assert!(shown(Vec::new(), 0).more.is_empty());
    }
}
