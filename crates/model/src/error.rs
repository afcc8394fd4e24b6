//! Waybill's error type: what was tried, where, what the peer answered, what to do next.
//!
//! Each transport chooses kind and retry class from its protocol's reply codes. Only the engine acts on the
//! class.

use crate::{ConnectionId, PeerText, Step, quoted};
use std::borrow::Cow;
use std::fmt;

/// Result with Waybill's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in terms an operator can act on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ErrorKind {
    /// A definition or setting cannot be used as written.
    ConfigInvalid,
    /// The peer does not accept our login.
    Unauthenticated,
    /// The peer accepts our login, but does not permit this.
    PermissionDenied,
    /// The peer could not prove who it is (host key, certificate, signature).
    TrustFailed,
    /// The named thing does not exist.
    NotFound,
    /// The name exists already.
    AlreadyExists,
    /// The peer, or this build, cannot do what was asked.
    Unsupported,
    /// A connection could not be established, or was lost.
    Unreachable,
    /// No answer within the time allowed.
    Timeout,
    /// The peer asks us to slow down.
    Throttled,
    /// A limit of this gateway is reached: the peer was not asked.
    Busy,
    /// The peer understood and refused the content.
    Rejected,
    /// The bytes are not the expected ones.
    IntegrityFailed,
    /// The storage is full, on this machine or at the peer.
    StorageFull,
    /// The peer does not speak the protocol as specified.
    Protocol,
    /// Another node has taken over the work. What this node has begun has no effect.
    ClaimLost,
    /// An error inside Waybill.
    Internal,
}

impl ErrorKind {
    /// All kinds, in the order of their declaration.
    pub const ALL: [Self; 17] = [
        Self::ConfigInvalid,
        Self::Unauthenticated,
        Self::PermissionDenied,
        Self::TrustFailed,
        Self::NotFound,
        Self::AlreadyExists,
        Self::Unsupported,
        Self::Unreachable,
        Self::Timeout,
        Self::Throttled,
        Self::Busy,
        Self::Rejected,
        Self::IntegrityFailed,
        Self::StorageFull,
        Self::Protocol,
        Self::ClaimLost,
        Self::Internal,
    ];

    /// Stable name, as in the database, the log and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConfigInvalid => "config_invalid",
            Self::Unauthenticated => "unauthenticated",
            Self::PermissionDenied => "permission_denied",
            Self::TrustFailed => "trust_failed",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::Unsupported => "unsupported",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Throttled => "throttled",
            Self::Busy => "busy",
            Self::Rejected => "rejected",
            Self::IntegrityFailed => "integrity_failed",
            Self::StorageFull => "storage_full",
            Self::Protocol => "protocol",
            Self::ClaimLost => "claim_lost",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether trying again can help.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Retry {
    /// Nothing was done; the same act may succeed later.
    Transient,
    /// The same act will fail again until a person changes something.
    Permanent,
    /// The act may have taken effect or not; find out before doing it again.
    Ambiguous,
}

impl Retry {
    /// Stable name, as in the database and the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Permanent => "permanent",
            Self::Ambiguous => "ambiguous",
        }
    }
}

/// An error with everything an operator needs. Build it where the peer's answer is known:
///
/// ```
/// use model::{Error, ErrorKind};
/// let error = Error::permanent(ErrorKind::PermissionDenied, "create a file")
///     .with("path", "/inbox/a.edi")
///     .said("550 no write permission")
///     .advice("ask the partner for write permission on /inbox");
/// assert_eq!(
///     error.to_string(),
///     "could not create a file: permission_denied, peer said \"550 no write permission\" \
///      (path /inbox/a.edi); ask the partner for write permission on /inbox"
/// );
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    retry: Retry,
    operation: Cow<'static, str>,
    context: Vec<(&'static str, String)>,
    connection: Option<ConnectionId>,
    step: Option<Step>,
    judgement: bool,
    said: Option<PeerText>,
    advice: Option<Cow<'static, str>>,
    tell: Option<Box<str>>,
    source: Option<Box<dyn std::error::Error + Send + Sync + 'static>>,
}

