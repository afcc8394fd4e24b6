//! An independent record of what went in and what came out, by name and SHA-256.
//!
//! It knows nothing of Waybill's own books. A test writes down each file that it gives, and lets
//! [`Ledger::collect`] take away what arrives, as a partner would who fetches and deletes: so a file
//! that is published twice under one name is seen twice. [`Ledger::report`] balances the two.

use model::Sha256;
use openssl::sha;
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

/// What is known of one file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub length: u64,
    /// Its hash.
    pub sha256: Sha256,
}

/// The record.
#[derive(Default, Debug)]
pub struct Ledger {
    given: Vec<Entry>,
    arrived: Vec<Entry>,
}

/// The balance. In order when every list is empty.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Balance {
    /// Given, and did not arrive.
    pub lost: Vec<Entry>,
    /// Arrived more often than given: each surplus arrival.
    pub again: Vec<Entry>,
    /// Arrived under a given name, but shorter than anything given under it.
    pub half: Vec<Entry>,
    /// Arrived under a given name with other content, and not shorter.
    pub changed: Vec<Entry>,
    /// Given content that arrived under a name that it was not given under.
    pub misnamed: Vec<Entry>,
    /// Arrived, and nothing given explains it.
    pub strange: Vec<Entry>,
}

impl Ledger {
    /// An empty record.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes down a file that is given, under the name that it should arrive under.
    pub fn give(&mut self, name: impl Into<String>, content: &[u8]) {
        self.given.push(entry(name.into(), content));
    }

    /// Writes down a file that is given and lies on disk.
    ///
    /// # Errors
    /// It could not be read.
    pub fn give_file(&mut self, name: impl Into<String>, path: &Path) -> io::Result<()> {
        let given = entry_of(name.into(), path)?;
        self.given.push(given);
        Ok(())
    }

    /// Writes down an arrival.
    pub fn arrive(&mut self, name: impl Into<String>, content: &[u8]) {
        self.arrived.push(entry(name.into(), content));
    }

    /// Takes the files of a directory away and writes them down as arrived; how many. Names that
    /// `skip` holds for temporary are left; directories are not entered.
    ///
    /// # Errors
    /// The directory or a file could not be read or removed.
    pub fn collect(&mut self, directory: &Path, skip: impl Fn(&str) -> bool) -> io::Result<usize> {
        let mut taken = 0;
        for found in fs::read_dir(directory)? {
            let found = found?;
            let name = found.file_name().to_string_lossy().into_owned();
            if skip(&name) || !found.file_type()?.is_file() {
                continue;
            }
            // Renamed away first, as by a partner's own claim: what is published under the name from
            // now on is another arrival.
            let claimed = directory.join(format!("{CLAIMED}{name}"));
            if name.starts_with(CLAIMED) {
                continue;
            }
            fs::rename(found.path(), &claimed)?;
            let arrived = entry_of(name, &claimed)?;
            fs::remove_file(&claimed)?;
            self.arrived.push(arrived);
            taken += 1;
        }
        Ok(taken)
    }

    /// Everything given so far.
    #[must_use]
    pub fn given(&self) -> &[Entry] {
        &self.given
    }

    /// Everything that arrived so far, in order of arrival.
    #[must_use]
    pub fn arrived(&self) -> &[Entry] {
        &self.arrived
    }

    /// Balances what was given against what arrived.
    #[must_use]
    pub fn balance(&self) -> Balance {
        let mut balance = Balance::default();
        let mut owed: BTreeMap<(&str, [u8; 32]), (u64, &Entry)> = BTreeMap::new();
        for given in &self.given {
            owed.entry((&given.name, given.sha256.0)).or_insert((0, given)).0 += 1;
        }
        for arrived in &self.arrived {
            match owed.get_mut(&(arrived.name.as_str(), arrived.sha256.0)) {
                Some((0, _)) => balance.again.push(arrived.clone()),
                Some((due, _)) => *due -= 1,
                None => self.explain(arrived, &mut balance),
            }
        }
        for (due, given) in owed.into_values() {
            (0..due).for_each(|_| balance.lost.push(given.clone()));
        }
        balance
    }

    fn explain(&self, arrived: &Entry, balance: &mut Balance) {
        let same_name = || self.given.iter().filter(|given| given.name == arrived.name);
        let list = if self.given.iter().any(|given| given.sha256 == arrived.sha256) {
            &mut balance.misnamed
        } else if same_name().next().is_none() {
            &mut balance.strange
        } else if same_name().all(|given| arrived.length < given.length) {
            &mut balance.half
        } else {
            &mut balance.changed
        };
        list.push(arrived.clone());
    }
}

/// How [`Ledger::collect`] names what it is taking.
const CLAIMED: &str = ".ledger-";

