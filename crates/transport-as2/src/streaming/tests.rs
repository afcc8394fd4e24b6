use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const PIECE: u64 = 1024;

/// A body of so many pieces that counts those that were asked for.
fn counted(pieces: u64, told: bool) -> (Body, Arc<AtomicU64>) {
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let pieces_of = futures::stream::unfold(pieces, move |left| {
        let count = Arc::clone(&count);
        async move {
            let less = left.checked_sub(1)?;
            count.fetch_add(1, Ordering::Relaxed);
            Some((Ok(Bytes::from(vec![0; PIECE as usize])), less))
        }
    });
    (Body::stream(pieces_of, told.then_some(pieces * PIECE)), asked)
}

#[tokio::test]
async fn what_is_left_of_a_refused_message_is_read_to_its_end() {
    for told in [true, false] {
        let (body, asked) = counted(100, told);
        let mut arriving = Arriving::new(body, false);
        let (sender, reader) = BodyReader::channel();
        let reading = tokio::task::spawn_blocking(move || {
            let mut reader = reader;
            reader.read_exact(&mut [0; 10]).unwrap();
        });
        tokio::join!(arriving.pump(sender, u64::MAX, || false), async { reading.await.unwrap() });
        arriving.drain().await;
        assert_eq!(asked.load(Ordering::Relaxed), 100);
    }
}

#[tokio::test]
async fn more_than_agreed_is_refused_by_that_name_and_passed_over() {
    let (body, asked) = counted(100, false);
    let mut arriving = Arriving::new(body, false);
    let (sender, mut reader) = BodyReader::channel();
    let reading = tokio::task::spawn_blocking(move || {
        let error = io::copy(&mut reader, &mut io::sink()).unwrap_err();
        error.downcast::<Rejection>().unwrap()
    });
    let ((), refused) = tokio::join!(arriving.pump(sender, 10 * PIECE, || false), reading);
    assert_eq!(refused.unwrap(), Rejection::TooLarge { most: 10 * PIECE });
    arriving.drain().await;
    assert_eq!(asked.load(Ordering::Relaxed), 100);
}

#[tokio::test]
async fn nobody_is_passed_over_for_ever() {
    let most = UNWANTED / PIECE;
    let (body, asked) = counted(most * 2, false);
    Arriving::new(body, false).drain().await;
    assert_eq!(asked.load(Ordering::Relaxed), most + 1);
    // Known to be too much: not begun.
    let (body, asked) = counted(most + 1, true);
    Arriving::new(body, false).drain().await;
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    // A partner's may be larger.
    let (body, asked) = counted(most + 1, true);
    let mut arriving = Arriving::new(body, false);
    arriving.set_limit(PIECE);
    arriving.drain().await;
    assert_eq!(asked.load(Ordering::Relaxed), most + 1);
    // Who waits for a word gets the answer instead of it.
    let (body, asked) = counted(1, true);
    Arriving::new(body, true).drain().await;
    assert_eq!(asked.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_sender_that_waits_for_us_is_not_waited_for() {
    let never = futures::stream::pending::<model::Result<Bytes>>();
    Arriving::new(Body::stream(never, None), false).drain().await;
}

#[tokio::test]
async fn who_stalls_makes_room_as_soon_as_others_wait() {
    for (crowded, ends) in [(true, true), (false, false)] {
        let body = futures::stream::once(async { Ok(Bytes::from_static(b"x")) });
        let body = futures::StreamExt::chain(body, futures::stream::pending::<model::Result<Bytes>>());
        let mut arriving = Arriving::new(Body::stream(body, Some(1000)), false);
        arriving.begin().await.unwrap();
        let (sender, mut reader) = mpsc::channel(IN_FLIGHT);
        let pumping = arriving.pump(sender, u64::MAX, || crowded);
        let ended = tokio::time::timeout(2 * STALLED, pumping).await.is_ok();
        assert_eq!(ended, ends);
        assert_eq!(reader.recv().await.unwrap().unwrap(), "x");
        if ends {
            let error = stream_error(reader.recv().await.unwrap().unwrap_err());
            assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
        }
    }
}

#[tokio::test]
async fn who_keeps_the_pace_may_be_silent_while_others_wait() {
    let body = futures::stream::unfold(0, |count| async move {
        tokio::time::sleep(if count == 1 { STALLED + 2 * LOOK } else { Duration::ZERO }).await;
        (count < 2).then(|| (Ok(Bytes::from(vec![0; 100_000])), count + 1))
    });
    let mut arriving = Arriving::new(Body::stream(body, None), false);
    let (sender, mut reader) = mpsc::channel(IN_FLIGHT);
    let (_, received) = tokio::join!(arriving.pump(sender, u64::MAX, || true), async {
        let mut received = 0;
        while let Some(piece) = reader.recv().await {
            received += piece.unwrap().len();
        }
        received
    });
    assert_eq!(received, 200_000);
}

/// Never silent, at its pace from the beginning: how long it keeps its place while others wait for one.
#[test]
fn who_holds_a_place_for_long_must_be_faster_while_others_wait() {
    let kept = |bytes_per_second: u64| {
        (0..3600).find(|second| {
            too_slow(Duration::from_secs(*second), Duration::ZERO, second * bytes_per_second).is_some()
        })
    };
    assert_eq!(kept(LEAST_PACE), Some(60));
    assert_eq!(kept(3 * LEAST_PACE), Some(120));
    assert_eq!(kept(MOST_OWED - 1), Some(240));
    assert_eq!(kept(MOST_OWED), None);
    // Silence counts from the beginning, for those who are behind.
    assert!(too_slow(Duration::from_secs(10), STALLED, 9 * LEAST_PACE).is_some());
    assert!(too_slow(Duration::from_secs(10), STALLED, 10 * LEAST_PACE).is_none());
    assert!(too_slow(Duration::from_secs(10), Duration::ZERO, 0).is_none());
    assert_eq!(pace(Duration::MAX), MOST_OWED);
}

#[tokio::test]
async fn what_is_known_at_the_end_of_a_message_is_known_when_its_last_byte_is_sent() {
    for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 7] {
        for told in [true, false] {
            let bytes: Vec<u8> = (0..length).map(|n| (n * 31 % 251) as u8).collect();
            let tapped =
                smime::MicReader::new(io::Cursor::new(bytes.clone()), smime::Digest::Sha256).unwrap();
            let mic = tapped.slot();
            let mut body = body_of(made_ahead(Box::new(tapped)), told.then_some(length as u64));
            let mut received = Vec::new();
            while received.len() < length {
                received.extend_from_slice(&body.next().await.unwrap().unwrap());
            }
            assert!(received == bytes, "{length}");
            assert!(!told || length == 0 || mic.get().is_some(), "{length}");
            assert!(body.next().await.unwrap().is_none(), "{length}");
            assert!(mic.get().is_some(), "{length}");
        }
    }
}
