//! The open connections of one listen address: the limits in total and per client, the choice of a connection to
//! close if there are too many, and the metrics.

use super::limits::ServerLimits;
use crate::connection::lock;
use crate::meter::Totals;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The unit by which clients are counted: an IPv4 address, or the /64 network of an IPv6 address, because one machine
/// usually has all of it.
#[must_use]
pub fn client_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address @ IpAddr::V4(_) => address,
    }
}

/// Why a connection was refused at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Full {
    /// Its client has as many connections as allowed, all of them busy.
    Client,
    /// The address has as many connections as allowed, all of them busy.
    Listener,
}

impl Full {
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Self::Client => "too many connections from this client, all of them in use",
            Self::Listener => "too many connections to this address, all of them in use",
        }
    }
}

/// The connections of one address.
pub(super) struct Connections {
    limits: Arc<ServerLimits>,
    members: Mutex<Members>,
    pub(super) counts: Counts,
}

/// Metrics since the address was bound.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) accepted: AtomicU64,
    pub(super) refused_client: AtomicU64,
    pub(super) refused_listener: AtomicU64,
    pub(super) closed_for_others: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) requests_refused: AtomicU64,
    pub(super) bytes: Arc<Totals>,
    /// Numbers that were not reported yet, and the client that was last affected.
    unreported: Mutex<Option<Unreported>>,
    /// When the last warning about requests with an unclear client was logged.
    warned: Mutex<Option<Instant>>,
}

impl Counts {
    /// Whether another warning about requests with an unclear client may be logged: one in each period.
    pub(super) fn may_warn(&self, every: Duration) -> bool {
        let now = Instant::now();
        let mut warned = lock(&self.warned);
        let may = warned.is_none_or(|last| now - last >= every);
        if may {
            *warned = Some(now);
        }
        may
    }
}

/// Connections that were refused or closed to make room since the last report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Unreported {
    pub(super) refused: u64,
    pub(super) closed: u64,
    pub(super) last: SocketAddr,
}

#[derive(Default)]
struct Members {
    next: u64,
    all: HashMap<u64, Member>,
    by_client: HashMap<IpAddr, usize>,
}

struct Member {
    /// The client that made it. `None`: a trusted proxy, which has many clients.
    owner: Option<IpAddr>,
    /// The client for which it counts now: its owner, or the client whose request the proxy passes on.
    client: Option<IpAddr>,
    /// Since when it has been idle; `None` while it is busy.
    idle_since: Option<Instant>,
    leave: CancellationToken,
}

/// A connection's slot, released when dropped.
pub(super) struct Slot {
    connections: Arc<Connections>,
    number: u64,
    leave: CancellationToken,
}

impl Connections {
    pub(super) fn new(limits: Arc<ServerLimits>) -> Arc<Self> {
        Arc::new(Self { limits, members: Mutex::default(), counts: Counts::default() })
    }

    /// The most open connections.
    pub(super) fn open(&self) -> usize {
        lock(&self.members).all.len()
    }

    /// Adds a new connection of this client, or of a trusted proxy; another one may be closed for it.
    pub(super) fn join(self: &Arc<Self>, remote: SocketAddr, client: Option<IpAddr>) -> Result<Slot, Full> {
        self.counts.accepted.fetch_add(1, Ordering::Relaxed);
        let mut members = lock(&self.members);
        let client = client.map(client_network);
        self.make_room(&mut members, remote, client, true)?;
        let number = members.next;
        members.next += 1;
        if let Some(client) = client {
            *members.by_client.entry(client).or_default() += 1;
        }
        let leave = CancellationToken::new();
        let member = Member { owner: client, client, idle_since: Some(Instant::now()), leave: leave.clone() };
        members.all.insert(number, member);
        Ok(Slot { connections: self.clone(), number, leave })
    }

    fn make_room(
        &self,
        members: &mut Members,
        remote: SocketAddr,
        client: Option<IpAddr>,
        also_of_all: bool,
    ) -> Result<(), Full> {
        let of_client = client.and_then(|client| members.by_client.get(&client)).copied().unwrap_or(0);
        if of_client >= self.limits.connections_per_client.max(1) {
            self.close_one(members, remote, client).ok_or_else(|| self.refuse(remote, Full::Client))?;
        }
        if also_of_all && members.all.len() >= self.limits.connections.max(1) {
            self.close_one(members, remote, None).ok_or_else(|| self.refuse(remote, Full::Listener))?;
        }
        Ok(())
    }

