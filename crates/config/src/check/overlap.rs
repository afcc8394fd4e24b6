//! Two flows that poll one directory take each other's files: each file goes to whichever comes first. Only where both
//! keep what they take, each takes every file for itself.

use super::Checker;
use super::directory::{Directory, Words};
use super::glob::{Overlap, overlap};
use super::location::Location;
use super::taken::Taken;
use crate::problem::Place;
use model::MaskSpec;
use model::definition::PollEffects;
use std::collections::{BTreeMap, HashMap};

/// An enabled flow that polls a directory.
pub(super) struct Poll {
    pub(super) flow: String,
    /// Where its source's endpoint is written.
    pub(super) place: Place,
    pub(super) location: Location,
    pub(super) effects: PollEffects,
    pub(super) mask: MaskSpec,
}

impl Checker<'_> {
    pub(super) fn overlaps(&self) {
        let mut sites: BTreeMap<&str, Vec<&Poll>> = BTreeMap::new();
        for poll in &self.polls {
            sites.entry(&poll.location.site).or_default().push(poll);
        }
        for mut polls in sites.into_values() {
            // Told at the later one of the two, wherever they stand.
            polls.sort_by(|a, b| a.place.cmp(&b.place));
            let directories: Vec<&Directory> = polls.iter().map(|poll| &poll.location.directory).collect();
            for (first, second) in nested(&directories) {
                self.compare(polls[first], polls[second]);
            }
        }
    }

    /// Reports what two flows do to each other, of which one polls the other's directory or one above it.
    fn compare(&self, first: &Poll, second: &Poll) {
        let (a, b) = (&first.location, &second.location);
        if !a.same_machine(b) || self.is_beside(first, second) || self.is_beside(second, first) {
            return;
        }
        let same = a.directory == b.directory;
        let outer = if a.directory.holds(&b.directory) { first } else { second };
        let masks = overlap(&first.mask, &second.mask);
        if masks == Overlap::No {
            return;
        }
        let key = format!("flow.{}.source.endpoint", second.flow);
        let other = format!("flow '{}' ({})", first.flow, first.place);
        if !same && !outer.effects.is_recursive {
            let message = format!(
                "polls a directory above or below that of {other}; if you set recursive = true on '{}', \
                both poll the same files",
                outer.flow
            );
            return self.context.warning(&second.place, &key, message);
        }
        let place = if same { "the same directory as" } else { "a directory above or below that of" };
        if first.effects.keeps_files && second.effects.keeps_files {
            let message = format!(
                "polls {place} {other}, and both have after = \"keep\": a file that both masks match goes \
                through both flows"
            );
            return self.context.warning(&second.place, &key, message);
        }
        if masks == Overlap::Yes {
            let message = format!(
                "polls {place} {other}, and both masks match the same names, so each flow would remove \
                files before the other has read them; use one flow with two destinations, masks that never \
                match the same name, or after = \"keep\" in both"
            );
            self.context.error(&second.place, &key, message);
        } else {
            let message =
                format!("polls {place} {other}; make sure that no name matches both regular expressions");
            self.context.warning(&second.place, &key, message);
        }
    }
}

impl Checker<'_> {
    /// Whether a flow polls dated directories alone, and another one a single directory, which no date to come names.
    fn is_beside(&self, dated: &Poll, other: &Poll) -> bool {
        let (from, at) = (&dated.location, &other.location);
        dated.effects.dated.is_some()
            && !other.effects.is_recursive
            && from.directory.holds(&at.directory)
            && self.taken(from, &dated.effects, at) != Taken::Yes
    }
}

/// The pairs of directories of which one is the other or holds it, each as two numbers, the smaller first. Looked up by the
/// words of each path and of those above it: comparing all with all would take the square of the time.
fn nested(directories: &[&Directory]) -> Vec<(usize, usize)> {
    let mut by_words: HashMap<Words<'_>, Vec<usize>> = HashMap::new();
    for (number, directory) in directories.iter().enumerate() {
        by_words.entry(directory.words()).or_default().push(number);
    }
    let ways_up: Vec<usize> = (0..directories.len()).filter(|at| directories[*at].only_climbs()).collect();
    let mut pairs = Vec::new();
    for (number, directory) in directories.iter().enumerate() {
        let same = by_words.get(&directory.words()).into_iter().flatten();
        pairs.extend(same.take_while(|other| **other < number).map(|other| (*other, number)));
        let above = directory.above().filter_map(|words| by_words.get(&words)).flatten();
        let further_up = ways_up
            .iter()
            .filter(|other| !directory.words().0 && directories[**other].climbs() > directory.climbs());
        pairs.extend(above.chain(further_up).map(|other| (number.min(*other), number.max(*other))));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_pairs_are_those_that_comparing_all_with_all_finds(
            texts in proptest::collection::vec("/?((a|b|\\.\\.)/){0,4}", 0..12)
        ) {
            let directories: Vec<Directory> = texts.iter().map(|text| Directory::written(text)).collect();
            let directories: Vec<&Directory> = directories.iter().collect();
            let mut expected = Vec::new();
            for (second, b) in directories.iter().enumerate() {
                for (first, a) in directories[..second].iter().enumerate() {
                    if a.holds(b) || b.holds(a) {
                        expected.push((first, second));
                    }
                }
            }
            let mut found = nested(&directories);
            found.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