impl Error {
    /// An error of a kind and class. `operation` completes the sentence "could not …".
    #[must_use]
    pub fn new(kind: ErrorKind, retry: Retry, operation: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            retry,
            operation: operation.into(),
            context: Vec::new(),
            connection: None,
            step: None,
            judgement: false,
            said: None,
            advice: None,
            tell: None,
            source: None,
        }))
    }

    /// Nothing was done; the same act may succeed later.
    #[must_use]
    pub fn transient(kind: ErrorKind, operation: impl Into<Cow<'static, str>>) -> Self {
        Self::new(kind, Retry::Transient, operation)
    }

    /// The same act will fail again until a person changes something.
    #[must_use]
    pub fn permanent(kind: ErrorKind, operation: impl Into<Cow<'static, str>>) -> Self {
        Self::new(kind, Retry::Permanent, operation)
    }

    /// The act may have taken effect.
    #[must_use]
    pub fn ambiguous(kind: ErrorKind, operation: impl Into<Cow<'static, str>>) -> Self {
        Self::new(kind, Retry::Ambiguous, operation)
    }

    /// Adds where it happened: a key and its value. Never a secret.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Adds the connection it happened on, where there is one.
    #[must_use]
    pub fn on_connection(mut self, connection: impl Into<Option<ConnectionId>>) -> Self {
        self.0.connection = connection.into().or(self.0.connection);
        self
    }

    /// Adds the step of reaching a place that failed.
    #[must_use]
    pub fn at_step(mut self, step: Step) -> Self {
        self.0.step = Some(step);
        self
    }

    /// The peer received what was sent, and this is its answer or the check of its answer: the error concerns this one
    /// message, also where its kind concerns access.
    #[must_use]
    pub fn as_judgement(mut self) -> Self {
        self.0.judgement = true;
        self
    }

    /// Adds the peer's own words, made safe to show.
    #[must_use]
    pub fn said(mut self, words: impl AsRef<[u8]>) -> Self {
        self.0.said = Some(PeerText::new(words.as_ref()));
        self
    }

    /// Adds what a person can do about it.
    #[must_use]
    pub fn advice(mut self, advice: impl Into<Cow<'static, str>>) -> Self {
        self.0.advice = Some(advice.into());
        self
    }

    /// Adds what the operator can tell the partner about it: sentences that can be copied. The peer itself never gets them.
    #[must_use]
    pub fn tell_partner(mut self, words: impl Into<Box<str>>) -> Self {
        self.0.tell = Some(words.into());
        self
    }

    /// Keeps the error that caused this one.
    #[must_use]
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync + 'static>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Changes the retry class, if the caller knows more than the code that created the error.
    #[must_use]
    pub fn retry_as(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether trying again can help.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// What was tried; completes the sentence "could not …".
    #[must_use]
    pub fn operation(&self) -> &str {
        &self.0.operation
    }

    /// Where it happened, in the order added.
    #[must_use]
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }

    /// What a person can do about it, of this error alone.
    #[must_use]
    pub fn advised(&self) -> Option<&str> {
        self.0.advice.as_deref()
    }

    /// The connection it happened on, where it or one of its causes names one.
    #[must_use]
    pub fn connection(&self) -> Option<ConnectionId> {
        let causes = std::iter::successors(std::error::Error::source(self), |cause| cause.source());
        std::iter::once(self).chain(causes.filter_map(own)).find_map(|error| error.0.connection)
    }

    /// Whether the peer has received what was sent, so that the error concerns this one message.
    #[must_use]
    pub fn is_judgement(&self) -> bool {
        self.0.judgement
    }

    /// The step of reaching a place that failed, where it is known.
    #[must_use]
    pub fn step(&self) -> Option<Step> {
        self.0.step
    }

    /// The step of reaching a place that failed, where it or one of its causes names one.
    #[must_use]
    pub fn failed_step(&self) -> Option<Step> {
        let causes = std::iter::successors(std::error::Error::source(self), |cause| cause.source());
        std::iter::once(self).chain(causes.filter_map(own)).find_map(|error| error.0.step)
    }

    /// What the operator can tell the partner, where it or one of its causes says so.
    #[must_use]
    pub fn for_partner(&self) -> Option<&str> {
        let causes = std::iter::successors(std::error::Error::source(self), |cause| cause.source());
        std::iter::once(self).chain(causes.filter_map(own)).find_map(|error| error.0.tell.as_deref())
    }

    /// The peer's own words.
    #[must_use]
    pub fn peer_said(&self) -> Option<&PeerText> {
        self.0.said.as_ref()
    }

    /// The message with the messages of all its causes, for one line of log or a database column: what
    /// failed and why, down to the first cause; then where; then what to do. A list may cut its end off.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut levels = vec![&*self.0];
        let mut text = self.0.failure();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            let words = match own(cause) {
                Some(error) => {
                    levels.push(&error.0);
                    error.0.failure()
                }
                None => PeerText::new(cause.to_string().as_bytes()).as_str().to_owned(),
            };
            // Many libraries repeat their cause in their own message; once is enough.
            if !text.contains(&words) {
                text.push_str(": ");
                text.push_str(&words);
            }
            next = cause.source();
        }
        text.push_str(&place_and_advice(&levels));
        text
    }
}