    /// Closes the connection that has been idle longest, of this client or of all.
    fn close_one(&self, members: &mut Members, remote: SocketAddr, client: Option<IpAddr>) -> Option<()> {
        let now = Instant::now();
        let (_, number) = members
            .all
            .iter()
            .filter(|(_, member)| client.is_none() || member.client == client)
            .filter_map(|(number, member)| Some((member.idle_since?, *number)))
            .filter(|(since, _)| now - *since >= self.limits.idle_before_closed)
            .min()?;
        members.remove(number)?.leave.cancel();
        self.counts.closed_for_others.fetch_add(1, Ordering::Relaxed);
        self.note(remote, 0, 1);
        Some(())
    }

    fn refuse(&self, remote: SocketAddr, full: Full) -> Full {
        let counter = match full {
            Full::Client => &self.counts.refused_client,
            Full::Listener => &self.counts.refused_listener,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        self.note(remote, 1, 0);
        full
    }

    fn note(&self, remote: SocketAddr, refused: u64, closed: u64) {
        let mut unreported = lock(&self.counts.unreported);
        let sum = unreported.get_or_insert(Unreported { refused: 0, closed: 0, last: remote });
        *sum = Unreported { refused: sum.refused + refused, closed: sum.closed + closed, last: remote };
    }

    /// The numbers to report, which are then reset.
    pub(super) fn unreported(&self) -> Option<Unreported> {
        lock(&self.counts.unreported).take()
    }
}

impl Members {
    fn remove(&mut self, number: u64) -> Option<Member> {
        let member = self.all.remove(&number)?;
        self.forget_client(member.client);
        Some(member)
    }

    /// Counts a connection for another client, or for none.
    fn recount(&mut self, number: u64, client: Option<IpAddr>) {
        let Some(member) = self.all.get_mut(&number) else { return };
        let before = std::mem::replace(&mut member.client, client);
        if let Some(client) = client {
            *self.by_client.entry(client).or_default() += 1;
        }
        self.forget_client(before);
    }

    fn forget_client(&mut self, client: Option<IpAddr>) {
        let Some(client) = client else { return };
        if let Some(count) = self.by_client.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                self.by_client.remove(&client);
            }
        }
    }
}

impl Slot {
    /// Resolves when the connection must close to make room for another one.
    pub(super) fn must_leave(&self) -> CancellationToken {
        self.leave.clone()
    }

    /// Sets the client of a connection that came through a proxy.
    pub(super) fn is_of(&self, client: SocketAddr) -> Result<(), Full> {
        self.count_for(client, true)
    }

    /// Sets the client whose request a proxy passes on: until [`Self::returned`] the connection counts for that
    /// client.
    pub(super) fn counts_for(&self, client: SocketAddr) -> Result<(), Full> {
        self.count_for(client, false)
    }

    fn count_for(&self, client: SocketAddr, owned: bool) -> Result<(), Full> {
        let connections = &self.connections;
        let mut members = lock(&connections.members);
        let key = client_network(client.ip());
        if members.all.get(&self.number).is_some_and(|member| member.client == Some(key)) {
            return Ok(());
        }
        connections.make_room(&mut members, client, Some(key), false)?;
        let Some(member) = members.all.get_mut(&self.number) else { return Ok(()) };
        if owned {
            member.owner = Some(key);
        }
        members.recount(self.number, Some(key));
        Ok(())
    }

    /// The request that a proxy passed on is answered.
    pub(super) fn returned(&self) {
        let mut members = lock(&self.connections.members);
        let Some(member) = members.all.get(&self.number) else { return };
        let owner = member.owner;
        members.recount(self.number, owner);
    }

