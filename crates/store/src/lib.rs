//! The database: queries, migrations, the writer, leases, audit, seals, search.
//!
//! Writes are **commands**: plain values with a change and its events. They wait in a bounded queue. A writer
//! takes all waiting commands, applies each one under its own savepoint, commits once, and only then answers.
//! No open transaction leaves this crate. It reads no clock: times and ids come from the caller.
//!
//! Every query is written once and runs on SQLite and PostgreSQL (`on!` in `either.rs`); only claiming,
//! notification and partitions differ.
//!
//! Modules: `writer` (grouping, lost commits), `lease` and `fence` (which node may write), `offer`, `delivery`,
//! `intake`, `payload` (a transfer from beginning to end), `action` (what a person does to it).

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod action;
mod audit;
mod certificate_exchange;
mod certificate_warnings;
mod claims_left;
mod command;
mod delivery;
mod either;
mod event;
mod expectations;
mod failing_endpoint;
mod failing_poll;
mod failing_polls;
mod fault;
mod fence;
mod flow_rows;
mod flow_runs;
mod instance;
mod intake;
mod journal;
mod known_hosts;
mod lease;
mod lost_commit;
mod missing_files;
mod offer;
mod offline_endpoints;
mod open;
mod orphaned_claims;
mod partial_messages;
mod payload;
mod revisions;
mod row;
mod seal;
mod search;
mod secrets;
mod settings;
mod slow_disk;
mod suspensions;
mod target;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod text_index;
mod transaction;
mod tx;
mod users;
mod verify;
mod waiting_for_room;
mod wake;
mod whole_file;
mod without_room;
mod writer;

pub use action::{Act, Acted, DestinationInForce, FlowInForce, Requeued, Resubmitted, Retried, child_id};
pub use audit::{MonthKept, RemovedMonth, event_hash};
pub use certificate_exchange::{
    DecideProposal, ExchangeTaken, NewAnnouncement, OpenAnnouncement, SendAnnouncement, TakeExchange,
};
pub use claims_left::ClaimsLeft;
pub use delivery::{
    AwaitedDelivery, ClaimFilter, Claimed, ClaimedSteps, ClosedDestination, Done, EvidenceOf,
    ExpiredDelivery, FAILURE, FailedSteps, Failure, FailureDestination, FailureRoute, Finish, Finished,
    MadePayload, NewDelivery, NewEvidence, NewTransfer, Overdue, PoolRooms, ReceiptJudgedBy, ReceiptRecord,
    ReceiptSays, Resolved, StepsEnd, StepsEnded, StreamedContent, evidence_digest, evidence_pieces,
};
pub use either::Backend;
pub use expectations::{JudgedDay, LastJudged};
pub use failing_endpoint::FailingEndpoint;
pub use failing_poll::FailingPoll;
pub use failing_polls::FailedPoll;
pub use fence::Fenced;
pub use flow_runs::{FlowRun, FlowRunResult, NewFlowRun, OpenFlowRun};
pub use instance::load_or_create_instance;
pub use intake::{
    AnswerFinished, AnswerGiven, AnswerState, Answered, AnsweredBy, IntakeBegun, IntakeCommit,
    IntakeCommitted, NewAnswerMessage, Reply,
};
pub use journal::{Journal, JournalEntry, JournalSettings, JournalStats, PROCESS_ENDED, connection_event_id};
pub use known_hosts::{ChangeKnownHosts, KnownHostState};
pub use lease::{Acquired, FLOW_SOURCE, NodeLease, Renewal};
pub use missing_files::MissingFiles;
pub use offer::{
    ArchiveRecord, ArchiveSite, EarlierTries, KnownContent, KnownOffer, OfferFailed, OfferToSettle,
    RecordOffer, Recorded,
};
pub use offline_endpoints::WentOffline;
pub use open::Store;
pub use partial_messages::{
    AgedPartials, ContinuePartial, NewPartial, PartialBegun, PartialContinued, PartialMessage,
    PartialRecorded, PartialSegment, PartialTaken, RecordPartial,
};
pub use payload::PayloadRows;
pub use revisions::{Applied, DefinitionState, NewRevision, NodeRevision, Revision};
pub use seal::{
    AlarmCause, Bound, EVENTS as SEAL_EVENTS, MarkFile, NotedKey, NotedSeal, Seal, SealAlarm, SealHistory,
    SealKey, SealLag, SealMark, SealState, Sealed, Sealer, SealingBlocked, Timestamped, TrustedKeys,
};
pub use search::{
    AttachmentView, AttemptView, ConnectionFilter, ConnectionView, Cursor, DeliveryView, EventFilter,
    EventGap, EventView, EvidencePayload, EvidenceTransfer, EvidenceView, ExportedSeal, FailingDelivery,
    FailingSteps, FlowDay, HourCount, KeptEvidence, KeptMdn, Listing, MadeView, OfferView, Overview, Page,
    ProcessingView, ReceivedExchange, RefusedMessages, SealedEvents, Selection, SentExchange, SourceFiles,
    StoreMetrics, TROUBLES_OF_PARTNERS, TransferFilter, TransferView, UnreadableRow, Waybill, WhichMdn,
};
pub use secrets::{EncryptedSecret, KeyCheck, MasterKey, MasterKeys, NewSecrets, SecretPlace};
pub use settings::{IdGenerator, StoreSettings};
pub use slow_disk::{SlowDisk, open_regular};
pub use suspensions::{EndSuspension, SuspensionChange};
pub use text_index::TextIndex;
pub use users::{NewUser, Session, User, UserChange};
pub use verify::{CopiedSeal, Finding, RowOptions, RowReport, VerifyOptions, VerifyReport};
pub use waiting_for_room::WaitingForRoom;
pub use wake::DecisionWakeups;
pub use whole_file::place as place_file;
pub use without_room::FilesWithoutRoom;