impl Balance {
    /// Whether everything given arrived once, whole, and nothing else did.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        *self == Self::default()
    }

    /// Whether everything given arrived whole and nothing else did, some of it perhaps again.
    #[must_use]
    pub fn is_at_least_once(&self) -> bool {
        Self { again: Vec::new(), ..self.clone() }.is_exact()
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_exact() {
            return f.write_str("everything arrived once");
        }
        let lists = [
            ("lost", &self.lost),
            ("again", &self.again),
            ("half", &self.half),
            ("changed", &self.changed),
            ("misnamed", &self.misnamed),
            ("strange", &self.strange),
        ];
        for (what, entries) in lists {
            for entry in entries {
                writeln!(f, "{what}: {} ({} bytes, {})", entry.name, entry.length, entry.sha256)?;
            }
        }
        Ok(())
    }
}

fn entry(name: String, content: &[u8]) -> Entry {
    Entry { name, length: content.len() as u64, sha256: Sha256(sha::sha256(content)) }
}

fn entry_of(name: String, path: &Path) -> io::Result<Entry> {
    let mut file = File::open(path)?;
    let mut hash = sha::Sha256::new();
    let mut length = 0;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Entry { name, length, sha256: Sha256(hash.finish()) }),
            n => {
                hash.update(&buffer[..n]);
                length += n as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(entries: &[Entry]) -> Vec<&str> {
        entries.iter().map(|entry| entry.name.as_str()).collect()
    }

    #[test]
    fn each_kind_of_trouble_is_named() {
        let mut ledger = Ledger::new();
        for name in ["fine", "lost", "again", "half", "changed", "misnamed"] {
            ledger.give(name, format!("content of {name}").as_bytes());
        }
        ledger.arrive("fine", b"content of fine");
        ledger.arrive("again", b"content of again");
        ledger.arrive("again", b"content of again");
        ledger.arrive("half", b"content of");
        ledger.arrive("changed", b"content of nothing that was given");
        ledger.arrive("other", b"content of misnamed");
        ledger.arrive("strange", b"who gave this?");
        let balance = ledger.balance();
        assert_eq!(names(&balance.lost), ["changed", "half", "lost", "misnamed"]);
        assert_eq!(names(&balance.again), ["again"]);
        assert_eq!(names(&balance.half), ["half"]);
        assert_eq!(names(&balance.changed), ["changed"]);
        assert_eq!(names(&balance.misnamed), ["other"]);
        assert_eq!(names(&balance.strange), ["strange"]);
        assert!(!balance.is_exact() && !balance.is_at_least_once());
        assert!(balance.to_string().starts_with("lost: changed (18 bytes, "));
    }

    #[test]
    fn the_same_name_and_content_given_twice_is_owed_twice() {
        let mut ledger = Ledger::new();
        for _ in 0..2 {
            ledger.give("a", b"x");
        }
        ledger.arrive("a", b"x");
        assert_eq!(names(&ledger.balance().lost), ["a"]);
        ledger.arrive("a", b"x");
        assert!(ledger.balance().is_exact());
        ledger.arrive("a", b"x");
        assert!(!ledger.balance().is_exact() && ledger.balance().is_at_least_once());
    }

    #[test]
    fn collecting_takes_files_away_so_that_a_second_one_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let put = |name: &str| fs::write(directory.path().join(name), b"x").unwrap();
        let mut ledger = Ledger::new();
        let source = directory.path().join(".temporary");
        put(".temporary");
        ledger.give_file("a", &source).unwrap();
        for _ in 0..2 {
            put("a");
            assert_eq!(ledger.collect(directory.path(), |name| name == ".temporary").unwrap(), 1);
        }
        assert_eq!(names(&ledger.balance().again), ["a"]);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    proptest! {
        #[test]
        fn whatever_arrives_as_given_in_any_order_is_exact(
            files in prop::collection::vec((0_u8..4, 0_u8..3), 0..12).prop_flat_map(|files| {
                (Just(files.clone()), Just(files).prop_shuffle())
            }),
            drop_at in any::<prop::sample::Index>(),
        ) {
            let (given, arrived) = files;
            let mut ledger = Ledger::new();
            given.iter().for_each(|(name, byte)| ledger.give(name.to_string(), &[*byte]));
            let mut short = Ledger { given: ledger.given.clone(), arrived: Vec::new() };
            arrived.iter().for_each(|(name, byte)| ledger.arrive(name.to_string(), &[*byte]));
            prop_assert!(ledger.balance().is_exact());
            if !arrived.is_empty() {
                short.arrived.clone_from(&ledger.arrived);
                short.arrived.remove(drop_at.index(arrived.len()));
                prop_assert_eq!(short.balance().lost.len(), 1);
            }
        }
    }
}