    /// Sets whether a request is running on it.
    pub(super) fn at_work(&self, working: bool) {
        if let Some(member) = lock(&self.connections.members).all.get_mut(&self.number) {
            member.idle_since = (!working).then(Instant::now);
        }
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.connections.counts
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // A connection that had to close no longer has a slot.
        lock(&self.connections.members).remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(connections: usize, per_client: usize) -> Arc<Connections> {
        Connections::new(Arc::new(ServerLimits {
            connections,
            connections_per_client: per_client,
            idle_before_closed: Duration::ZERO,
            ..ServerLimits::default()
        }))
    }

    fn from(text: &str) -> (SocketAddr, Option<IpAddr>) {
        let address: SocketAddr = text.parse().unwrap();
        (address, Some(address.ip()))
    }

    fn join(connections: &Arc<Connections>, text: &str) -> Result<Slot, Full> {
        let (address, client) = from(text);
        connections.join(address, client)
    }

    #[test]
    fn the_longest_idle_one_of_the_same_client_goes_first() {
        let connections = connections(10, 2);
        let other = join(&connections, "192.0.2.9:1").unwrap();
        let first = join(&connections, "192.0.2.1:1").unwrap();
        let second = join(&connections, "192.0.2.1:2").unwrap();
        first.at_work(true);
        first.at_work(false);
        let third = join(&connections, "192.0.2.1:3").unwrap();
        assert!(second.leave.is_cancelled() && !first.leave.is_cancelled() && !other.leave.is_cancelled());
        // The busy connection stays, and the new one is refused.
        first.at_work(true);
        third.at_work(true);
        assert_eq!(join(&connections, "192.0.2.1:4").err(), Some(Full::Client));
        assert!(!other.leave.is_cancelled());
        assert_eq!(connections.open(), 3);
        drop((second, third));
        assert!(join(&connections, "192.0.2.1:5").is_ok());
        let report = connections.unreported().unwrap();
        assert_eq!((report.refused, report.closed, report.last), (1, 1, "192.0.2.1:4".parse().unwrap()));
        assert_eq!(connections.unreported(), None);
    }

    #[test]
    fn an_address_has_a_bound_of_its_own() {
        let connections = connections(2, 2);
        let proxy: SocketAddr = "127.0.0.1:1".parse().unwrap();
        let first = connections.join(proxy, None).unwrap();
        let second = join(&connections, "192.0.2.1:1").unwrap();
        let third = connections.join(proxy, None).unwrap();
        assert!(first.leave.is_cancelled() && !second.leave.is_cancelled());
        second.at_work(true);
        third.at_work(true);
        assert_eq!(join(&connections, "192.0.2.7:1").err(), Some(Full::Listener));
        assert_eq!(connections.open(), 2);
        drop((first, second, third));
        assert_eq!(connections.open(), 0);
        assert!(lock(&connections.members).by_client.is_empty());
    }

    #[test]
    fn one_machine_has_many_addresses_of_version_6_and_a_proxy_many_clients() {
        let connections = connections(10, 1);
        let first = join(&connections, "[2001:db8::1]:1").unwrap();
        let _second = join(&connections, "[2001:db8::ffff:1]:2").unwrap();
        assert!(first.leave.is_cancelled());
        let _elsewhere = join(&connections, "[2001:db8:0:1::1]:1").unwrap();
        let mapped = join(&connections, "[::ffff:192.0.2.1]:1").unwrap();
        let _plain = join(&connections, "192.0.2.1:2").unwrap();
        assert!(mapped.leave.is_cancelled());
        let proxied = [0, 1].map(|_| connections.join("127.0.0.1:1".parse().unwrap(), None).unwrap());
        proxied[0].is_of("203.0.113.1:1".parse().unwrap()).unwrap();
        proxied[0].at_work(true);
        assert_eq!(proxied[1].is_of("203.0.113.1:2".parse().unwrap()), Err(Full::Client));
        proxied[1].is_of("203.0.113.2:2".parse().unwrap()).unwrap();
        assert!(!proxied[0].leave.is_cancelled());
    }

    #[test]
    fn a_proxys_connection_counts_for_each_client_while_its_request_is_at_work() {
        let connections = connections(10, 1);
        let [one, two] = [0, 1].map(|_| connections.join("127.0.0.1:1".parse().unwrap(), None).unwrap());
        let [ada, bob] = ["203.0.113.1:0", "203.0.113.2:0"].map(|client| client.parse().unwrap());
        for slot in [&one, &two] {
            slot.at_work(true);
        }
        one.counts_for(ada).unwrap();
        one.counts_for(ada).unwrap();
        assert_eq!(two.counts_for(ada), Err(Full::Client));
        two.counts_for(bob).unwrap();
        one.at_work(false);
        one.returned();
        two.returned();
        two.counts_for(ada).unwrap();
        drop((one, two));
        assert!(lock(&connections.members).by_client.is_empty());
        // A connection with a PROXY header counts for its owner again.
        let slot = connections.join("127.0.0.1:1".parse().unwrap(), None).unwrap();
        slot.is_of(ada).unwrap();
        slot.counts_for(bob).unwrap();
        slot.returned();
        let owners: Vec<IpAddr> = lock(&connections.members).by_client.keys().copied().collect();
        assert_eq!(owners, [ada.ip()]);
    }

    #[test]
    fn nobody_is_closed_who_has_just_come() {
        let connections =
            Connections::new(Arc::new(ServerLimits { connections: 1, ..ServerLimits::default() }));
        let _first = join(&connections, "192.0.2.1:1").unwrap();
        assert_eq!(join(&connections, "192.0.2.2:1").err(), Some(Full::Listener));
    }
}
