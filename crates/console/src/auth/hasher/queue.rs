//! The order in which passwords are hashed: addresses take turns, and known users go first.

use model::{Error, ErrorKind, Result};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Longest queue of known users, and of others; each hash takes about 20 ms.
pub(super) const LONGEST: usize = 512;
/// Hashes for known users that are made before one for another.
const KNOWN_FIRST: u32 = 4;

/// Where a request for a hash comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Requester {
    /// The client's address: addresses take turns.
    pub(crate) address: IpAddr,
    /// The user has logged in from there before, or is logged in, and does not wait for others.
    pub(crate) known: bool,
}

/// A hash to be made, and whether its caller still waits for it.
pub(super) trait Job {
    /// Whether its caller has gone.
    fn is_void(&self) -> bool;
    /// Ends it with an error, because the queue is full.
    fn refuse(self);
}

/// The queue of known users, or that of others, by address.
struct Lane<J> {
    addresses: VecDeque<(IpAddr, VecDeque<J>)>,
    length: usize,
}

impl<J> Default for Lane<J> {
    fn default() -> Self {
        Self { addresses: VecDeque::new(), length: 0 }
    }
}

impl<J: Job> Lane<J> {
    /// When it is full, the newest job of the address with the most jobs is returned, to be refused.
    fn push(&mut self, address: IpAddr, job: J) -> Option<J> {
        if self.length >= LONGEST {
            self.forget_void();
        }
        match self.addresses.iter_mut().find(|(of, _)| *of == address) {
            Some((_, jobs)) => jobs.push_back(job),
            None => self.addresses.push_back((address, VecDeque::from([job]))),
        }
        self.length += 1;
        if self.length <= LONGEST {
            return None;
        }
        // Of several with as many, the last to come.
        let (most, _) = self.addresses.iter().enumerate().max_by_key(|(_, (_, jobs))| jobs.len())?;
        let out = self.addresses.get_mut(most)?.1.pop_back();
        self.addresses.retain(|(_, jobs)| !jobs.is_empty());
        self.length -= usize::from(out.is_some());
        out
    }

    fn forget_void(&mut self) {
        for (_, jobs) in &mut self.addresses {
            jobs.retain(|job| !job.is_void());
        }
        self.addresses.retain(|(_, jobs)| !jobs.is_empty());
        self.length = self.addresses.iter().map(|(_, jobs)| jobs.len()).sum();
    }

    /// The first job of the address whose turn it is.
    fn pop(&mut self) -> Option<J> {
        let (address, mut jobs) = self.addresses.pop_front()?;
        let job = jobs.pop_front();
        if !jobs.is_empty() {
            self.addresses.push_back((address, jobs));
        }
        self.length -= usize::from(job.is_some());
        job
    }
}

struct Lanes<J> {
    known: Lane<J>,
    others: Lane<J>,
    /// Jobs of known users since the last one of another.
    in_a_row: u32,
    begun: bool,
    ended: bool,
}

impl<J: Job> Lanes<J> {
    fn pop(&mut self) -> Option<J> {
        if self.in_a_row < KNOWN_FIRST
            && let Some(job) = self.known.pop()
        {
            self.in_a_row += 1;
            return Some(job);
        }
        self.in_a_row = 0;
        self.others.pop().or_else(|| self.known.pop())
    }
}

/// Both queues, shared by the callers and the thread that hashes.
pub(super) struct Queue<J> {
    lanes: Mutex<Lanes<J>>,
    change: Condvar,
}

/// What the thread does next.
pub(super) enum Next<J> {
    Do(J),
    /// No job came for that time.
    Idle,
    /// The queue was closed.
    End,
}

