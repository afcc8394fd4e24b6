//! Signs of life on the control connection while a transfer runs: else firewalls and servers take it for idle and end
//! it, and the transfer's result is lost with it.

use super::Connection;
use crate::protocol::reply::Reply;
use net::PoolLease;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Sends NOOP from time to time, from its start to its end. It reads no answers: some servers answer at once, others after
/// the transfer.
pub(super) struct SignsOfLife {
    stop: oneshot::Sender<()>,
    task: JoinHandle<u32>,
}

impl SignsOfLife {
    /// Starts, if the endpoint asks for it.
    pub(super) fn start(lease: &PoolLease<Connection>) -> Option<Self> {
        let every = lease.settings.keepalive?;
        let (stop, mut stopped) = oneshot::channel();
        let lease = lease.clone();
        let task = tokio::spawn(async move {
            let mut sent = 0;
            while tokio::time::timeout(every, &mut stopped).await.is_err() {
                // The transfer goes on without the control connection; how it ended is found out by looking.
                let Ok(mut exchange) = lease.exchange().await else { break };
                if exchange.send("NOOP", b"").await.is_err() {
                    break;
                }
                exchange.goes_on();
                sent += 1;
            }
            sent
        });
        Some(Self { stop, task })
    }

    /// Ends, and tells how many answers the server owes.
    pub(super) async fn end(self) -> u32 {
        drop(self.stop);
        self.task.await.unwrap_or_default()
    }
}

/// The transfer's own answer among those to NOOP: these have code 200, or the codes of a server that does not know
/// the command or is busy with the transfer.
#[derive(Default)]
pub(super) struct LastReply {
    /// Says how the transfer ended.
    known: Option<Reply>,
    /// May be an answer to NOOP.
    other: Option<Reply>,
}

impl LastReply {
    pub(super) fn add(&mut self, reply: Reply) {
        let is_other = matches!(reply.code, 200 | 500..=504) || reply.is_preliminary();
        let is_worse = |known: &Reply| known.is_done() && !reply.is_done();
        if is_other {
            self.other.get_or_insert(reply);
        } else if self.known.as_ref().is_none_or(is_worse) {
            self.known = Some(reply);
        }
    }

    /// Whether the result of the transfer is known.
    pub(super) fn is_known(&self) -> bool {
        self.known.is_some()
    }

    pub(super) fn reply(self) -> Option<Reply> {
        self.known.or(self.other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(codes: &[u16]) -> u16 {
        let mut last = LastReply::default();
        for code in codes {
            last.add(Reply { code: *code, lines: vec![Vec::new()] });
        }
        last.reply().unwrap().code
    }

    #[test]
    fn the_transfers_answer_is_found_among_those_to_noop() {
        for (codes, code) in [
            (&[226][..], 226),
            (&[200, 200, 226], 226),
            (&[226, 200, 200], 226),
            (&[500, 226], 226),
            (&[200, 552], 552),
            (&[552, 200], 552),
            // A NOOP is answered by 250, and the transfer failed.
            (&[250, 451], 451),
            (&[451, 250], 451),
            (&[200], 200),
        ] {
            assert_eq!(last(codes), code, "{codes:?}");
        }
    }
}
