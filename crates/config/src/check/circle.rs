//! Flows that pass their files on to each other in a circle: a file that all their masks fit is transferred again and again.

use super::Checker;
use super::directory::Directory;
use super::glob::{Overlap, overlap};
use super::location::Location;
use super::overlap::Poll;
use super::taken::Taken;
use std::collections::{BTreeMap, BTreeSet};

/// Which flow is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    No,
    /// It is on the way that is being followed.
    OnTheWay,
    Done,
}

impl Checker<'_> {
    /// Warns of circles. Whether a file really goes round depends on its name, so it is no error.
    pub(super) fn circles(&self) {
        let mut by_place: BTreeMap<(&str, &Directory), Vec<usize>> = BTreeMap::new();
        let mut recursive: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, poll) in self.polls.iter().enumerate() {
            let Location { site, directory, .. } = &poll.location;
            by_place.entry((site, directory)).or_default().push(at);
            if poll.effects.is_recursive {
                recursive.entry(site).or_default().push(at);
            }
        }
        let next = |poll: &Poll| -> Vec<usize> {
            let Some(flow) = self.definitions.flows.get(&poll.flow) else { return Vec::new() };
            let mut found: BTreeSet<usize> = BTreeSet::new();
            for destination in &flow.destinations {
                let renamed = destination.file_name.is_some();
                for to in self.directories_written(&flow.name, &destination.endpoint, &destination.options) {
                    let same = by_place.get(&(to.site.as_str(), &to.directory)).into_iter().flatten();
                    let around = recursive.get(to.site.as_str()).into_iter().flatten();
                    let takes = |at: &&usize| {
                        let other = &self.polls[**at];
                        self.taken(&other.location, &other.effects, &to) != Taken::No
                            && (renamed || overlap(&poll.mask, &other.mask) != Overlap::No)
                    };
                    found.extend(same.chain(around).filter(takes).copied());
                }
            }
            found.into_iter().collect()
        };
        let mut seen = vec![Seen::No; self.polls.len()];
        for start in 0..self.polls.len() {
            // The way from the start, each flow with those that are still to be looked at behind it.
            let mut way: Vec<(usize, Vec<usize>)> = Vec::new();
            if seen[start] == Seen::No {
                seen[start] = Seen::OnTheWay;
                way.push((start, next(&self.polls[start])));
            }
            while let Some((at, behind)) = way.last_mut() {
                let at = *at;
                let Some(other) = behind.pop() else {
                    seen[at] = Seen::Done;
                    way.pop();
                    continue;
                };
                match seen[other] {
                    Seen::Done => {}
                    // A flow that delivers into its own source is told as an error of its destination.
                    Seen::OnTheWay if other == at => {}
                    Seen::OnTheWay => {
                        let circle = way.iter().skip_while(|(flow, _)| *flow != other).map(|(flow, _)| *flow);
                        self.circle(&circle.collect::<Vec<_>>());
                    }
                    Seen::No => {
                        seen[other] = Seen::OnTheWay;
                        way.push((other, next(&self.polls[other])));
                    }
                }
            }
        }
    }

    fn circle(&self, flows: &[usize]) {
        let Some(last) = flows.last().map(|at| &self.polls[*at]) else { return };
        let names: Vec<&str> =
            flows.iter().chain(flows.first()).map(|at| self.polls[*at].flow.as_str()).collect();
        let key = format!("flow.{}.source.endpoint", last.flow);
        let message = format!(
            "flows pass their files on in a circle ({}): a file that all their masks fit is transferred again and again; deliver into \
             another directory, or let masks or file_name keep out what was there already",
            names.join(" → ")
        );
        self.context.warning(&last.place, &key, message);
    }
}
