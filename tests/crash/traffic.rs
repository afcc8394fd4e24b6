//! Files that go in and come out, all the while, whatever happens to the gateways.

use crate::random;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use testkit::ledger::Ledger;

/// Where files of one kind are put, and where they are to appear.
#[derive(Clone, Debug)]
pub struct Route {
    /// Begins their names.
    pub name: &'static str,
    /// The folder that is polled.
    pub into: PathBuf,
    /// The folder that is delivered to.
    pub out: PathBuf,
    /// Most bytes of a file.
    pub largest: u64,
    /// Most files under way.
    pub most: usize,
}

impl Route {
    /// A route below `root`, its two directories made.
    pub fn make(root: &Path, name: &'static str, largest: u64, most: usize) -> Self {
        let (into, out) = (root.join(format!("{name}-in")), root.join(format!("{name}-out")));
        fs::create_dir_all(&into).unwrap();
        fs::create_dir_all(&out).unwrap();
        Self { name, into, out, largest, most }
    }
}

/// What one route saw.
#[derive(Default)]
struct Account {
    ledger: Ledger,
    /// Arrivals in the order in which they appeared; those of one number cannot be told apart.
    order: Vec<(usize, String)>,
}

struct Inner {
    routes: Vec<Route>,
    taken: PathBuf,
    accounts: Mutex<BTreeMap<&'static str, Account>>,
    giving: AtomicBool,
    ended: AtomicBool,
}

/// The traffic; ends when dropped.
pub struct Traffic {
    inner: Arc<Inner>,
    thread: Option<JoinHandle<()>>,
}

impl Traffic {
    /// Begins to give and to collect.
    pub fn begin(root: &Path, routes: Vec<Route>) -> Self {
        let taken = root.join("taken");
        fs::create_dir_all(&taken).unwrap();
        let accounts = routes.iter().map(|route| (route.name, Account::default())).collect();
        let inner = Arc::new(Inner {
            routes,
            taken,
            accounts: Mutex::new(accounts),
            giving: AtomicBool::new(true),
            ended: AtomicBool::new(false),
        });
        let worker = Arc::clone(&inner);
        let thread = std::thread::spawn(move || {
            while !worker.ended.load(Ordering::SeqCst) {
                worker.routes.iter().for_each(|route| worker.turn(route));
                std::thread::sleep(Duration::from_millis(15));
            }
        });
        Self { inner, thread: Some(thread) }
    }

    /// Gives nothing more, or gives again.
    pub fn give(&self, on: bool) {
        self.inner.giving.store(on, Ordering::SeqCst);
    }

    /// Files given and files arrived so far, over all routes.
    pub fn counts(&self) -> (usize, usize) {
        let accounts = self.inner.accounts.lock().unwrap();
        let sum = |count: fn(&Account) -> usize| accounts.values().map(count).sum();
        (sum(|account| account.ledger.given().len()), sum(|account| account.ledger.arrived().len()))
    }

