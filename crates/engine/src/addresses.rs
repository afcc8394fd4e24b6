//! The addresses of endpoints that have several: which is tried first, and what each transport sees of them.
//!
//! A transport knows an endpoint with one address only. For each address of an endpoint there is one such endpoint, the
//! same object as long as the endpoint itself is the same, so that connection pools go on.

use model::definition::{Balance, Endpoint};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use transport::Random;

/// One address of an endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    /// A digest of the URL, by which notes tell it from others: a URL may hold a token.
    pub(crate) key: String,
    /// The URL without what may be a secret.
    pub(crate) shown: String,
    /// Its share of the use.
    weight: u32,
    /// The endpoint with this address alone.
    pub(crate) endpoint: Arc<Endpoint>,
}

/// The addresses of the endpoints that have several.
#[derive(Debug, Default)]
pub(crate) struct Addresses(Mutex<HashMap<String, Known>>);

#[derive(Debug)]
struct Known {
    endpoint: Weak<Endpoint>,
    all: Vec<Address>,
    /// Whose turn is next, for `round_robin`.
    turn: usize,
    /// The key of the one that took a file last, for `none`.
    took: Option<String>,
}

impl Addresses {
    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The endpoint with its first address alone, for questions that any address answers.
    pub(crate) fn first(&self, endpoint: &Arc<Endpoint>) -> Arc<Endpoint> {
        if endpoint.urls.len() < 2 {
            return Arc::clone(endpoint);
        }
        let known = self.known();
        let of = known.get(&endpoint.name).filter(|of| of.endpoint.ptr_eq(&Arc::downgrade(endpoint)));
        let first = of.and_then(|of| of.all.first()).map(|address| Arc::clone(&address.endpoint));
        first.unwrap_or_else(|| Arc::new(endpoint.at(0)))
    }

    /// The addresses in the order of the definition.
    pub(crate) fn in_definition(&self, endpoint: &Arc<Endpoint>) -> Vec<Address> {
        let known = self.known();
        let of = known.get(&endpoint.name).filter(|of| of.endpoint.ptr_eq(&Arc::downgrade(endpoint)));
        of.map_or_else(|| all(endpoint), |of| of.all.clone())
    }

    /// The addresses in the order in which a delivery tries them, whether they are offline or not.
    pub(crate) fn in_order(&self, endpoint: &Arc<Endpoint>, random: &dyn Random) -> Vec<Address> {
        let mut known = self.known();
        let before = known.remove(&endpoint.name);
        let mut of = match before {
            Some(of) if of.endpoint.ptr_eq(&Arc::downgrade(endpoint)) => of,
            before => Known {
                endpoint: Arc::downgrade(endpoint),
                all: all(endpoint),
                turn: before.as_ref().map_or(0, |before| before.turn),
                took: before.and_then(|before| before.took),
            },
        };
        let mut order = of.all.clone();
        match endpoint.balance {
            Balance::RoundRobin => {
                of.turn %= order.len().max(1);
                order.rotate_left(of.turn);
                of.turn += 1;
            }
            Balance::Random => order = drawn(order, random, |_| 1),
            Balance::Weighted => order = drawn(order, random, |address| address.weight),
            Balance::Failover => {}
            Balance::None => {
                let last = order.iter().position(|address| Some(&address.key) == of.took.as_ref());
                order.rotate_left(last.unwrap_or(0));
            }
        }
        known.insert(endpoint.name.clone(), of);
        order
    }

    /// Notes which address took a file.
    pub(crate) fn took(&self, endpoint: &str, address: &Address) {
        if let Some(known) = self.known().get_mut(endpoint) {
            known.took = Some(address.key.clone());
        }
    }
}

