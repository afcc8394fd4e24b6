use super::Paces;
use model::definition::{Balance, Definitions, Endpoint, OfflineRule, Throttle};
use model::schema::Values;
use std::io::Read as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testkit::clock::FixedClock;
use tokio::io::{AsyncRead, AsyncReadExt};
use transport::{Clock, Directory};

struct Defined(Mutex<Arc<Definitions>>);

impl Directory for Defined {
    fn definitions(&self) -> Arc<Definitions> {
        Arc::clone(&self.0.lock().unwrap())
    }
}

impl Defined {
    fn set(&self, bandwidth: Option<u64>) {
        let mut all = Definitions::default();
        let endpoint = Endpoint {
            name: "slow".into(),
            transport: "fake".into(),
            urls: Vec::new(),
            node: None,
            pool: None,
            throttle: Throttle { bandwidth, ..Throttle::default() },
            balance: Balance::RoundRobin,
            offline: Some(OfflineRule::default()),
            options: Values::default(),
        };
        all.endpoints.insert("slow".into(), Arc::new(endpoint));
        *self.0.lock().unwrap() = Arc::new(all);
    }
}

fn paces(bandwidth: Option<u64>) -> (Arc<FixedClock>, Arc<Defined>, Paces) {
    let clock = Arc::new(FixedClock::default());
    clock.advance(Duration::from_secs(1000));
    let defined = Arc::new(Defined(Mutex::default()));
    defined.set(bandwidth);
    let paces = Paces::new(Arc::clone(&clock) as _, Arc::clone(&defined) as _);
    (clock, defined, paces)
}

/// Moves the clock on whenever so many wait, and returns how long it all took.
async fn time_of<T: Send + 'static>(
    clock: &FixedClock,
    waiting: usize,
    work: impl Future<Output = T> + Send + 'static,
) -> Duration {
    let (begun, work) = (clock.monotonic(), tokio::spawn(work));
    while !work.is_finished() {
        if clock.sleepers() >= waiting {
            clock.advance(Duration::from_millis(1));
        }
        tokio::task::yield_now().await;
    }
    work.await.unwrap();
    clock.monotonic() - begun
}

fn bytes(count: u64) -> impl AsyncRead + Send + Unpin {
    tokio::io::repeat(7).take(count)
}

async fn read(mut reader: impl AsyncRead + Unpin) -> usize {
    let mut all = Vec::new();
    reader.read_to_end(&mut all).await.unwrap();
    all.len()
}

#[tokio::test]
async fn readers_of_an_endpoint_share_its_bandwidth() {
    let (clock, _, paces) = paces(Some(100_000));
    let pace = paces.of("slow");
    let one = pace.reader(bytes(200_000));
    let took = time_of(&clock, 1, read(one)).await;
    // Two seconds, less what unused time lets it catch up.
    assert!((1_850..=2_100).contains(&took.as_millis()), "{took:?}");
    let (one, other) = (paces.of("slow").reader(bytes(100_000)), paces.of("slow").reader(bytes(100_000)));
    let took = time_of(&clock, 1, async { tokio::join!(read(one), read(other)) }).await;
    assert!((1_850..=2_200).contains(&took.as_millis()), "{took:?}");
    // Many small files are no way around it.
    let many: Vec<_> = (0..50).map(|_| paces.of("slow").reader(bytes(4_000))).collect();
    let took = time_of(&clock, 1, futures::future::join_all(many.into_iter().map(read))).await;
    assert!((1_850..=2_300).contains(&took.as_millis()), "{took:?}");
    // Another endpoint waits for nobody.
    let other = paces.of("quick").reader(bytes(1 << 20));
    assert_eq!(time_of(&clock, 1, read(other)).await, Duration::ZERO);
}

#[tokio::test]
async fn the_flow_of_bytes_is_smooth_and_follows_a_new_bandwidth() {
    let (clock, defined, paces) = paces(Some(10_000));
    let mut reader = paces.of("slow").reader(bytes(1 << 20));
    let mut buffer = vec![0; 65_536];
    // A read takes a twentieth of a second, however large its buffer is.
    assert_eq!(reader.read(&mut buffer).await.unwrap(), 512);
    defined.set(Some(1_000_000));
    let took = time_of(&clock, 1, async move {
        let mut left = 1_000_000;
        while left > 0 {
            left -= reader.read(&mut buffer).await.unwrap().min(left);
        }
    });
    let took = took.await;
    assert!((850..=1_100).contains(&took.as_millis()), "{took:?}");
    defined.set(None);
    let reader = paces.of("slow").reader(bytes(10 << 20));
    assert_eq!(time_of(&clock, 1, read(reader)).await, Duration::ZERO);
}

#[tokio::test]
async fn a_blocking_reader_keeps_to_it_too_and_a_dropped_one_leaves_its_turn() {
    let (clock, _, paces) = paces(Some(100_000));
    for _ in 0..100 {
        // Each has reserved a turn, and takes none.
        let mut reader = paces.of("slow").reader(bytes(5_000));
        let mut buffer = vec![0; 5_000];
        let _ = futures::poll!(Box::pin(reader.read(&mut buffer[..0])));
    }
    let runtime = tokio::runtime::Handle::current();
    let mut reader = paces.of("slow").blocking(std::io::repeat(7).take(100_000), runtime);
    let reading = tokio::task::spawn_blocking(move || reader.read_to_end(&mut Vec::new()).unwrap());
    let took = time_of(&clock, 1, async move { assert_eq!(reading.await.unwrap(), 100_000) }).await;
    // The test's clock runs on while the thread works: only the least time can be told.
    assert!(took >= Duration::from_millis(850), "{took:?}");
}
