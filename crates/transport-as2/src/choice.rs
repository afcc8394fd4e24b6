//! Which of several keys or certificates is used at a moment.
//!
//! Each has a window in which messages that we send use it: a key of ours signs, a partner's certificate is encrypted
//! for. Messages that we read may use it before, as the other side may change first, and for some time after.

use model::Timestamp;
use model::schema::{Value, Values};
use std::cmp::Reverse;
use std::time::Duration;

/// A key of ours, or a certificate of a partner, as it stands in a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dated {
    /// The name of its definition.
    pub name: String,
    /// When its window begins; `None`: it has no beginning.
    pub from: Option<Timestamp>,
    /// When its window ends; `None`: it has no end.
    pub until: Option<Timestamp>,
    /// Whether messages that we send use it: a key signs, a certificate is encrypted for.
    pub sends: bool,
    /// Whether messages that we read may use it: a key decrypts, a certificate verifies.
    pub reads: bool,
}

impl Dated {
    /// One without a window, for every use.
    #[must_use]
    pub const fn always(name: String) -> Self {
        Self { name, from: None, until: None, sends: true, reads: true }
    }

    /// Whether its window is open.
    #[must_use]
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.has_begun(now) && self.until.is_none_or(|until| now < until)
    }

    /// Whether its window has begun.
    #[must_use]
    pub fn has_begun(&self, now: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= now)
    }

    /// Whether its window ends before it begins.
    pub(crate) fn is_never(&self) -> bool {
        self.from.zip(self.until).is_some_and(|(from, until)| until <= from)
    }
}

/// Whether a key or certificate is the one to use at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It is one of those to use.
    InForce,
    /// Its window begins at this time.
    NotYet(Timestamp),
    /// Its window ended at this time.
    Over(Timestamp),
    /// The window of the one that took its place began at this time.
    Replaced(Timestamp),
}

/// The words for the two uses in a list.
#[derive(Clone, Copy, Debug)]
pub struct UseWords {
    /// For messages that we send.
    pub sends: &'static str,
    /// For messages that we read.
    pub reads: &'static str,
}

/// The uses of our keys.
pub const KEY_USES: UseWords = UseWords { sends: "sign", reads: "decrypt" };
/// The uses of a partner's certificates.
pub const CERTIFICATE_USES: UseWords = UseWords { sends: "encrypt", reads: "verify" };

/// The keys of an identity, or the certificates of a partner, in the order of their list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Choices {
    /// All of them.
    pub all: Vec<Dated>,
    /// How long after its window one is still used for messages that we read.
    pub overlap: Duration,
}

impl From<Vec<String>> for Choices {
    fn from(names: Vec<String>) -> Self {
        Self { all: names.into_iter().map(Dated::always).collect(), overlap: Duration::ZERO }
    }
}

impl Choices {
    /// Reads a list of names, and of tables with a name and a window.
    pub(crate) fn of(side: &Values, list: &str, words: UseWords) -> Self {
        let all = side.list(list).iter().filter_map(|item| dated(item, words)).collect();
        Self { all, overlap: side.duration("overlap").unwrap_or_default() }
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.all.iter().map(|dated| dated.name.as_str())
    }

