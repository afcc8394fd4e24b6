//! The control connection: one command and its answers at a time.

use super::Connection;
use crate::error::Fault;
use crate::protocol::reply::{Replies, Reply};
use net::Stream;
use std::time::Duration;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::sync::MutexGuard;

/// The stream of a control connection.
pub(super) struct Control {
    stream: BufReader<Stream>,
    replies: Replies,
}

impl Control {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream: BufReader::new(stream), replies: Replies::default() }
    }

    /// The stream, for TLS. What a server, or somebody on the way, has sent before TLS began must not be taken for
    /// answers under it.
    ///
    /// # Errors
    /// `Malformed`: something was sent.
    pub(super) fn bare(self) -> Result<Stream, Fault> {
        if self.stream.buffer().is_empty() {
            Ok(self.stream.into_inner())
        } else {
            Err(Fault::Malformed("the server sent more than its answer before TLS began", Vec::new()))
        }
    }

    /// Sends a command. It may hold a password, so it is nowhere logged.
    pub(super) async fn send(&mut self, verb: &str, argument: &[u8]) -> Result<(), Fault> {
        let mut line = Vec::with_capacity(verb.len() + argument.len() + 3);
        line.extend_from_slice(verb.as_bytes());
        if !argument.is_empty() {
            line.push(b' ');
            line.extend_from_slice(argument);
        }
        line.extend_from_slice(b"\r\n");
        let sent = async {
            self.stream.write_all(&line).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|error| Fault::Lost(error.to_string()))
    }

    /// Reads an answer. Where the wait is given up, the next one goes on.
    pub(super) async fn read(&mut self) -> Result<Reply, Fault> {
        Ok(self.replies.next(&mut self.stream).await?)
    }
}

/// Waits no longer than the endpoint's timeout.
pub(super) async fn within<T>(
    timeout: Option<Duration>,
    act: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    match timeout {
        None => act.await,
        Some(timeout) => tokio::time::timeout(timeout, act).await.unwrap_or(Err(Fault::Silent(timeout))),
    }
}

/// A command under way. If it is dropped before its answer was read, the connection is lost: the answer would be taken
/// for that of the next command.
pub(super) struct Exchange<'a> {
    connection: &'a Connection,
    control: MutexGuard<'a, Option<Control>>,
    is_over: bool,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(connection: &'a Connection, control: MutexGuard<'a, Option<Control>>) -> Self {
        Self { connection, control, is_over: false }
    }

    fn timeout(&self) -> Option<Duration> {
        self.connection.settings.connecting.timeout
    }

    pub(super) async fn send(&mut self, verb: &str, argument: &[u8]) -> Result<(), Fault> {
        let timeout = self.timeout();
        let sent = match self.control.as_mut() {
            Some(control) => within(timeout, control.send(verb, argument)).await,
            None => Err(Fault::Lost("the connection is closed".to_owned())),
        };
        self.checked(sent)
    }

    /// Reads an answer, within the endpoint's timeout.
    pub(super) async fn reply(&mut self) -> Result<Reply, Fault> {
        let timeout = self.timeout();
        let read = match self.control.as_mut() {
            Some(control) => within(timeout, control.read()).await,
            None => Err(Fault::Lost("the connection is closed".to_owned())),
        };
        self.checked(read)
    }

    /// The answer was the last one.
    pub(super) fn over(mut self, reply: &Reply) {
        self.answered(reply);
    }

    /// The same, where the exchange is borrowed.
    pub(super) fn answered(&mut self, reply: &Reply) {
        self.is_over = true;
        if reply.code == 421 {
            self.lose("the server closes the connection (421)");
        }
    }

    /// A further answer follows, which another exchange reads.
    pub(super) fn goes_on(mut self) {
        self.is_over = true;
    }

    fn checked<T>(&mut self, result: Result<T, Fault>) -> Result<T, Fault> {
        if let Err(fault) = &result {
            let words = match fault {
                Fault::Lost(why) => why.clone(),
                Fault::Silent(waited) => format!("no answer for {:.1} s", waited.as_secs_f64()),
                Fault::Malformed(why, _) => (*why).to_owned(),
                Fault::Refused(_) | Fault::Unsendable(_) | Fault::Data(_) | Fault::Endless(_) => {
                    "the connection failed".to_owned()
                }
            };
            self.lose(&words);
        }
        result
    }

    pub(super) fn lose(&mut self, why: &str) {
        self.is_over = true;
        // The reason first: with the stream goes the record.
        self.connection.note_lost(why);
        *self.control = None;
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.lose("left before the server had answered");
        }
    }
}
