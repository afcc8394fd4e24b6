use super::*;
use model::definition::{Balance, Credential, Definitions, Endpoint, EndpointUrl, OfflineRule, Throttle};
use model::schema::Value;
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
    /// Refuses so many connections for the time being.
    busy: Mutex<Option<(usize, ErrorKind)>>,
    /// Whether a login takes a moment.
    slow: AtomicBool,
    making: AtomicUsize,
    most_making: AtomicUsize,
}

struct Fake {
    server: Arc<Server>,
    lost: AtomicBool,
    number: usize,
}

#[async_trait]
impl Connector for Arc<Server> {
    type Connection = Fake;

    async fn connect(&self, _: Purpose, _: &str) -> Result<Fake> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst);
        let making = self.making.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_making.fetch_max(making, Ordering::SeqCst);
        // Others come while it is being made.
        tokio::task::yield_now().await;
        if self.slow.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.making.fetch_sub(1, Ordering::SeqCst);
        if let Some((times, kind)) = &mut *lock(&self.busy)
            && *times > 0
        {
            *times -= 1;
            return Err(Error::transient(*kind, "connect"));
        }
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
    fn pool(self: &Arc<Self>, change: impl FnOnce(&mut PoolLimits), sharing: Sharing) -> Pool<Arc<Self>> {
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
        let pool = pool.clone();
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
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Busy, Retry::Transient));
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
        let pool = pool.clone();
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

fn endpoint(name: &str, url: &str, password: &str) -> Endpoint {
    let url = EndpointUrl { url: url.parse().unwrap(), weight: 1 };
    let text = |text: &str| Value::Text(text.to_owned());
    Endpoint {
        name: name.into(),
        transport: "fake".into(),
        urls: vec![url],
        node: None,
        pool: None,
        throttle: Throttle::default(),
        balance: Balance::RoundRobin,
        offline: Some(OfflineRule::default()),
        options: Values::of([("credential", text("acme")), ("password", text(password))]),
    }
}

fn with_credential(password: &str) -> Definitions {
    let credential = Credential {
        name: "acme".into(),
        username: "u".into(),
        password: model::Secret::new(password.to_owned()),
    };
    let mut definitions = Definitions::default();
    definitions.credentials.insert("acme".into(), Arc::new(credential));
    definitions
}

#[tokio::test]
async fn endpoints_that_lead_to_one_account_share_its_connections() {
    let server = Arc::new(Server::default());
    let pools = Pools::default();
    let definitions = with_credential("secret");
    let get = |endpoint: &Endpoint, definitions: &Definitions, purpose| {
        let limits = PoolLimits::new(Sharing::Shared(8));
        pools.get(endpoint, definitions, purpose, || Ok((Arc::clone(&server), limits))).unwrap()
    };
    let orders = endpoint("orders", "sftp://HOST.example/orders", "one");
    drop(get(&orders, &definitions, Purpose::Poll).take().await.unwrap());
    // The same account, another directory; nobody uses the connection in between.
    let returns = endpoint("returns", "sftp://host.example/returns", "one");
    let pool = get(&returns, &definitions, Purpose::Poll);
    drop(pool.take().await.unwrap());
    assert_eq!((server.asked(), server.open(), pool.endpoint()), (1, 1, "returns"));
    drop(pool);
    // Each of these is another way: purpose, login, server, and what the endpoint names.
    drop(get(&orders, &definitions, Purpose::Deliver).take().await.unwrap());
    drop(
        get(&endpoint("o", "sftp://host.example/", "two"), &definitions, Purpose::Poll).take().await.unwrap(),
    );
    drop(
        get(&endpoint("o", "sftp://other.example/", "one"), &definitions, Purpose::Poll)
            .take()
            .await
            .unwrap(),
    );
    drop(get(&orders, &with_credential("changed"), Purpose::Poll).take().await.unwrap());
    assert_eq!((server.asked(), server.open()), (5, 5));
}

#[tokio::test]
async fn a_busy_server_is_asked_again_a_few_times_before_an_operation_fails() {
    let server = Arc::new(Server::default());
    *lock(&server.busy) = Some((1, ErrorKind::Throttled));
    let pool = server.pool(|limits| limits.retries = 3, Sharing::Shared(8));
    pool.take().await.unwrap();
    assert_eq!(server.asked(), 2);

    let server = Arc::new(Server::default());
    *lock(&server.busy) = Some((9, ErrorKind::Unreachable));
    let pool = server.pool(|limits| limits.retries = 2, Sharing::Shared(8));
    // Those who wait for it get the last error; none asks for itself.
    let waiting = (0..5).map(|_| pool.take());
    for result in futures::future::join_all(waiting).await {
        assert_eq!(result.err().unwrap().kind(), ErrorKind::Unreachable);
    }
    assert_eq!(server.asked(), 3);
}

#[tokio::test]
async fn no_more_than_a_few_connections_to_one_server_are_being_made_at_a_time() {
    let server = Arc::new(Server::default());
    let pools = Pools::default();
    let limits = PoolLimits::new(Sharing::Shared(8));
    let accounts: Vec<_> = (0..20)
        .map(|number| endpoint("o", "sftp://host.example/", &number.to_string()))
        .map(|account| {
            let make = || Ok((Arc::clone(&server), limits));
            pools.get(&account, &Definitions::default(), Purpose::Poll, make).unwrap()
        })
        .collect();
    server.slow.store(true, Ordering::SeqCst);
    let taken = futures::future::join_all(accounts.iter().map(Pool::take)).await;
    assert!(taken.iter().all(Result::is_ok));
    assert_eq!((server.asked(), server.most_making.load(Ordering::SeqCst)), (20, 4));
}
