//! Polling one flow's source: when, and what follows from a failed poll. `accept` decides about each offer.

use crate::crash;
use crate::guard::guarded;
use crate::health::Reachability;
use crate::ingest::accept::{Unaccepted, accept};
use crate::ingest::due::{Due, Moment};
use crate::ingest::early::Early;
use crate::ingest::known::Known;
use crate::ingest::poll_error::PollError;
use crate::ingest::polled_flow::PolledFlow;
use crate::ingest::reading::{Discovered, Reading};
use crate::ingest::runs::{RunsOfFlow, begin, end};
use crate::ingest::stage::stage;
use crate::ingest::streamed::describe;
use crate::ingest::turns::Turns;
use crate::ingest::unstable::ADVICE;
use crate::ingest::vanished::take_vanished;
use futures::{StreamExt, TryStreamExt};
use model::{ErrorKind, EventKind, PeerText, Result, Retry, Timestamp};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::{FlowRunResult, NodeLease, OpenFlowRun};
use tokio::sync::Semaphore;
use transport::{Clock, Discovery, FoundOffer, Shutdown, UnstableFile};

/// Polls one flow until shutdown.
pub(crate) struct Poller {
    polled: Arc<PolledFlow>,
    /// How long the first poll waits, and with a cron expression each, so that many flows do not start at once.
    first_after: Duration,
}

/// Wait between two attempts to start a requested run while another node polls the source.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The share of each flow in the period over which the first polls of many flows are spread.
const SHARE: Duration = Duration::from_millis(10);

/// The longest time after which a flow with a cron expression begins its poll.
const CRON_SPREAD: Duration = Duration::from_secs(10);

/// The time of a flow's first poll after a start or a revision. It depends on the flow's name, and is within its
/// interval and a period that grows with the number of flows. A single flow does not wait.
fn first_after(flow: &str, every: Duration, pollers: usize) -> Duration {
    let others = u32::try_from(pollers.saturating_sub(1)).unwrap_or(u32::MAX);
    let spread = every.min(SHARE.saturating_mul(others));
    let [a, b, ..] = openssl::sha::sha256(flow.as_bytes());
    spread.mul_f64(f64::from(u16::from_be_bytes([a, b])) / 65536.0)
}

impl Poller {
    /// The poller of a flow; the argument is the number of flows.
    pub(crate) fn new(polled: PolledFlow, pollers: usize) -> Self {
        // Flows with the same cron expression are spread over a part of a minute.
        let interval = polled.poll.schedule.interval().unwrap_or(CRON_SPREAD);
        let first_after = first_after(&polled.flow.name, interval, pollers);
        Self { polled: Arc::new(polled), first_after }
    }

    /// Polls as the schedule says while this node holds the source's lease, and at once if a person requests it. After
    /// polls that fail permanently, the waits grow.
    pub(crate) async fn run(self, mut shutdown: Shutdown) {
        let polled = &self.polled;
        let clock = Arc::clone(&polled.context.services.clock);
        let mut runs = RunsOfFlow::new(polled);
        let mut due = Due::new(&polled.poll.schedule, clock.as_ref(), self.first_after);
        let mut early = Early::default();
        let mut held = Vec::new();
        loop {
            let pause = due.pause(clock.as_ref());
            let asked = tokio::select! {
                _ = shutdown.wait_for(|ended| *ended) => break,
                asked = runs.asked_for() => asked,
                () = sleep_unless_zero(clock.as_ref(), pause) => Vec::new(),
                () = early.changed(), if due.may_come_early() => {
                    due.come_early(clock.as_ref());
                    Vec::new()
                }
            };
            if asked.is_empty() && !due.pause(clock.as_ref()).is_zero() {
                // The wait for a time of day is done in parts, because the clock may be set in between.
                continue;
            }
            let watching = due.may_come_early().then_some(&mut early);
            let begun = Moment::now(clock.as_ref());
            let looks_again = asked.is_empty() && due.looks_again(clock.as_ref());
            let of = Why { asked: &asked, held: std::mem::take(&mut held), looks_again };
            let done = tokio::select! {
                // Recording and settling continue in their own tasks; everything else is cancelled.
                done = poll_if_ours(polled, of, watching) => done,
                _ = shutdown.wait_for(|ended| *ended) => break,
            };
            due.look_again(clock.as_ref(), None);
            match done {
                Done::Succeeded { hold } => {
                    if !looks_again {
                        due.polled(begun, false);
                    }
                    due.look_again(clock.as_ref(), polled.pending.look_again_in(clock.as_ref()));
                    held = hold;
                }
                Done::Failed { refused } => due.polled(begun, refused),
                Done::Skipped => due.skipped(begun),
                // A time of a cron expression is made up when there is room again.
                Done::QueueFull => due.not_ours(begun),
                Done::NotOurs if !asked.is_empty() => {
                    // The node that polls the source executes the run. If that node dies, the run is still open.
                    tokio::select! {
                        () = clock.sleep(ASK_AGAIN) => {}
                        _ = shutdown.wait_for(|ended| *ended) => break,
                    }
                    continue;
                }
                Done::NotOurs => due.not_ours(begun),
            }
            runs.are_done(&asked);
        }
        polled.unstable.forget_flow(&polled.flow.name);
        polled.claimed.forget_flow(&polled.flow.name);
        let lease = polled.context.lease.current();
        if let Err(error) = polled.context.store.release_source(&lease, &polled.source_name()).await {
            tracing::warn!(flow = %polled.flow.name, error = %error.chain(), "the source's lease was not released; it expires by itself");
        }
    }
}

