//! The journals of commands beside the gateway, and what is left of commands that were cut off: their
//! connections go on record at the gateway's next start, or with the next command.

use crate::process::ClockAndRandom;
use model::{Error, ErrorKind, NodeName, Result};
use std::path::{Path, PathBuf};
use store::{Journal, JournalSettings, Store};

/// What a command's journal is named with: its process id follows.
const PREFIX: &str = "journal-";

/// Where the journal of a command lies.
pub(crate) fn journal_of(state: &Path, process: u32) -> PathBuf {
    state.join(format!("{PREFIX}{process}"))
}

/// The name under which a command's connections are on record: no other process's, whose live connections
/// would else look like those of one that has ended.
pub(crate) fn command_name(node: &NodeName, process: u32) -> Result<NodeName> {
    let end = format!(".cli-{process}");
    let room = 64 - end.len();
    // Names are ASCII.
    let begin = node.as_str().get(..room).unwrap_or(node.as_str());
    NodeName::try_from(format!("{begin}{end}")).map_err(|reason| {
        Error::permanent(ErrorKind::ConfigInvalid, "create a node name for this command")
            .with("reason", reason)
    })
}

/// Ships and removes the journals whose commands have ended; those of running ones are locked. What cannot be
/// shipped waits for the next time.
pub(crate) async fn ship(state: &Path, store: &Store, node: &NodeName, ambient: &ClockAndRandom) {
    let found = std::fs::read_dir(state).into_iter().flatten().filter_map(std::result::Result::ok);
    for entry in found {
        let name = entry.file_name();
        let Some(process) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse().ok()) else {
            continue;
        };
        match ship_one(&entry.path(), process, store, node, ambient).await {
            Ok(()) => tracing::info!(process, "the connections of a command that was killed were recorded"),
            // It runs: this is its own.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => tracing::warn!(
                path = %entry.path().display(), error = %error.chain(),
                "the connections of a command that was killed could not be recorded yet"
            ),
        }
    }
}

async fn ship_one(
    path: &Path,
    process: u32,
    store: &Store,
    node: &NodeName,
    ambient: &ClockAndRandom,
) -> Result<()> {
    let now = ambient.clock.now();
    let journal = Journal::open(JournalSettings::new(path), command_name(node, process)?, now)?;
    journal.ship_pending(store, now).await?;
    // While it is still locked: nobody else begins with it.
    std::fs::remove_dir_all(path)
        .map_err(|error| Error::local_io("remove a command's journal", error).with("path", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{ConnectionId, ConnectionOpened, Direction, Protocol, Purpose, Security};
    use store::{ConnectionFilter, JournalEntry, Page, StoreSettings};

    fn node() -> NodeName {
        "acme".parse().unwrap()
    }

    /// A journal with one connection that is open.
    async fn begun(state: &Path, process: u32, ambient: &ClockAndRandom) -> Journal {
        let (now, name) = (ambient.clock.now(), command_name(&node(), process).unwrap());
        let settings = JournalSettings::new(journal_of(state, process));
        let journal = Journal::open(settings, name.clone(), now).unwrap();
        let opened = ConnectionOpened {
            id: ConnectionId::new(ambient.random.uuid(now)),
            at: now,
            node: name,
            direction: Direction::Outbound,
            protocol: Protocol::Sftp,
            purpose: Purpose::Test,
            endpoint: Some("orders".into()),
            host: None,
            remote: None,
            local: None,
            proxy: None,
            security: Security::None,
            control: None,
            through: None,
        };
        journal.append(JournalEntry::Opened(opened)).await.unwrap();
        journal
    }

    #[tokio::test]
    async fn what_a_cut_off_command_left_goes_on_record_and_a_running_one_keeps_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let (state, ambient) = (directory.path(), ClockAndRandom::default());
        let url = format!("sqlite://{}/waybill.db", state.display());
        let (store, _) = Store::open(&StoreSettings::new(url.as_str()), ambient.id_fn()).await.unwrap();
        drop(begun(state, 1_000_001, &ambient).await);
        let running = begun(state, 1_000_002, &ambient).await;
        std::fs::create_dir(state.join("journal")).unwrap();

        // The thread of a journal that was dropped lets go of its lock when it has ended.
        for _ in 0..500 {
            ship(state, &store, &node(), &ambient).await;
            if !journal_of(state, 1_000_001).exists() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert!(!journal_of(state, 1_000_001).exists());
        assert!(journal_of(state, 1_000_002).exists() && state.join("journal").exists());
        let page = Page { after: None, limit: 10 };
        let found = store.connections(&ConnectionFilter::default(), page).await.unwrap().rows;
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].reason.as_deref(), Some(store::PROCESS_ENDED), "{found:?}");

        // The running one ends in order: nobody said that its process has ended.
        running.ship_pending(&store, ambient.clock.now()).await.unwrap();
        let page = Page { after: None, limit: 10 };
        let found = store.connections(&ConnectionFilter::default(), page).await.unwrap().rows;
        assert_eq!(found.iter().filter(|connection| connection.reason.is_none()).count(), 1, "{found:?}");
        store.close().await;
    }

    #[test]
    fn a_commands_name_is_a_nodes_name_however_long_the_nodes_is() {
        let long = NodeName::try_from("n".repeat(64)).unwrap();
        let name = command_name(&long, u32::MAX).unwrap();
        assert!(name.as_str().ends_with(".cli-4294967295") && name.as_str().len() == 64, "{name}");
        assert_eq!(command_name(&node(), 7).unwrap().as_str(), "acme.cli-7");
    }
}
