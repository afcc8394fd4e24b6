//! How the store is opened.

use model::Secret;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Makes the ids of what the store itself writes: attempts, and events that follow from a change.
/// Version 7, as everywhere, so that they sort by time.
pub type IdGenerator = Arc<dyn Fn() -> Uuid + Send + Sync>;

/// Which database, and how it is used.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// `sqlite:/path/file.db` or `postgres://user@host/database`. May hold a password.
    pub url: Secret<String>,
    /// Connections for reading.
    pub readers: u32,
    /// Connections for writing; always 1 on SQLite.
    pub writers: u32,
    /// How long one command, one commit or one query may take before its connection counts as broken
    /// (PostgreSQL).
    pub answer_within: Duration,
    /// How long a search through text may take before it is ended.
    pub search_within: Duration,
    /// How long commands wait for a database that is away before they fail.
    pub away_for: Duration,
    /// Whether PostgreSQL has indexes for searching text; they cost whoever writes. Where it has not, those
    /// that are there are dropped. All nodes should say the same.
    pub text_search_indexes: bool,
    /// For a command beside a gateway that may be running: the file's lock is not taken and the schema
    /// is not changed. SQLite's own locks keep its writes apart from the gateway's.
    pub beside_gateway: bool,
    /// With `beside_gateway`: makes the tables of a PostgreSQL database that no gateway has used yet.
    pub make_tables: bool,
}

impl StoreSettings {
    /// The defaults: 8 readers, 4 writers, 30 seconds for an answer, 20 seconds for a search, 5 minutes
    /// for a database that is away.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: Secret::new(url.into()),
            readers: 8,
            writers: 4,
            answer_within: Duration::from_secs(30),
            search_within: Duration::from_secs(20),
            away_for: Duration::from_secs(300),
            text_search_indexes: true,
            beside_gateway: false,
            make_tables: false,
        }
    }
}
