//! The console as the binary holds it.

use crate::pages::setup;
use crate::router;
use crate::state::node_status::{NodeStatus, UnknownNode};
use crate::state::{AppState, Clock, ConsoleSettings, Random};
use crate::web::routes::ConsoleRoute;
use model::Result;
use std::sync::Arc;
use store::Store;

/// The console. Cheap to clone.
#[derive(Clone)]
pub struct Console {
    state: Arc<AppState>,
}

impl Console {
    /// A console over a store. Does no I/O.
    #[must_use]
    pub fn new(store: Store, settings: ConsoleSettings, clock: Clock, random: Random) -> Self {
        Self::with_node(store, settings, clock, random, Arc::new(UnknownNode))
    }

    /// The same, with what the node knows beside the database.
    #[must_use]
    pub fn with_node(
        store: Store,
        settings: ConsoleSettings,
        clock: Clock,
        random: Random,
        node: Arc<dyn NodeStatus>,
    ) -> Self {
        Self { state: Arc::new(AppState::new(store, settings, clock, random, node)) }
    }

    /// Its pages and probes, as a service for `net`'s `TowerHandler`, registered at path `/`.
    pub fn router(&self) -> axum::Router {
        router::router(self.state.clone())
    }

    /// Every path of a console, and who may reach it.
    #[must_use]
    pub fn routes() -> Vec<ConsoleRoute> {
        router::list()
    }

    /// While there are no users: a new one-time link, valid for 24 hours, that lets whoever opens it create the
    /// first user (earlier links that were not used are invalid from then on). `base` is where people reach
    /// the console, such as `http://127.0.0.1:8420`; the settings' public URL goes before it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn first_start_link(&self, base: &str) -> Result<Option<String>> {
        setup::link(&self.state, base).await
    }
}
