//! Bytes of a message that come again: its sender goes on before the first byte that is missing, and what it repeats is
//! compared with what is held (draft-harding-as2-restart-06).

use super::{Arriving, GoesOn, goes_on_elsewhere, stalled, too_slow};
use bytes::Bytes;
use model::{Error, ErrorKind, Result};
use std::time::Duration;
use tokio::time::Instant;
use transport::{KeptState, PartialBytes};

/// Whether the bytes that come again are those that are held.
pub(crate) enum Compared {
    /// They are: the message goes on behind them.
    Same(Box<dyn PartialBytes>),
    /// They are not: it is another message.
    Other,
    /// The connection broke or was too slow, or somebody else has taken the message over. What is held stays; how much it is, is
    /// put on record once the bytes are dropped ([`PartialBytes::broke_off`]).
    BrokeOff(Error),
}

impl Arriving {
    /// Compares the bytes that come again with those that are held. The message is given up as in [`Arriving::pump`]: when
    /// somebody else takes it over, and where it is too slow while `crowded` says that others wait for its place.
    ///
    /// # Errors
    /// Local errors.
    pub(crate) async fn compare(
        &mut self,
        mut bytes: Box<dyn PartialBytes>,
        state: &mut KeptState,
        on: GoesOn,
        crowded: impl Fn() -> bool,
    ) -> Result<Compared> {
        let begun = *self.begun.get_or_insert_with(Instant::now);
        let mut at = on.first;
        while at < on.held {
            let again = match self.next_again(state, begun, on, at, &crowded).await {
                Ok(again) => again,
                Err(error) => {
                    bytes.broke_off();
                    return Ok(Compared::BrokeOff(error));
                }
            };
            let count = again.len() as u64;
            let compared = tokio::task::spawn_blocking(move || {
                let is_same = is_held(&*bytes, &again, at);
                (bytes, is_same)
            });
            let is_same;
            (bytes, is_same) = compared.await.map_err(|error| {
                Error::transient(ErrorKind::Internal, "compare bytes of a message").caused_by(error)
            })?;
            match is_same {
                Ok(true) => at += count,
                Ok(false) => return Ok(Compared::Other),
                // It was taken over meanwhile.
                Err(error) if error.kind() == ErrorKind::Throttled => {
                    bytes.broke_off();
                    return Ok(Compared::BrokeOff(error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Compared::Same(bytes))
    }

    /// The next bytes of those that come again, from the byte `at` on.
    ///
    /// # Errors
    /// The connection broke or was too slow, or somebody else has taken the message over.
    async fn next_again(
        &mut self,
        state: &mut KeptState,
        begun: Instant,
        on: GoesOn,
        at: u64,
        crowded: &impl Fn() -> bool,
    ) -> Result<Bytes> {
        let next = tokio::select! {
            biased;
            () = state.taken_over() => Err(goes_on_elsewhere()),
            next = self.next() => next,
            error = stalled(crowded, begun, at - on.first) => Err(error),
        };
        let Some(mut piece) = next? else {
            return Err(
                Error::transient(ErrorKind::Unreachable, "receive the whole message").with("received", at)
            );
        };
        let left = usize::try_from(on.held - at).unwrap_or(usize::MAX);
        let again = piece.split_to(left.min(piece.len()));
        self.put_back(piece);
        let received = at - on.first + again.len() as u64;
        match too_slow(begun.elapsed(), Duration::ZERO, received).filter(|_| crowded()) {
            Some(slow) => Err(slow),
            None => Ok(again),
        }
    }
}

/// Whether these bytes are held at an offset. Blocks.
fn is_held(bytes: &dyn PartialBytes, again: &[u8], at: u64) -> Result<bool> {
    let mut held = vec![0; again.len()];
    let mut read = 0;
    while read < held.len() {
        match bytes.read_at(&mut held[read..], at + read as u64)? {
            0 => return Ok(false),
            count => read += count,
        }
    }
    Ok(held == again)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streaming::{IN_FLIGHT, PATIENT, STALLED, stream_error};
    use futures::StreamExt as _;
    use net::http::Body;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio::sync::{mpsc, watch};

    const HELD: &[u8] = b"held";
    /// All but the first byte comes again.
    const ON: GoesOn = GoesOn { holder: 7, first: 1, held: 4 };

    /// What is held, and whether the connection broke.
    #[derive(Clone, Default)]
    struct Held(Arc<AtomicBool>);

    impl Held {
        fn broke(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }
    }

    impl PartialBytes for Held {
        fn length(&self) -> u64 {
            HELD.len() as u64
        }

        fn read_at(&self, into: &mut [u8], offset: u64) -> Result<usize> {
            let rest = &HELD[usize::try_from(offset).unwrap().min(HELD.len())..];
            let count = rest.len().min(into.len());
            into[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }

        fn append(&mut self, _: &[u8]) -> Result<()> {
            unreachable!("what comes again is not kept again")
        }

        fn finish(&mut self) {
            unreachable!("it is not whole")
        }

        fn broke_off(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// A body of these pieces, which then ends, or of which nothing more comes.
    fn arriving(pieces: &'static [&'static [u8]], ends: bool) -> Arriving {
        let pieces = futures::stream::iter(pieces).map(|piece| Ok(Bytes::from_static(piece)));
        let body = match ends {
            true => Body::stream(pieces, None),
            false => Body::stream(pieces.chain(futures::stream::pending()), None),
        };
        Arriving::new(body, false)
    }

    /// A message that is kept, and what takes it over.
    fn state() -> (watch::Sender<bool>, KeptState) {
        let (stop, taken_over) = watch::channel(false);
        let (_, ended) = watch::channel(false);
        (stop, KeptState::new(taken_over, ended))
    }

    #[tokio::test]
    async fn what_comes_again_is_compared_and_what_comes_behind_it_is_still_to_be_read() {
        let (_stop, mut state) = state();
        let cases: [(&'static [&'static [u8]], bool); 2] =
            [(&[b"e", b"ld and"], true), (&[b"e", b"xd and"], false)];
        for (pieces, is_same) in cases {
            let (held, mut arriving) = (Held::default(), arriving(pieces, true));
            let compared = arriving.compare(Box::new(held.clone()), &mut state, ON, || true).await.unwrap();
            assert_eq!(matches!(compared, Compared::Same(_)), is_same);
            assert_eq!(matches!(compared, Compared::Other), !is_same);
            assert!(!held.broke());
            assert_eq!(arriving.next().await.unwrap().unwrap(), " and");
        }
    }

    #[tokio::test]
    async fn where_the_connection_breaks_that_is_put_on_record() {
        let (_stop, mut state) = state();
        let (held, mut arriving) = (Held::default(), arriving(&[b"e"], true));
        let compared = arriving.compare(Box::new(held.clone()), &mut state, ON, || false).await.unwrap();
        let Compared::BrokeOff(error) = compared else { panic!("it broke") };
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
        assert!(held.broke());
    }

    #[tokio::test]
    async fn who_hangs_gives_the_message_up_when_somebody_else_takes_it_over() {
        let (stop, mut state) = state();
        let (held, mut arriving) = (Held::default(), arriving(&[b"e"], false));
        let comparing = arriving.compare(Box::new(held.clone()), &mut state, ON, || false);
        let (compared, _) = tokio::join!(comparing, async { stop.send_replace(true) });
        let Compared::BrokeOff(error) = compared.unwrap() else { panic!("it was taken over") };
        assert_eq!(error.kind(), ErrorKind::Throttled, "{error}");
        assert!(held.broke());
    }

    #[tokio::test]
    async fn who_stalls_makes_room_as_soon_as_others_wait() {
        for crowded in [true, false] {
            let (_stop, mut state) = state();
            let (held, mut arriving) = (Held::default(), arriving(&[b"e"], false));
            let comparing = arriving.compare(Box::new(held.clone()), &mut state, ON, || crowded);
            let compared = tokio::time::timeout(2 * STALLED, comparing).await;
            assert_eq!((compared.is_ok(), held.broke()), (crowded, crowded));
            if let Ok(compared) = compared {
                let Compared::BrokeOff(error) = compared.unwrap() else { panic!("it stalled") };
                assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
            }
        }
    }

    /// Its place is held since the first byte that came again.
    #[tokio::test]
    async fn the_time_in_which_bytes_came_again_counts_for_those_behind_them() {
        let (_stop, mut state) = state();
        let mut message = arriving(&[b"eld", b" and"], false);
        let compared = message.compare(Box::new(Held::default()), &mut state, ON, || true).await.unwrap();
        assert!(matches!(compared, Compared::Same(_)));
        message.begun = message.begun.and_then(|begun| begun.checked_sub(2 * PATIENT));
        assert!(message.begun.is_some());
        let (sender, mut reader) = mpsc::channel(IN_FLIGHT);
        message.pump(sender, u64::MAX, || true).await;
        let error = stream_error(reader.recv().await.unwrap().unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    }
}