/// Without other flows there is no need to yield.
async fn sleep_unless_zero(clock: &dyn Clock, pause: Duration) {
    if !pause.is_zero() {
        clock.sleep(pause).await;
    }
}

/// The result of a poll.
enum Done {
    /// Another node polls the source, or that is unknown.
    NotOurs,
    /// The endpoint is offline after failures, or the flow takes no files now.
    Skipped,
    /// A destination's queue is full.
    QueueFull,
    /// It was polled; the requested runs that go on, because the files that this poll found are looked at again soon.
    Succeeded { hold: Vec<OpenFlowRun> },
    /// The poll failed; whether permanently.
    Failed { refused: bool },
}

/// Why a poll is made.
struct Why<'a> {
    /// The runs that people requested since the last poll.
    asked: &'a [OpenFlowRun],
    /// The runs that the last poll began, and this one ends.
    held: Vec<OpenFlowRun>,
    /// Only to look at pending files again.
    looks_again: bool,
}

/// A requested run waits no longer than this for the poll that looks at its new files again.
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// Polls once, if this node may do so, and for the requested runs with it.
async fn poll_if_ours(polled: &Arc<PolledFlow>, why: Why<'_>, early: Option<&mut Early>) -> Done {
    let Why { asked, held, looks_again } = why;
    let context = &polled.context;
    polled.unrecorded.wait().await;
    let lease = context.lease.current();
    let preferred = polled.poll.preferred_node.as_ref().map(|node| (node, polled.flow_since()));
    match context.store.acquire_source(&lease, &polled.source_name(), preferred, context.now()).await {
        Ok(true) => polled.tell_of_preferred_node().await,
        Ok(false) => {
            // Another node polls it, and reports the count.
            polled.unstable.forget_flow(&polled.flow.name);
            polled.pending.clear();
            polled.claimed.forget_flow(&polled.flow.name);
            polled.is_polled_elsewhere();
            end(polled, held, &lease, &taken_over(polled)).await;
            return Done::NotOurs;
        }
        Err(error) => {
            tracing::warn!(flow = %polled.flow.name, error = %error.chain(), "the source's lease could not be requested");
            end(polled, held, &lease, &taken_over(polled)).await;
            return Done::NotOurs;
        }
    }
    let begun = begin(polled, asked, &lease).await;
    if !begun.is_empty() {
        crash::point("run.begun");
    }
    if let Some(until) = context.health.offline_until(&polled.poll.endpoint, context.now()) {
        let runs = [held, begun].concat();
        end(polled, runs, &lease, &FlowRunResult::EndpointOffline { until }).await;
        return Done::Skipped;
    }
    if asked.is_empty()
        && held.is_empty()
        && let Some(full) = context.queues.full(&polled.flow)
    {
        tracing::debug!(flow = %polled.flow.name, why = full.words(), "the source is not polled");
        return Done::QueueFull;
    }
    match held.is_empty() {
        true => drop(polled.tally.take()),
        false => polled.tally.forget_skipped(),
    }
    let poll = async { Ok(poll_once(polled, &lease, looks_again, early).await) };
    let outcome = guarded("poll a source", poll).await;
    polled.forget_made();
    let (error, reachability) = match outcome.unwrap_or_else(|error| Err(PollError::Source(error))) {
        Ok(()) => (None, Reachability::Answered),
        Err(PollError::Source(error)) => {
            let reachability = Reachability::of(&error);
            (Some(error), reachability)
        }
        Err(PollError::Node(error)) => (Some(error), Reachability::Unknown),
    };
    if let Some(error) = &error {
        tracing::warn!(flow = %polled.flow.name, endpoint = %polled.poll.endpoint, error = %error.chain(), "a poll failed");
        polled.failed(error).await;
    } else {
        polled.succeeded().await;
        polled.room.report(&polled.context, &polled.flow.name, &polled.poll.endpoint).await;
        polled.claimed.report(&polled.context, &polled.flow.name).await;
    }
    context.observe(&polled.poll.endpoint, reachability, error.as_ref()).await;
    let soon = polled.pending.look_again_in(context.services.clock.as_ref());
    let goes_on = error.is_none() && soon.is_some_and(|soon| soon <= LONGEST_HOLD);
    let (hold, ended) = match goes_on {
        true => (begun, held),
        false => (Vec::new(), [held, begun].concat()),
    };
    // What was taken by this poll counts for the runs that go on.
    let report = if hold.is_empty() { polled.tally.take() } else { polled.tally.report() };
    let result = match &error {
        None => FlowRunResult::Polled(report),
        Some(error) => FlowRunResult::Failed { error: in_words(error), report },
    };
    end(polled, ended, &lease, &result).await;
    match error {
        None => Done::Succeeded { hold },
        Some(error) => Done::Failed { refused: error.retry() == Retry::Permanent },
    }
}

