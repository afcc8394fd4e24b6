//! Two flows that poll one directory take each other's files: each file goes to whichever comes first. Only where both
//! keep what they take, each takes every file for itself.

use super::Checker;
use super::glob::{Overlap, overlap};
use super::location::Location;
use crate::problem::Place;
use model::MaskSpec;
use model::definition::PollEffects;
use std::collections::BTreeMap;

/// An enabled flow that polls a directory.
pub(super) struct Poll {
    pub(super) flow: String,
    /// Where its source's endpoint is written.
    pub(super) place: Place,
    pub(super) location: Location,
    pub(super) effects: PollEffects,
    pub(super) mask: MaskSpec,
}

impl Location {
    /// Whether both are on one machine, as far as can be told: folders of two named nodes are not.
    pub(super) fn same_machine(&self, other: &Self) -> bool {
        let apart = matches!((&self.node, &other.node), (Some(a), Some(b)) if a != b);
        self.site == other.site && !apart
    }
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
            for (at, second) in polls.iter().enumerate() {
                for first in &polls[..at] {
                    self.compare(first, second);
                }
            }
        }
    }

    fn compare(&self, first: &Poll, second: &Poll) {
        let (a, b) = (&first.location, &second.location);
        if !a.same_machine(b) {
            return;
        }
        let same = a.directory == b.directory;
        let (outer, nested) = if a.directory.holds(&b.directory) {
            (first, true)
        } else {
            (second, b.directory.holds(&a.directory))
        };
        if !same && !nested {
            return;
        }
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
