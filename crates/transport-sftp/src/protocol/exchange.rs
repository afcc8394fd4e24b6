//! Requests going out over the channel, and answers coming in.
//!
//! Two tasks serve a client: one writes requests in order, one cuts answers out of the channel and
//! hands each to whoever waits for it. Handing over never waits, so a slow reader cannot hold up the
//! others; what can be in memory is bounded by what was asked for.

use super::fault::Fault;
use super::packet::{self, Assembler, Fields, Request, Response};
use bytes::Bytes;
use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, Sleep};

/// Requests waiting to be written.
const QUEUE: usize = 128;

/// Bytes of stderr kept for an error.
const WORDS_LIMIT: usize = 1024;

type Reply = oneshot::Sender<Response>;

/// What both tasks and all requests share.
pub(crate) struct Shared {
    waiting: Mutex<Waiting>,
    /// Whether the connection is lost, for the task that writes.
    ended: watch::Sender<bool>,
    began: Instant,
    /// Milliseconds after `began` when the server last sent anything.
    heard: AtomicU64,
}

struct Waiting {
    replies: HashMap<u32, Reply>,
    /// What ended the connection.
    lost: Option<Arc<str>>,
    /// For how long nothing came, where that is what ended it.
    silent: Option<Duration>,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while it holds the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends everything that waits. The first reason stays.
    pub(crate) fn lose(&self, why: &str) {
        let mut waiting = self.waiting();
        if waiting.lost.is_none() {
            waiting.lost = Some(why.into());
        }
        waiting.replies.clear();
        drop(waiting);
        self.ended.send_replace(true);
    }

    /// Gives the connection up, because nothing came for so long: all requests that wait end with that.
    pub(crate) fn silence(&self, timeout: Duration) -> Fault {
        {
            let mut waiting = self.waiting();
            if waiting.lost.is_none() {
                waiting.silent = Some(timeout);
            }
        }
        self.lose(&format!("no answer for {:.1} s", timeout.as_secs_f64()));
        Fault::Silent(timeout)
    }

    /// Why a request that was sent has no answer.
    fn unanswered(&self) -> Fault {
        let waiting = self.waiting();
        match waiting.silent {
            Some(timeout) => Fault::Silent(timeout),
            None => Fault::Lost(waiting.lost.clone().unwrap_or_else(|| "no answer".into())),
        }
    }

    /// What ended the connection, if anything did.
    pub(crate) fn lost(&self) -> Option<Arc<str>> {
        self.waiting().lost.clone()
    }

    /// Expects the answer to a request about to be sent.
    pub(crate) fn expect(self: &Arc<Self>, id: u32, timeout: Option<Duration>) -> Result<Awaited, Fault> {
        let (sender, reply) = oneshot::channel();
        {
            let mut waiting = self.waiting();
            if let Some(why) = &waiting.lost {
                return Err(Fault::Lost(Arc::clone(why)));
            }
            waiting.replies.insert(id, sender);
        }
        Ok(Awaited { reply, shared: Arc::clone(self), timeout, since: Instant::now(), timer: None })
    }

    fn hear(&self) {
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard.store(millis, Ordering::Relaxed);
    }

    fn last_heard(&self) -> Instant {
        self.began + Duration::from_millis(self.heard.load(Ordering::Relaxed))
    }
}

/// Starts both tasks on a channel. Requests go into the sender; when the last one is dropped, the
/// channel is closed. `ended` tells, when the channel is gone, what the SSH layer knows about why.
pub(crate) fn start(
    channel: Channel<Msg>,
    ended: impl Fn() -> String + Send + 'static,
) -> (Arc<Shared>, mpsc::Sender<Bytes>) {
    let (incoming, outgoing) = channel.split();
    let (sender, requests) = mpsc::channel(QUEUE);
    let shared = Arc::new(Shared {
        waiting: Mutex::new(Waiting { replies: HashMap::new(), lost: None, silent: None }),
        ended: watch::Sender::new(false),
        began: Instant::now(),
        heard: AtomicU64::new(0),
    });
    tokio::spawn(write_requests(outgoing, requests, Arc::clone(&shared)));
    tokio::spawn(read_answers(incoming, Arc::clone(&shared), sender.downgrade(), ended));
    (shared, sender)
}

/// Number of requests whose answer nobody wants. Ordinary ones start at 1 and never come back to it.
pub(crate) const UNAWAITED: u32 = 0;

pub(crate) fn close_unawaited(outgoing: &mpsc::Sender<Bytes>, handle: &[u8]) {
    let request = Request::new(packet::CLOSE, UNAWAITED, handle.len() + 4).string(handle);
    // With a full queue the handle stays open at the server until the connection ends.
    let _ = outgoing.try_send(request.finish());
}