impl<J: Job> Queue<J> {
    pub(super) fn new() -> Self {
        let lanes = Lanes {
            known: Lane::default(),
            others: Lane::default(),
            in_a_row: 0,
            begun: false,
            ended: false,
        };
        Self { lanes: Mutex::new(lanes), change: Condvar::new() }
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes<J>> {
        // Nothing panics while it holds the lock.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a job into its lane; another one may be refused for it. The thread is begun with the first.
    pub(super) fn push(
        self: &Arc<Self>,
        requester: Requester,
        job: J,
        begin: impl FnOnce(Arc<Self>) -> std::io::Result<()>,
    ) -> Result<()> {
        let mut lanes = self.lanes();
        if !lanes.begun {
            begin(Arc::clone(self))
                .map_err(|error| Error::local_io("begin a thread for password hashes", error))?;
            lanes.begun = true;
        }
        let lane = if requester.known { &mut lanes.known } else { &mut lanes.others };
        let refused = lane.push(requester.address, job);
        drop(lanes);
        self.change.notify_one();
        if let Some(job) = refused {
            job.refuse();
        }
        Ok(())
    }

    pub(super) fn next(&self, within: Duration) -> Next<J> {
        let lanes = self.lanes();
        let empty = |lanes: &mut Lanes<J>| lanes.known.length + lanes.others.length == 0 && !lanes.ended;
        let waited = self.change.wait_timeout_while(lanes, within, empty);
        let (mut lanes, _) = waited.unwrap_or_else(PoisonError::into_inner);
        match lanes.pop() {
            Some(job) => Next::Do(job),
            None if lanes.ended => Next::End,
            None => Next::Idle,
        }
    }

    pub(super) fn end(&self) {
        self.lanes().ended = true;
        self.change.notify_all();
    }
}

/// The error of a refused login.
pub(super) fn refused() -> Error {
    Error::transient(ErrorKind::Throttled, "check a password")
        .with("waiting", LONGEST)
        .advice("too many people log in at this moment: try again in a few seconds")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its name, and whether it is wanted.
    #[derive(PartialEq, Eq, Debug)]
    struct Named(usize, bool);

    impl Job for Named {
        fn is_void(&self) -> bool {
            !self.1
        }
        fn refuse(self) {}
    }

    fn address(n: usize) -> IpAddr {
        IpAddr::from(u32::try_from(n).unwrap().to_be_bytes())
    }

    #[test]
    fn an_address_that_floods_waits_for_itself() {
        let mut lane = Lane::default();
        let refused = (0..1000).filter_map(|n| lane.push(address(n % 3), Named(n, true))).count();
        assert_eq!((refused, lane.length), (1000 - LONGEST, LONGEST));
        // Others come in, and have their turn after one of each.
        assert!(lane.push(address(9), Named(5000, true)).is_some_and(|Named(out, _)| out < 1000));
        let turn = (0..).map(|_| lane.pop().unwrap().0).position(|name| name == 5000).unwrap();
        assert_eq!(turn, 3);
        assert_eq!(lane.length, LONGEST - 4);
    }

    #[test]
    fn who_has_gone_makes_room() {
        let mut lane = Lane::default();
        for n in 0..LONGEST {
            assert!(lane.push(address(1), Named(n, n == 7)).is_none());
        }
        assert!(lane.push(address(1), Named(9999, true)).is_none());
        assert_eq!(lane.length, 2);
        assert_eq!(
            [lane.pop(), lane.pop(), lane.pop()],
            [Some(Named(7, true)), Some(Named(9999, true)), None]
        );
    }

    #[test]
    fn who_is_known_goes_first_and_the_others_go_on() {
        let queue = Arc::new(Queue::new());
        let push = |n, known| {
            queue.push(Requester { address: address(n), known }, Named(n, true), |_| Ok(())).unwrap();
        };
        (0..2 * LONGEST).for_each(|n| push(n, false));
        (3000..3006).for_each(|n| push(n, true));
        let order: Vec<usize> = (0..8)
            .map(|_| match queue.next(Duration::ZERO) {
                Next::Do(Named(name, _)) => name,
                _ => panic!("nothing waits"),
            })
            .collect();
        assert_eq!(order, [3000, 3001, 3002, 3003, 0, 3004, 3005, 1]);
        queue.end();
        while let Next::Do(_) = queue.next(Duration::ZERO) {}
        assert!(matches!(queue.next(Duration::from_secs(60)), Next::End));
    }
}