fn in_words(error: &model::Error) -> String {
    PeerText::from(error.chain().as_str()).as_str().to_owned()
}

/// The result of a run whose source this node may not poll any more.
fn taken_over(polled: &PolledFlow) -> FlowRunResult {
    let error = "another node polls the source now; ask for another run".to_owned();
    FlowRunResult::Failed { error, report: polled.tally.take() }
}

async fn poll_once(
    polled: &Arc<PolledFlow>,
    lease: &NodeLease,
    looks_again: bool,
    early: Option<&mut Early>,
) -> Result<(), PollError> {
    polled.forget_missed();
    polled.forget_made();
    polled.room.begin_poll();
    let (endpoint, transport) = polled.context.endpoint(&polled.poll.endpoint).map_err(PollError::Source)?;
    let streams = transport.poll_effects(&polled.poll).streams;
    let source = transport
        .source(endpoint, Arc::clone(&polled.flow), polled.context.services.clone())
        .map_err(PollError::Source)?;
    if let Some(early) = early {
        // Before the listing: what arrives from now on is reported, or listed.
        early.watch(&polled.flow.name, source.as_ref()).await;
    }
    let known = Arc::new(Known {
        store: polled.context.store.clone(),
        flow: polled.flow.name.clone(),
        endpoint: polled.poll.endpoint.clone(),
        listing: polled.context.now(),
        unstable: Arc::clone(&polled.unstable),
        claimed: Arc::clone(&polled.claimed),
        tally: Arc::clone(&polled.tally),
        room: (!streams && !polled.flow.ordered)
            .then(|| polled.staging_room.of_poll(&polled.room, source.is_local())),
        failed: AtomicBool::new(false),
    });
    let trouble = |error| match known.failed.load(Ordering::SeqCst) {
        true => PollError::Node(error),
        false => PollError::Source(error),
    };
    let pending = Arc::clone(&polled.pending);
    let discovery = Discovery { known: Arc::clone(&known) as _, pending, looks_again };
    let offers = source.discover(discovery).await.map_err(trouble)?;
    // The listing succeeded: a missing file does not mean that the server is down.
    take_vanished(polled, &source, lease).await?;
    // The offers before an error are valid: they are staged before the poll fails.
    let broken = Arc::new(Mutex::new(None));
    let offers = offers.scan(Arc::clone(&broken), |broken, item| {
        std::future::ready(match item {
            Ok(found) => Some(found),
            Err(error) => {
                *broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                None
            }
        })
    });
    let most = polled.context.settings.stagings_at_once;
    // Offers of an ordered flow are recorded in their order; otherwise the first that is staged is recorded first.
    // Staging runs ahead in both cases. Each offer is one future from staging to settling, because all that may hold a
    // connection must be polled together: a stage that nobody polls would keep the connection that settling waits for.
    let stagings = Semaphore::new(most);
    let mut turns = polled.flow.ordered.then(Turns::default);
    let taken = offers.map(|offer| {
        let (polled, source, stagings) = (Arc::clone(polled), Arc::clone(&source), &stagings);
        let found = Discovered { offer, at: polled.context.now(), lease: lease.clone() };
        let (known_at, turn) = (known.listing, turns.as_mut().map(Turns::next));
        async move {
            let unaccepted = Unaccepted::new(&polled, &source, &found.offer);
            let read = {
                // The semaphore is never closed.
                let _permit = stagings.acquire().await;
                match streams {
                    true => describe(source.as_ref(), &found.offer),
                    false => stage(&polled, source.as_ref(), &found.offer).await,
                }
            };
            count_if_missed(&polled, &found.offer, &read, known_at);
            let Some(turn) = turn else { return accept(polled, source, found, read, unaccepted).await };
            // An earlier one has failed, and the poll with it, or waits for room.
            let Some(turn) = turn.come().await else {
                polled.discard_unrecorded(&found.offer, read).await;
                return Ok(());
            };
            let waits = read.as_ref().is_ok_and(Reading::waits_for_room);
            accept(polled, source, found, read, unaccepted).await?;
            if !waits {
                turn.pass();
            }
            Ok(())
        }
    });
    taken.buffer_unordered(2 * most).try_for_each(|()| std::future::ready(Ok(()))).await?;
    warn_of_unstable(polled, known.listing).await;
    let broken = broken.lock().unwrap_or_else(PoisonError::into_inner).take();
    broken.map_or(Ok(()), |error| Err(trouble(error)))
}