/// An answer on its way.
pub(crate) struct Awaited {
    reply: oneshot::Receiver<Response>,
    shared: Arc<Shared>,
    timeout: Option<Duration>,
    since: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Future for Awaited {
    type Output = Result<Response, Fault>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match Pin::new(&mut self.reply).poll(cx) {
            Poll::Ready(Ok(answer)) => return Poll::Ready(Ok(answer)),
            Poll::Ready(Err(_)) => return Poll::Ready(Err(self.shared.unanswered())),
            Poll::Pending => {}
        }
        let Some(timeout) = self.timeout else { return Poll::Pending };
        loop {
            // A server answers in order: while anything comes, this answer is on its way too.
            let deadline = self.since.max(self.shared.last_heard()) + timeout;
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if timer.deadline() < deadline {
                timer.as_mut().reset(deadline);
            }
            ready!(timer.as_mut().poll(cx));
            if self.since.max(self.shared.last_heard()) + timeout <= Instant::now() {
                return Poll::Ready(Err(self.shared.silence(timeout)));
            }
        }
    }
}

async fn write_requests(
    channel: ChannelWriteHalf<Msg>,
    mut requests: mpsc::Receiver<Bytes>,
    shared: Arc<Shared>,
) {
    let mut ended = shared.ended.subscribe();
    while let Some(request) = requests.recv().await {
        let sent = tokio::select! {
            sent = channel.data_bytes(request) => sent,
            // The SSH layer would wait for room in a window that nobody opens any more.
            _ = ended.wait_for(|ended| *ended) => return,
        };
        if sent.is_err() {
            shared.lose("the connection is closed");
            return;
        }
    }
    // Nobody is left to ask for anything.
    let _ = channel.close().await;
}

async fn read_answers(
    mut channel: ChannelReadHalf,
    shared: Arc<Shared>,
    outgoing: mpsc::WeakSender<Bytes>,
    ended: impl Fn() -> String + Send + 'static,
) {
    let mut assembler = Assembler::default();
    let mut words = Vec::new();
    let why = 'ended: loop {
        match channel.wait().await {
            Some(ChannelMsg::Data { data }) => {
                shared.hear();
                assembler.push(data);
                loop {
                    match assembler.next() {
                        Ok(Some(answer)) => hand_over(&shared, answer, &outgoing),
                        Ok(None) => break,
                        Err(malformed) => break 'ended malformed.to_string(),
                    }
                }
            }
            Some(ChannelMsg::ExtendedData { data, .. }) => {
                let room = WORDS_LIMIT.saturating_sub(words.len());
                words.extend_from_slice(&data[..data.len().min(room)]);
            }
            Some(ChannelMsg::Eof) => break last_words(&mut channel).await,
            Some(ChannelMsg::Close) => break CLOSED.into(),
            Some(ChannelMsg::ExitStatus { exit_status }) if exit_status != 0 => {
                break ended_with(exit_status);
            }
            Some(_) => {}
            None => break ended(),
        }
    };
    let why = if words.is_empty() { why } else { format!("{why}: {}", model::PeerText::new(&words)) };
    shared.lose(&why);
}

const CLOSED: &str = "the server closed the SFTP session";

fn ended_with(status: u32) -> String {
    format!("the server's SFTP program ended with status {status}")
}

/// Why the server's program ended is said after its last output, if at all.
async fn last_words(channel: &mut ChannelReadHalf) -> String {
    let status = async {
        loop {
            match channel.wait().await {
                Some(ChannelMsg::ExitStatus { exit_status }) if exit_status != 0 => {
                    break ended_with(exit_status);
                }
                Some(ChannelMsg::Close) | None => break CLOSED.into(),
                Some(_) => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_millis(500), status).await.unwrap_or_else(|_| CLOSED.into())
}

fn hand_over(shared: &Shared, answer: Response, outgoing: &mpsc::WeakSender<Bytes>) {
    let Some(reply) = shared.waiting().replies.remove(&answer.id) else {
        // The answer to an unawaited close, or one that nobody asked for: it is dropped here and now.
        return;
    };
    // Whoever asked may have gone: then what was opened for him is closed again.
    if let Err(answer) = reply.send(answer)
        && answer.kind == packet::HANDLE
        && let Some(outgoing) = outgoing.upgrade()
        && let Ok(handle) = Fields::new(answer.flat()).string()
    {
        close_unawaited(&outgoing, &handle);
    }
}
