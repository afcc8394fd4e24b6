//! A problem that lasts: what does not work now, why, and what to do. The overview lists them.

use model::{Severity, Timestamp};

/// What a problem is about; the list is in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ProblemKind {
    /// The audit trail: its seals do not fit, or are behind.
    Audit,
    /// A node: its lease, its staging area, its journal.
    Node,
    /// A listener that does not receive.
    Listener,
    /// An endpoint that is offline.
    Endpoint,
    /// A certificate that ends soon.
    Certificate,
    /// A flow that a person paused.
    Flow,
    /// A source where files could not be deleted, archived or moved.
    Source,
    /// Messages that were refused.
    Message,
    /// A delivery that failed or is tried again.
    Delivery,
}

/// Something that does not work, or not as it should.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ActiveProblem {
    pub(crate) kind: ProblemKind,
    pub(crate) severity: Severity,
    pub(crate) key: String,
    pub(crate) what: String,
    pub(crate) why: String,
    pub(crate) advice: String,
    pub(crate) since: Option<Timestamp>,
    pub(crate) next: Option<Timestamp>,
    pub(crate) page: Option<String>,
}

impl ActiveProblem {
    /// What does not work, such as `Listener as2 is down`. `key` tells it from others of its kind.
    #[must_use]
    pub fn new(kind: ProblemKind, severity: Severity, key: &str, what: impl Into<String>) -> Self {
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
