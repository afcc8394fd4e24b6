use super::*;
use model::definition::{Balance, Endpoint, EndpointUrl, OfflineRule, Throttle};
use model::{Error, ErrorKind, Retry};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A server that lets in, or not.
#[derive(Default)]
struct Server {
    refuses: Mutex<Option<ErrorKind>>,
    asked: AtomicUsize,
    open: AtomicUsize,
    /// Whether connections that were idle give a sign of life.
    silent: AtomicBool,
    reasons: Mutex<Vec<&'static str>>,
}

struct Fake {
    server: Arc<Server>,
    lost: AtomicBool,
    number: usize,
}

#[async_trait]
impl Connector for Arc<Server> {
    type Connection = Fake;

    async fn connect(&self, _: Purpose) -> Result<Fake> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst);
        // Others come while it is being made.
        tokio::task::yield_now().await;
        if let Some(kind) = *lock(&self.refuses) {
            return Err(Error::new(kind, Retry::Permanent, "log in"));
        }
        self.open.fetch_add(1, Ordering::SeqCst);
        Ok(Fake { server: Arc::clone(self), lost: AtomicBool::default(), number })
    }
}

#[async_trait]
impl PooledConnection for Fake {
    fn is_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    async fn is_alive(&self) -> bool {
        !self.server.silent.load(Ordering::SeqCst)
    }

    fn lose(&self, why: &'static str) {
        self.lost.store(true, Ordering::SeqCst);
        lock(&self.server.reasons).push(why);
    }

    fn closing(&self, reason: &'static str) {
        lock(&self.server.reasons).push(reason);
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Server {
    fn pool(
        self: &Arc<Self>,
        change: impl FnOnce(&mut PoolLimits),
        sharing: Sharing,
    ) -> Arc<Pool<Arc<Self>>> {
        let mut limits = PoolLimits { connections: 2, ..PoolLimits::new(sharing) };
        change(&mut limits);
        Pool::new(Arc::new(Arc::clone(self)), "acme", Purpose::Poll, limits)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    fn refuse(&self, kind: Option<ErrorKind>) {
        *lock(&self.refuses) = kind;
    }
}

#[tokio::test]
async fn an_idle_connection_is_used_again_and_a_busy_one_gets_company_up_to_the_limit() {
    let server = Arc::new(Server::default());
    let pool = server.pool(|_| {}, Sharing::Shared(2));
    drop(pool.take().await.unwrap());
    let first = pool.take().await.unwrap();
    assert_eq!((server.asked(), first.number), (1, 0));
    let second = pool.take().await.unwrap();
    let third = pool.take().await.unwrap();
    assert_eq!((second.number, third.number, server.asked()), (0, 1, 2));
    // Both carry as many as they should, and no third may be made.
    let more = [pool.take().await.unwrap(), pool.take().await.unwrap(), pool.take().await.unwrap()];
    assert_eq!((server.asked(), pool.size()), (2, 2));
    drop((first, second, third, more));
    assert_eq!(server.open(), 2);
}

#[tokio::test]
async fn who_needs_a_connection_alone_waits_for_one_when_all_are_in_use() {
    let server = Arc::new(Server::default());
    let pool = server.pool(|_| {}, Sharing::Exclusive);
    let first = pool.take().await.unwrap();
    let clone = first.clone();
    let second = pool.take().await.unwrap();
    assert_ne!(first.number, second.number);
    let waiting = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.take().await.unwrap().number }
    });
    tokio::task::yield_now().await;
    drop(first);
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished(), "a clone still uses it");
    let number = clone.number;
    drop(clone);
    assert_eq!(waiting.await.unwrap(), number);
    assert_eq!((server.asked(), pool.size()), (2, 2));
}

#[tokio::test]
async fn who_waits_too_long_for_a_connection_is_told_what_helps() {
    let server = Arc::new(Server::default());
    let pool = server.pool(|limits| limits.longest_wait = Duration::ZERO, Sharing::Exclusive);
    let _both = (pool.take().await.unwrap(), pool.take().await.unwrap());
    let error = pool.take().await.err().unwrap();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Throttled, Retry::Transient));
    assert!(error.to_string().contains("'connections'"), "{error}");
}

