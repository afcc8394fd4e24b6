//! Which bytes of a part have been written, for writers that do not go from front to back.

use std::collections::BTreeMap;
use std::ops::Range;

/// Islands that a part may have at once. A writer with more has no plan, or bad intentions.
pub(crate) const MOST_EXTENTS: usize = 65_536;

/// Written ranges: beginning to end, apart from each other by at least a byte.
#[derive(Debug, Default)]
pub(crate) struct Extents(BTreeMap<u64, u64>);

impl Extents {
    /// Adds a range; `false` when there would be too many islands.
    #[must_use]
    pub(crate) fn add(&mut self, range: Range<u64>) -> bool {
        let Range { mut start, mut end } = range;
        if start >= end {
            return true;
        }
        if let Some((&before, &until)) = self.0.range(..=start).next_back()
            && until >= start
        {
            start = before;
            end = end.max(until);
        }
        // Those swallowed by the new one begin within it, or right behind it.
        while let Some((&next, &until)) = self.0.range(start..=end).next() {
            self.0.remove(&next);
            end = end.max(until);
        }
        if self.0.len() >= MOST_EXTENTS {
            return false;
        }
        self.0.insert(start, end);
        true
    }

    /// The first gap before `length`, if there is one.
    pub(crate) fn first_gap(&self, length: u64) -> Option<Range<u64>> {
        let mut from = 0;
        for (&start, &end) in &self.0 {
            if start > from {
                return Some(from..start);
            }
            from = end;
        }
        (from < length).then_some(from..length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn gaps_are_those_of_a_row_of_bytes(ranges in prop::collection::vec((0_u64..40, 0_u64..12), 0..12)) {
            let mut extents = Extents::default();
            let mut row = [false; 64];
            for (start, length) in ranges {
                prop_assert!(extents.add(start..start + length));
                (start..start + length).for_each(|at| row[at as usize] = true);
            }
            let gap = row.iter().position(|set| !set).map(|start| {
                let end = row[start..].iter().position(|set| *set).map_or(row.len(), |n| start + n);
                start as u64..end as u64
            });
            prop_assert_eq!(extents.first_gap(64), gap);
        }
    }

    #[test]
    fn too_many_islands_are_refused() {
        let mut extents = Extents::default();
        assert!((0..MOST_EXTENTS as u64).all(|n| extents.add(2 * n..2 * n + 1)));
        assert!(!extents.add(1_000_000..1_000_001));
    }
}