fn all(endpoint: &Endpoint) -> Vec<Address> {
    let one = |(at, url): (usize, &model::definition::EndpointUrl)| {
        let digest = openssl::sha::sha256(url.url.as_str().as_bytes());
        let key = digest.iter().fold(String::new(), |mut key, byte| {
            // Writing into a text cannot fail.
            let _ = write!(key, "{byte:02x}");
            key
        });
        Address { key, shown: url.shown(), weight: url.weight, endpoint: Arc::new(endpoint.at(at)) }
    };
    let mut all: Vec<Address> = endpoint.urls.iter().enumerate().map(one).collect();
    let mut seen = BTreeMap::new();
    all.retain(|address| seen.insert(address.key.clone(), ()).is_none());
    all
}

/// Draws one after the other, each with its share of what is left.
fn drawn(mut from: Vec<Address>, random: &dyn Random, weight: impl Fn(&Address) -> u32) -> Vec<Address> {
    let mut order = Vec::with_capacity(from.len());
    while !from.is_empty() {
        let total: f64 = from.iter().map(|address| f64::from(weight(address))).sum();
        let mut at = random.unit() * total;
        let drawn = from.iter().position(|address| {
            at -= f64::from(weight(address));
            at < 0.0
        });
        order.push(from.remove(drawn.unwrap_or(from.len() - 1)));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::clock::SeededRandom;
    use testkit::defined;
    use testkit::fake::SPEC;

    fn endpoint(balance: Balance) -> Arc<Endpoint> {
        let mut endpoint = defined::endpoint(&SPEC, "e", "fake:a", &[]);
        for (name, weight) in [("b", 1), ("c", 8)] {
            let url = model::definition::EndpointUrl { url: format!("fake:{name}").parse().unwrap(), weight };
            endpoint.urls.push(url);
        }
        Arc::new(Endpoint { balance, ..endpoint })
    }

    fn orders(addresses: &Addresses, endpoint: &Arc<Endpoint>, count: usize) -> Vec<String> {
        let random = SeededRandom::new(7);
        let order = |_| {
            let order = addresses.in_order(endpoint, &random);
            order.iter().map(|address| address.endpoint.url().unwrap().path().to_owned()).collect()
        };
        (0..count).map(order).collect()
    }

    #[test]
    fn each_rule_has_its_order() {
        let addresses = Addresses::default();
        assert_eq!(orders(&addresses, &endpoint(Balance::RoundRobin), 1), ["abc"]);
        let round = endpoint(Balance::RoundRobin);
        assert_eq!(orders(&addresses, &round, 4), ["bca", "cab", "abc", "bca"]);
        assert_eq!(orders(&addresses, &endpoint(Balance::Failover), 3), ["abc", "abc", "abc"]);
        let sticky = endpoint(Balance::None);
        assert_eq!(orders(&addresses, &sticky, 1), ["abc"]);
        let second = addresses.in_order(&sticky, &SeededRandom::new(1)).remove(1);
        addresses.took("e", &second);
        assert_eq!(orders(&addresses, &sticky, 2), ["bca", "bca"]);
        let first = |balance, name: char| {
            let orders = orders(&addresses, &endpoint(balance), 1000);
            orders.iter().filter(|order| order.starts_with(name)).count()
        };
        for name in ['a', 'b', 'c'] {
            assert!((250..420).contains(&first(Balance::Random, name)), "{name}");
        }
        assert!((730..870).contains(&first(Balance::Weighted, 'c')));
    }

    #[test]
    fn an_address_keeps_its_endpoint_as_long_as_the_endpoint_is_the_same() {
        let addresses = Addresses::default();
        let endpoint = endpoint(Balance::Failover);
        let first = |endpoint| addresses.in_order(endpoint, &SeededRandom::new(1)).remove(0).endpoint;
        assert!(Arc::ptr_eq(&first(&endpoint), &first(&endpoint)));
        let changed = Arc::new(Endpoint { node: Some("n1".into()), ..Endpoint::clone(&endpoint) });
        let (before, after) = (first(&endpoint), first(&changed));
        assert!(!Arc::ptr_eq(&before, &after) && after.node.is_some() && after.urls.len() == 1);
    }
}
