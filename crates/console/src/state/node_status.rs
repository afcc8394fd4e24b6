//! What a node tells its console that is not in the database.

use crate::state::active_problem::ActiveProblem;
use control::{Caller, Control, KeyDetail, ScanHostKeys, ScannedHost, StagedPayloads};
use model::definition::Definitions;
use model::{Error, ErrorKind, Result, Suspension, Timestamp};
use std::pin::Pin;
use std::sync::Arc;
use store::SealAlarm;

/// What this node knows that is not in the database. Asked for each page or scrape that shows it:
/// answer from memory.
pub trait NodeStatus: Send + Sync {
    /// Endpoints that have failed or are in use.
    fn endpoints(&self) -> Vec<EndpointStatus> {
        Vec::new()
    }

    /// Flows that are paused and endpoints that were set offline by a person, as this node knows it.
    fn suspensions(&self) -> Vec<Suspension> {
        Vec::new()
    }

    /// The connection journal.
    fn journal(&self) -> Option<JournalStatus> {
        None
    }

    /// The staging area.
    fn staging(&self) -> Option<StagingStatus> {
        None
    }

    /// The alarm of the audit trail, as long as it lasts.
    fn audit_alarm(&self) -> Option<SealAlarm> {
        None
    }

    /// Why no audit events are sealed, when that is no alarm.
    fn sealing_stopped(&self) -> Option<String> {
        None
    }

    /// The counters of the listen addresses, the console's own among them.
    fn listeners(&self) -> Vec<net::http::ListenerNumbers> {
        Vec::new()
    }

    /// The named keys of the definitions in force here, with their public halves. Asked on a thread that may wait: an
    /// encrypted key takes a moment the first time.
    fn keys(&self) -> Vec<KeyDetail> {
        Vec::new()
    }

    /// The operations on this gateway, for pages that change something.
    fn control(&self) -> Option<&Control> {
        None
    }

    /// What is staged, for pages that give it away.
    fn payloads(&self) -> Option<StagedPayloads> {
        None
    }

    /// The definitions in force here.
    fn definitions(&self) -> Arc<Definitions> {
        Arc::default()
    }

    /// As [`Control::scan_host_keys`], over this node's connections.
    fn scan_host_keys(
        &self,
        _: Caller,
        _request: ScanHostKeys,
    ) -> Pin<Box<dyn Future<Output = Result<ScannedHost>> + Send + '_>> {
        let error = Error::permanent(ErrorKind::Unsupported, "ask a server for its host keys");
        Box::pin(async { Err(error.advice("this console has no connections of its own")) })
    }

    /// Other reasons not to be ready, one line each.
    fn not_ready(&self) -> Vec<String> {
        Vec::new()
    }

    /// Problems of this node that the database does not know: listeners that are down, alarms of the audit
    /// trail and the like.
    fn problems(&self) -> Vec<ActiveProblem> {
        Vec::new()
    }
}

/// A node of which nothing is known beside the database.
pub(crate) struct UnknownNode;

impl NodeStatus for UnknownNode {}

/// An endpoint's health on this node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndpointStatus {
    /// The endpoint.
    pub name: String,
    /// Failures since the last success.
    pub failures: u32,
    /// Until when it is offline.
    pub offline_until: Option<Timestamp>,
    /// Attempts that are running.
    pub in_flight: usize,
}

/// The connection journal on this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JournalStatus {
    /// Bytes not yet in the database.
    pub backlog_bytes: u64,
    /// Bytes from which on the node is not ready.
    pub most_bytes: u64,
}

/// The staging area of this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StagingStatus {
    /// Bytes free on its file system.
    pub free_bytes: u64,
    /// Bytes that are to stay free: with fewer the node is not ready.
    pub min_free_bytes: u64,
}
