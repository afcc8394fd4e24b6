//! A command that uses endpoints beside a gateway that may be running: it takes no lease and no lock,
//! stores no revision and moves nothing. Its connections are on record all the same.

use crate::directory::InForce;
use crate::gateway::{control, missing_database, net_settings, open_beside, open_staging, open_store};
use crate::journal_log::JournalLog;
use crate::process::ClockAndRandom;
use crate::stale_journals;
use crate::transports::Transports;
use config::{Catalogue, Settings};
use control::Control;
use engine::{KnownHostList, Parts, StagingRoom, Trial};
use model::definition::Definitions;
use model::{Error, ErrorKind, NodeName, Result};
use net::Net;
use net::http::{HttpServers, ServerLimits};
use staging::Staging;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use store::{Journal, JournalSettings, Store};
use tokio::sync::watch;
use transport::Services;

/// Endpoints, ready to be tried.
pub(crate) struct CommandSession {
    pub(crate) transports: Transports,
    pub(crate) services: Services,
    net: Net,
    store: Store,
    room: Arc<StagingRoom>,
    journal: OwnJournal,
    ambient: ClockAndRandom,
}

/// The journal of this command alone: the gateway's own belongs to the gateway.
struct OwnJournal {
    journal: Arc<Journal>,
    directory: PathBuf,
}

impl CommandSession {
    /// Reads the definitions of a directory, or those in force in the database.
    ///
    /// # Errors
    /// The definitions cannot be used; the database cannot be reached.
    pub(crate) async fn open(settings: &Settings, directory: Option<&Path>) -> Result<Self> {
        let ambient = ClockAndRandom::default();
        let store = open_or_make(settings, &ambient).await?;
        let staging = open_staging(settings, &store).await?;
        stale_journals::ship(&settings.state_directory, &store, &settings.node, &ambient).await;
        // What a gateway beside has reserved of it is not known here.
        let room = Arc::new(StagingRoom::new(staging.clone()));
        let node = stale_journals::command_name(&settings.node, std::process::id())?;
        let place = stale_journals::journal_of(&settings.state_directory, std::process::id());
        let journal = Journal::open(JournalSettings::new(&place), node.clone(), ambient.clock.now())?;
        let journal = OwnJournal { journal: Arc::new(journal), directory: place };
        match Self::around(settings, directory, store, staging, node, &journal.journal, &ambient).await {
            Ok((transports, services, net, store)) => {
                Ok(Self { transports, services, net, store, room, journal, ambient })
            }
            Err(error) => {
                // Nothing was dialled, so nothing is in it.
                journal.remove()?;
                Err(error)
            }
        }
    }

    /// The rest, around a journal.
    async fn around(
        settings: &Settings,
        directory: Option<&Path>,
        store: Store,
        staging: Staging,
        node: NodeName,
        journal: &Arc<Journal>,
        ambient: &ClockAndRandom,
    ) -> Result<(Transports, Services, Net, Store)> {
        let mut net_settings = net_settings(settings, ambient);
        net_settings.node = node.clone();
        let net = Net::new(
            net_settings,
            Arc::new(JournalLog { journal: Arc::clone(journal), ids: Arc::clone(&ambient.random) }),
        );
        let transports =
            Transports::new(settings, &net, &HttpServers::new(&net, ServerLimits::default()), Vec::new());
        let definitions = definitions(settings, &store, &transports.catalogue(), directory, ambient).await?;
        let (_, in_force) = watch::channel(Arc::new(definitions));
        let parts = Parts {
            store: store.clone(),
            staging,
            local_archives: Arc::clone(&transports.local_archives),
            clock: Arc::clone(&ambient.clock),
            random: Arc::clone(&ambient.random),
            directory: Arc::new(InForce(in_force)),
            host_keys: Arc::new(KnownHostList::load(store.clone()).await?),
            history: Arc::new(control(settings, &store, transports.catalogue(), ambient)),
            transports: Vec::new(),
        };
        let services = parts.services(&node, settings.limits.buffers);
        Ok((transports, services, net, store))
    }

    /// What endpoints are tried with.
    pub(crate) fn trial(&self) -> Trial {
        Trial {
            store: self.store.clone(),
            transports: self.transports.all.clone(),
            services: self.services.clone(),
            room: Arc::clone(&self.room),
        }
    }

    /// What may be done to the gateway.
    pub(crate) fn control(&self, settings: &Settings) -> Control {
        control(settings, &self.store, self.transports.catalogue(), &self.ambient)
    }

    /// Closes what was opened and puts it on record.
    pub(crate) async fn close(self) -> Result<()> {
        self.net.drain(Duration::from_secs(5)).await;
        let shipped = self.journal.journal.ship_pending(&self.store, self.ambient.clock.now()).await;
        self.store.close().await;
        shipped?;
        self.journal.remove()
    }
}

impl OwnJournal {
    fn remove(&self) -> Result<()> {
        std::fs::remove_dir_all(&self.directory).map_err(|error| {
            Error::local_io("remove the command's journal", error).with("path", self.directory.display())
        })
    }
}

/// The database, for a command that is used before the first start as well: then it is made here.
///
/// # Errors
/// It cannot be reached or made.
pub(crate) async fn open_or_make(settings: &Settings, ambient: &ClockAndRandom) -> Result<Store> {
    match missing_database(settings) {
        Some(_) => open_new(settings, ambient).await,
        None => {
            let store = open_beside(settings, ambient, true).await?;
            // Of this month, where the tables were made just now.
            store.ensure_partitions(ambient.clock.now()).await?;
            Ok(store)
        }
    }
}

async fn open_new(settings: &Settings, ambient: &ClockAndRandom) -> Result<Store> {
    std::fs::create_dir_all(&settings.state_directory).map_err(|error| {
        Error::local_io("create the state directory", error)
            .with("directory", settings.state_directory.display())
    })?;
    let store = open_store(settings, ambient).await?;
    store.ensure_partitions(ambient.clock.now()).await?;
    Ok(store)
}

async fn definitions(
    settings: &Settings,
    store: &Store,
    catalogue: &Catalogue,
    directory: Option<&Path>,
    ambient: &ClockAndRandom,
) -> Result<Definitions> {
    let control = control(settings, store, catalogue.clone(), ambient);
    if let Some(directory) = directory {
        return control.definitions_of(directory).await;
    }
    let state = store.current_definitions().await?;
    if state.number == 0 {
        return Err(Error::permanent(ErrorKind::NotFound, "find definitions in the database")
            .advice("give their directory with --definitions DIR"));
    }
    control.resolve(&state.definitions).await
}