/// The error of ours that a cause is, or that an I/O error carries.
fn own<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a Error> {
    let carried = |io: &'a std::io::Error| io.get_ref()?.downcast_ref::<Error>();
    cause.downcast_ref::<Error>().or_else(|| cause.downcast_ref::<std::io::Error>().and_then(carried))
}

impl Inner {
    /// What was tried, what went wrong, what the peer said.
    fn failure(&self) -> String {
        let said = self.said.as_ref().map(|said| format!(", peer said \"{said}\"")).unwrap_or_default();
        format!("could not {}: {}{said}", self.operation, self.kind)
    }
}

/// Places whose values others chose: names with spaces, commas and brackets would run into what follows.
const NAMES: [&str; 9] =
    ["path", "file", "file_name", "name", "temporary", "directory", "target", "back", "user"];

/// Where it happened and what to do, for an error and its causes, each text once.
fn place_and_advice(levels: &[&Inner]) -> String {
    let mut places: Vec<String> = Vec::new();
    let mut advice: Vec<&str> = Vec::new();
    for level in levels {
        for (key, value) in &level.context {
            let place = if NAMES.contains(key) {
                format!("{key} {}", quoted(value))
            } else {
                format!("{key} {value}")
            };
            if !places.contains(&place) {
                places.push(place);
            }
        }
        if let Some(connection) = level.connection {
            let place = format!("connection {connection}");
            if !places.contains(&place) {
                places.push(place);
            }
        }
        advice.extend(level.advice.as_deref().filter(|known| !advice.contains(known)));
    }
    let mut text = String::new();
    if !places.is_empty() {
        text.push_str(&format!(" ({})", places.join(", ")));
    }
    for advice in advice {
        text.push_str("; ");
        text.push_str(advice);
    }
    text
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.failure())?;
        f.write_str(&place_and_advice(&[&self.0]))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error[{:?}/{:?}] {}", self.0.kind, self.0.retry, self.chain())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|s| &**s as &(dyn std::error::Error + 'static))
    }
}

/// A local I/O error. Storage that is full or briefly failing is worth another try; a path that is
/// wrong or forbidden is not.
impl Error {
    /// Classifies a local file error; `operation` completes "could not …".
    #[must_use]
    pub fn local_io(operation: impl Into<Cow<'static, str>>, source: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        // An error of ours that came through `Read` or `Write` keeps what it is.
        if let Some(inner) = source.get_ref().and_then(|inner| inner.downcast_ref::<Self>()) {
            return Self::new(inner.kind(), inner.retry(), operation).caused_by(source);
        }
        let (kind, retry) = match source.kind() {
            Io::NotFound => (ErrorKind::NotFound, Retry::Permanent),
            Io::PermissionDenied | Io::ReadOnlyFilesystem => (ErrorKind::PermissionDenied, Retry::Permanent),
            Io::AlreadyExists => (ErrorKind::AlreadyExists, Retry::Permanent),
            Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge => {
                (ErrorKind::StorageFull, Retry::Transient)
            }
            Io::TimedOut => (ErrorKind::Timeout, Retry::Transient),
            _ => (ErrorKind::Internal, Retry::Transient),
        };
        Self::new(kind, retry, operation).caused_by(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_where_its_quotes_end() {
        let error = Error::permanent(ErrorKind::NotFound, "open a file")
            .with("path", "in/a b, host x).edi")
            .with("waited", "60.0 s");
        let words = "could not open a file: not_found (path \"in/a b, host x).edi\", waited 60.0 s)";
        assert_eq!(error.to_string(), words);
    }

    #[test]
    fn the_cause_comes_before_where_and_what_to_do() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let connect = Error::transient(ErrorKind::Unreachable, "connect")
            .with("host", "as2.globex.example:443")
            .with("delivery", "0192f7a0")
            .advice("check that something listens there")
            .caused_by(refused);
        let deliver = Error::transient(ErrorKind::Unreachable, "deliver a file")
            .with("delivery", "0192f7a0")
            .with("endpoint", "globex-as2")
            .caused_by(std::io::Error::other(connect));
        assert_eq!(
            deliver.chain(),
            "could not deliver a file: unreachable: could not connect: unreachable: connection refused \
             (delivery 0192f7a0, endpoint globex-as2, host as2.globex.example:443); check that something \
             listens there"
        );
        assert_eq!(
            deliver.to_string(),
            "could not deliver a file: unreachable (delivery 0192f7a0, endpoint globex-as2)"
        );
    }
}
