//! Crash suite: gateways are killed at every named point and at random, stopped, cut from their
//! database and deprived of disk, and an independent ledger shows no loss and no second delivery.
//!
//! `WAYBILL_CRASH_KILLS=200` makes the runs as long as that (with nextest's profile `long`, which waits for
//! them); without it they fit into CI.

#![allow(clippy::disallowed_methods, reason = "the partner's socket is made by hand")]

mod address_kills;
mod answer_kills;
mod as2_kills;
mod as2_sender;
mod books;
mod bulk;
mod claim_kills;
mod database_away;
mod direct_kills;
mod failure_kills;
mod kills;
mod kills_over_servers;
mod naming_kills;
mod reflink_kills;
mod restart_kills;
mod restart_receiving_kills;
mod revisions;
mod staging_full;
mod step_kills;
mod stream_kills;
mod trace;
mod traffic;
mod two_nodes;
mod victim;

/// The databases that everything runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Database {
    Sqlite,
    Postgres,
}

impl Database {
    /// A fresh one's URL; none for SQLite, which lies in the gateway's own directory.
    fn url(self, name: &str) -> Option<String> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some(suites::fresh_database(name)),
        }
    }
}

/// Kills in a run: `usual` in CI, or as many as the environment asks for.
fn kills(usual: usize) -> usize {
    std::env::var("WAYBILL_CRASH_KILLS")
        .ok()
        .and_then(|kills| kills.parse().ok())
        .map_or(usual, |kills: usize| kills.max(usual))
}

/// Whether a long run was asked for.
fn long() -> bool {
    kills(0) > 0
}

/// A random number below `bound`.
fn random(bound: u64) -> u64 {
    let mut bytes = [0; 8];
    openssl::rand::rand_bytes(&mut bytes).unwrap();
    u64::from_le_bytes(bytes) % bound
}
