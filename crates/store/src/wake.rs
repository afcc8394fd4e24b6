//! Notifications between nodes: something changed that others wait for. Only hints: polling is still needed.

use crate::either::on;
use crate::fault::Fault;
use crate::tx::Tx;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const CHANNEL: &str = "waybill_changes";

/// The longest time between two queries for decisions. SQLite does not notify about writes of other processes.
const QUERY_EVERY: Duration = Duration::from_secs(1);
/// The shortest time between two queries for decisions.
const QUERY_AT_MOST_EVERY: Duration = Duration::from_millis(200);

/// What a commit changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Topic {
    /// A delivery may be claimable: hundreds a second on a busy gateway.
    Deliveries,
    /// The steps of a transfer may be claimable.
    Steps,
    /// A person decided something that every node follows: a revision, a paused flow, a run.
    Decisions,
}

impl Topic {
    const ALL: [Self; 3] = [Self::Deliveries, Self::Steps, Self::Decisions];

    const fn payload(self) -> &'static str {
        match self {
            Self::Deliveries => "deliveries",
            Self::Steps => "steps",
            Self::Decisions => "decisions",
        }
    }
}

/// The topics of one transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Topics([bool; Topic::ALL.len()]);

impl Topics {
    pub(crate) fn insert(&mut self, topic: Topic) {
        self.0[topic as usize] = true;
    }

    fn each(self) -> impl Iterator<Item = Topic> {
        Topic::ALL.into_iter().filter(move |topic| self.0[*topic as usize])
    }
}

impl From<Topic> for Topics {
    fn from(topic: Topic) -> Self {
        let mut topics = Self::default();
        topics.insert(topic);
        topics
    }
}

/// Counts the commits by topic.
#[derive(Clone, Debug)]
pub(crate) struct Wake(Arc<[watch::Sender<u64>; Topic::ALL.len()]>);

impl Wake {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Topic::ALL.map(|_| watch::Sender::new(0))))
    }

    pub(crate) fn fire(&self, topics: Topics) {
        topics.each().for_each(|topic| self.0[topic as usize].send_modify(|count| *count += 1));
    }

    fn fire_all(&self) {
        self.fire(Topics([true; Topic::ALL.len()]));
    }

    pub(crate) fn subscribe(&self, topic: Topic) -> watch::Receiver<u64> {
        self.0[topic as usize].subscribe()
    }
}

/// Tells a task when to query for what people decided: soon after a decision was committed on any node, and each
/// second.
#[derive(Debug)]
pub struct DecisionWakeups(watch::Receiver<u64>);

impl DecisionWakeups {
    pub(crate) fn new(decisions: watch::Receiver<u64>) -> Self {
        Self(decisions)
    }

    /// Returns when the next query is due: at most 5 times a second, at least once a second. Cancel safe.
    pub async fn next(&mut self) {
        let woken = async {
            tokio::time::sleep(QUERY_AT_MOST_EVERY).await;
            // After the store is closed there are no more notifications.
            if self.0.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = woken => {}
            () = tokio::time::sleep(QUERY_EVERY) => {}
        }
    }
}

/// Notifies the other nodes at the commit: one notification by topic for a whole group of commands.
pub(crate) async fn notify(tx: &mut Tx<'_>, topics: Topics) -> Result<(), Fault> {
    for topic in topics.each() {
        on!(tx,
            sqlite _c => Ok::<_, sqlx::Error>(()),
            postgres c => sqlx::query("SELECT pg_notify($1, $2)")
                .bind(CHANNEL).bind(topic.payload()).execute(c).await.map(|_| ()),
        )?;
    }
    Ok(())
}

/// Receives the notifications of other nodes, for as long as the store is open.
pub(crate) async fn listen(options: PgConnectOptions, wake: Wake) {
    let mut pause = Duration::from_millis(100);
    loop {
        if let Err(error) = receive(&options, &wake).await {
            tracing::debug!(error = %error, "notifications from other nodes are not available; Waybill polls the database instead");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(10));
    }
}

async fn receive(options: &PgConnectOptions, wake: &Wake) -> Result<(), sqlx::Error> {
    let pool = PgPoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(CHANNEL).await?;
    // What was sent before this connection listened is lost.
    wake.fire_all();
    loop {
        // `None`: the connection was lost and made again, and what was sent meanwhile is lost.
        let notification = listener.try_recv().await?;
        let topic = notification
            .and_then(|sent| Topic::ALL.into_iter().find(|topic| topic.payload() == sent.payload()));
        match topic {
            Some(topic) => wake.fire(Topics::from(topic)),
            None => wake.fire_all(),
        }
    }
}