/// Counts an offer that no longer existed or had changed when it was opened. If files are read when they are first
/// seen, no second listing shows whose time changes.
fn count_if_missed(polled: &PolledFlow, offer: &FoundOffer, read: &Result<Reading>, poll: Timestamp) {
    let is_missed = match read {
        Ok(Reading::Changed(_)) => true,
        Ok(Reading::Whole(_) | Reading::Doubtful(_) | Reading::NoRoom(_) | Reading::Streamed(..)) => false,
        Err(error) => error.kind() == ErrorKind::NotFound,
    };
    if is_missed {
        polled.unstable.count_missed(&polled.flow.name, &polled.poll.endpoint, offer, poll);
    }
}

/// Warns, once per file, about files that have been unstable for a long time.
async fn warn_of_unstable(polled: &PolledFlow, poll: Timestamp) {
    for withheld in polled.unstable.end_poll(&polled.flow.name, poll) {
        let UnstableFile { path, size, was, is } = &withheld.file;
        tracing::warn!(flow = %polled.flow.name, %path, size, %was, %is, advice = ADVICE, "a file is not accepted yet: its modification time is different each time it is listed");
        let event = polled.event(EventKind::OfferUnstable).detail("path", path.to_text());
        let event = event.detail("was", was.to_string()).detail("is", is.to_string());
        let event = match size {
            Some(size) => event.detail("bytes", *size),
            None => event,
        };
        polled
            .context
            .record_event(event.detail("since", withheld.since.to_string()).detail("advice", ADVICE))
            .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_polls_are_spread_over_a_moment() {
        let minute = Duration::from_secs(60);
        assert_eq!(first_after("orders", minute, 1), Duration::ZERO);
        let many: Vec<_> = (0..1000).map(|n| first_after(&format!("flow-{n}"), minute, 1000)).collect();
        assert!(many.iter().all(|wait| *wait < Duration::from_secs(10)));
        for second in 0..10 {
            let in_it = many.iter().filter(|wait| wait.as_secs() == second).count();
            assert!((50..200).contains(&in_it), "{in_it} in second {second}");
        }
        assert_eq!(many[7], first_after("flow-7", minute, 1000), "the same at each start");
        let often = Duration::from_secs(2);
        assert!((0..1000).all(|n| first_after(&format!("flow-{n}"), often, 1000) < often));
    }
}