    /// The one of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Dated> {
        self.all.iter().find(|dated| dated.name == name)
    }

    /// Those that messages we send can use now, the best first: the one whose window began last; of several that began
    /// together the first of the list.
    #[must_use]
    pub fn sending(&self, now: Timestamp) -> Vec<&Dated> {
        self.newest_first(|dated| dated.sends, now)
    }

    /// Those of a use whose windows are open, the one first whose window began last.
    fn newest_first(&self, serves: impl Fn(&Dated) -> bool, now: Timestamp) -> Vec<&Dated> {
        let mut usable: Vec<&Dated> =
            self.all.iter().filter(|dated| serves(dated) && dated.is_in_force(now)).collect();
        usable.sort_by_key(|dated| Reverse(dated.from));
        usable
    }

    /// Those that messages we read may use now: each until its overlap is over, those whose windows are open first.
    #[must_use]
    pub fn reading(&self, now: Timestamp) -> Vec<&Dated> {
        let mut usable: Vec<&Dated> =
            self.all.iter().filter(|dated| dated.reads && !self.is_over(dated, now)).collect();
        usable.sort_by_key(|dated| !dated.is_in_force(now));
        usable
    }

    /// The one that the other side is to use now for messages that we read: to encrypt for, or to sign with.
    #[must_use]
    pub fn to_read_with(&self, now: Timestamp) -> Option<&Dated> {
        self.newest_first(|dated| dated.reads, now).first().copied()
    }

    /// Whether the one of this name is in force for messages that we read, and none has taken its place for them, also where it
    /// is still in force for those that we send.
    #[must_use]
    pub fn is_newest_to_read_with(&self, name: &str, now: Timestamp) -> bool {
        let newest = self.to_read_with(now);
        let dated = self.named(name).filter(|dated| dated.reads && dated.is_in_force(now));
        dated.zip(newest).is_some_and(|(dated, newest)| dated.from == newest.from)
    }

    /// The name of the one at a place among those that read now.
    #[must_use]
    pub fn name_read(&self, place: usize, now: Timestamp) -> Option<&str> {
        self.reading(now).get(place).map(|dated| dated.name.as_str())
    }

    /// Whether the one of this name is to be used now.
    #[must_use]
    pub fn standing(&self, name: &str, now: Timestamp) -> Option<Standing> {
        let dated = self.named(name)?;
        let newest = match dated.sends {
            true => self.sending(now).first().and_then(|best| best.from),
            false => self.to_read_with(now).and_then(|best| best.from),
        };
        Some(match (dated.from, dated.until, newest) {
            (Some(from), _, _) if now < from => Standing::NotYet(from),
            (_, Some(until), _) if until <= now => Standing::Over(until),
            (from, _, Some(newest)) if from < Some(newest) => Standing::Replaced(newest),
            _ => Standing::InForce,
        })
    }

    /// Those that are, at some time, the best that messages we send can use, in the order of the list.
    pub(crate) fn ever_sending(&self) -> Vec<&Dated> {
        // Only at these times another one becomes the best.
        let turns = self.all.iter().flat_map(|dated| [dated.from, dated.until]).flatten();
        let times: Vec<Timestamp> = turns.chain([Timestamp::MIN_UTC]).collect();
        let best: Vec<&Dated> =
            times.into_iter().filter_map(|time| self.sending(time).first().copied()).collect();
        self.all.iter().filter(|dated| best.contains(dated)).collect()
    }

    /// What a message can be sent with once more after the other side could not read one with `tried`, the likeliest
    /// first: what it may have changed to already, or not yet changed from, nearest in time to now.
    #[must_use]
    pub fn instead_of(&self, tried: &str, now: Timestamp) -> Vec<&Dated> {
        let began = self.named(tried).and_then(|dated| dated.from);
        let distance = |dated: &Dated| match (dated.from, dated.until) {
            (Some(from), _) if now < from => from - now,
            (_, Some(until)) if until <= now => now - until,
            _ => began.map_or_else(chrono::TimeDelta::zero, |began| (now - began).abs()),
        };
        let mut others: Vec<&Dated> = self
            .all
            .iter()
            .filter(|dated| dated.sends && dated.name != tried && !self.is_over(dated, now))
            .collect();
        others.sort_by_key(|dated| distance(dated));
        others
    }

    /// Whether one is not used at all any more.
    fn is_over(&self, dated: &Dated, now: Timestamp) -> bool {
        let overlap = chrono::TimeDelta::from_std(self.overlap).ok();
        let end = dated.until.zip(overlap).and_then(|(until, overlap)| until.checked_add_signed(overlap));
        end.is_some_and(|end| end <= now)
    }

    /// The first time, between two windows, at which nothing can be sent with any of them.
    pub(crate) fn gap(&self) -> Option<(Timestamp, Timestamp)> {
        let mut windows: Vec<&Dated> =
            self.all.iter().filter(|dated| dated.sends && !dated.is_never()).collect();
        windows.sort_by_key(|dated| dated.from);
        let mut windows = windows.into_iter();
        let mut end = windows.next()?.until?;
        for next in windows {
            match next.from {
                Some(from) if from > end => return Some((end, from)),
                _ => end = end.max(next.until?),
            }
        }
        None
    }
}

fn dated(item: &Value, words: UseWords) -> Option<Dated> {
    if let Some(name) = item.as_text() {
        return Some(Dated::always(name.to_owned()));
    }
    let table = item.as_table()?;
    let uses: Vec<&str> = table.texts("uses").collect();
    // Left out, both.
    let has = |word| table.get("uses").is_none() || uses.contains(&word);
    Some(Dated {
        name: table.text("name")?.to_owned(),
        from: table.time("from"),
        until: table.time("until"),
        sends: has(words.sends),
        reads: has(words.reads),
    })
}

#[cfg(test)]
mod tests;