    /// Waits until so many more files have arrived.
    pub fn flows(&self, more: usize, patience: Duration, log: &dyn Fn() -> String) {
        let before = self.counts().1;
        let begun = Instant::now();
        while self.counts().1 < before + more {
            assert!(
                begun.elapsed() < patience,
                "no {more} files in {patience:?}\n{}\n{}",
                self.account(),
                log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Gives nothing more, waits until everything has arrived and then a little, so that a second
    /// delivery would show; fails with the account and `log` when the ledger is not exact.
    pub fn settle(&self, patience: Duration, log: &dyn Fn() -> String) {
        self.give(false);
        let begun = Instant::now();
        loop {
            let (given, arrived) = self.counts();
            if arrived >= given && self.is_exact() {
                break;
            }
            assert!(
                begun.elapsed() < patience,
                "not everything came in {patience:?}\n{}\n{}",
                self.account(),
                log()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        std::thread::sleep(Duration::from_secs(2));
        let collects = self.thread.as_ref().is_some_and(|thread| !thread.is_finished());
        assert!(collects, "nobody collects any more\n{}", self.account());
        assert!(self.is_exact(), "not everything came exactly once\n{}\n{}", self.account(), log());
        for route in &self.inner.routes {
            let mut left = Vec::new();
            let begun = Instant::now();
            // A source may be settled a moment after its file has arrived.
            while begun.elapsed() < Duration::from_secs(15) {
                left = [&route.into, &route.out].into_iter().flat_map(|directory| names(directory)).collect();
                if left.is_empty() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            assert!(left.is_empty(), "left on route {}: {left:?}\n{}\n{}", route.name, self.account(), log());
        }
    }

    fn is_exact(&self) -> bool {
        self.inner.accounts.lock().unwrap().values().all(|account| account.ledger.balance().is_exact())
    }

    /// Fails when files of a route did not appear in the order in which they were given.
    pub fn assert_in_order(&self, route: &str, log: &dyn Fn() -> String) {
        let accounts = self.inner.accounts.lock().unwrap();
        let account = &accounts[route];
        let given: Vec<&str> = account.ledger.given().iter().map(|entry| entry.name.as_str()).collect();
        let mut from = 0;
        for same in account.order.chunk_by(|one, two| one.0 == two.0) {
            let seen: BTreeSet<&str> = same.iter().map(|(_, name)| name.as_str()).collect();
            let expected: BTreeSet<&str> = given[from..from + same.len()].iter().copied().collect();
            assert_eq!(seen, expected, "out of order on {route}: {:?}\n{}", account.order, log());
            from += same.len();
        }
    }

    /// The ledgers' accounts.
    pub fn account(&self) -> String {
        let accounts = self.inner.accounts.lock().unwrap();
        let mut text = String::new();
        for (route, account) in accounts.iter() {
            let ledger = &account.ledger;
            let (given, arrived) = (ledger.given().len(), ledger.arrived().len());
            text.push_str(&format!("{route}: {given} given, {arrived} arrived\n{}\n", ledger.balance()));
        }
        for route in &self.inner.routes {
            for directory in [&route.into, &route.out] {
                text.push_str(&format!("{}: {:?}\n", directory.display(), names(directory)));
            }
        }
        text
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.inner.ended.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Inner {
    fn turn(&self, route: &Route) {
        self.collect(route);
        let under_way = {
            let accounts = self.accounts.lock().unwrap();
            let ledger = &accounts[route.name].ledger;
            ledger.given().len().saturating_sub(ledger.arrived().len())
        };
        if self.giving.load(Ordering::SeqCst) && under_way < route.most {
            self.drop_one(route);
        }
    }

    /// Writes a file as careful partners do: under a name that is not polled, then renamed.
    fn drop_one(&self, route: &Route) {
        let length = if random(10) == 0 { random(16) } else { random(route.largest) };
        let mut content = vec![0; usize::try_from(length).unwrap()];
        openssl::rand::rand_bytes(&mut content).unwrap();
        let mut accounts = self.accounts.lock().unwrap();
        let ledger = &mut accounts.get_mut(route.name).unwrap().ledger;
        let name = format!("{}-{:06}.bin", route.name, ledger.given().len());
        let hidden = route.into.join(format!("{name}.a"));
        fs::write(&hidden, &content).unwrap();
        ledger.give(&name, &content);
        fs::rename(&hidden, route.into.join(&name)).unwrap();
    }

    /// Takes away what has appeared, as a partner would, so that a second delivery shows.
    fn collect(&self, route: &Route) {
        let mut found: Vec<(i64, i64, String)> = Vec::new();
        for entry in fs::read_dir(&route.out).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            // A rename into place changes ctime: the order of publication.
            let seen = entry.metadata().unwrap();
            found.push((seen.ctime(), seen.ctime_nsec(), name));
        }
        found.sort();
        let mut last = None;
        for (seconds, nanos, name) in found {
            let taken = self.taken.join(&name);
            fs::rename(route.out.join(&name), &taken).unwrap();
            let content = fs::read(&taken).unwrap();
            fs::remove_file(&taken).unwrap();
            let mut accounts = self.accounts.lock().unwrap();
            let account = accounts.get_mut(route.name).unwrap();
            account.ledger.arrive(&name, &content);
            let number = match (account.order.last(), last) {
                (Some((number, _)), Some(before)) if before == (seconds, nanos) => *number,
                _ => account.order.len(),
            };
            account.order.push((number, name));
            last = Some((seconds, nanos));
        }
    }
}

/// The names in a directory, hidden ones included.
pub fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}