#[tokio::test]
async fn an_exclusive_pool_goes_on_with_what_it_has_where_no_more_are_let_in() {
    let server = Arc::new(Server::default());
    let pool = server.pool(|_| {}, Sharing::Exclusive);
    let first = pool.take().await.unwrap();
    server.refuse(Some(ErrorKind::Throttled));
    assert_eq!(pool.take().await.err().unwrap().kind(), ErrorKind::Throttled);
    let waiting = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.take().await.map(|lease| lease.number) }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    drop(first);
    assert_eq!(waiting.await.unwrap().unwrap(), 0);
    assert_eq!(server.asked(), 2, "the server was asked again though it lets in no more");
}

#[tokio::test]
async fn a_lost_connection_is_given_to_nobody() {
    let server = Arc::new(Server::default());
    let pool = server.pool(|_| {}, Sharing::Shared(8));
    let first = pool.take().await.unwrap();
    first.lose("cut");
    let second = pool.take().await.unwrap();
    assert_eq!((second.number, pool.size()), (1, 1));
    drop(first);
    assert_eq!(server.open(), 1);
}

#[tokio::test]
async fn one_that_was_idle_and_says_nothing_is_replaced_before_it_is_used() {
    let server = Arc::new(Server::default());
    let pool = server.pool(|limits| limits.trusted_idle = Duration::ZERO, Sharing::Shared(8));
    drop(pool.take().await.unwrap());
    assert_eq!(pool.take().await.unwrap().number, 0);
    server.silent.store(true, Ordering::SeqCst);
    assert_eq!(pool.take().await.unwrap().number, 1);
    assert_eq!(*lock(&server.reasons), ["no answer after it was idle"]);
}

#[tokio::test]
async fn one_that_is_old_is_closed_once_it_is_idle_and_used_only_where_no_other_may_be_made() {
    for sharing in [Sharing::Shared(8), Sharing::Exclusive] {
        let server = Arc::new(Server::default());
        let pool = server.pool(|limits| limits.lifetime = Duration::ZERO, sharing);
        let (first, second) = (pool.take().await.unwrap(), pool.take().await.unwrap());
        assert_eq!((first.number, second.number), (0, 1));
        if sharing != Sharing::Exclusive {
            pool.take().await.unwrap();
        }
        assert_eq!(server.asked(), 2);
        drop(first);
        let third = pool.take().await.unwrap();
        assert_eq!((third.number, server.open()), (2, 2), "{sharing:?}");
        assert_eq!(*lock(&server.reasons), [LIFETIME_OVER]);
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_by_itself() {
    let server = Arc::new(Server::default());
    let pool = server.pool(|limits| limits.idle = Duration::ZERO, Sharing::Shared(8));
    let lease = pool.take().await.unwrap();
    drop(lease);
    while server.open() > 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(*lock(&server.reasons), ["not used any more"]);
}

#[tokio::test]
async fn all_who_wait_get_the_refusal_and_the_server_is_asked_once() {
    let server = Arc::new(Server::default());
    server.refuse(Some(ErrorKind::Unauthenticated));
    let pool = server.pool(|_| {}, Sharing::Shared(8));
    let waiting = (0..5).map(|_| pool.take());
    for result in futures::future::join_all(waiting).await {
        assert_eq!(result.err().unwrap().kind(), ErrorKind::Unauthenticated);
    }
    // A moment later it holds as well.
    assert!(pool.take().await.is_err());
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn flows_share_the_pool_of_an_endpoint_until_it_changes() {
    let server = Arc::new(Server::default());
    let url = EndpointUrl { url: "sftp://h/".parse().unwrap(), weight: 1 };
    let endpoint = Arc::new(Endpoint {
        name: "acme".into(),
        transport: "fake".into(),
        urls: vec![url],
        node: None,
        pool: None,
        throttle: Throttle::default(),
        balance: Balance::RoundRobin,
        offline: Some(OfflineRule::default()),
        options: Values::default(),
    });
    let pools = Pools::default();
    let get = |endpoint: &Arc<Endpoint>, purpose| {
        pools.get(endpoint, purpose, || Ok(server.pool(|_| {}, Sharing::Shared(8)))).unwrap()
    };
    let one = get(&endpoint, Purpose::Poll);
    assert!(Arc::ptr_eq(&one, &get(&endpoint, Purpose::Poll)));
    assert!(!Arc::ptr_eq(&one, &get(&endpoint, Purpose::Deliver)));
    assert!(!Arc::ptr_eq(&one, &get(&Arc::new((*endpoint).clone()), Purpose::Poll)));
}
