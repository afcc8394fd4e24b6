//! Paging by keyset: links to the neighbours of a page.

use crate::web::list_query::ListQuery;
use store::Cursor;

/// Pages that `Newer` finds its way back through; before that it leads to the newest.
const TRAIL: usize = 20;
/// What sets cursors of the trail apart.
const STEP: char = '~';

/// What pages are called in lists by time.
const WORDS: [&str; 3] = ["Newest", "Newer", "Older"];

/// Where the neighbours of a page are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Pager {
    /// The newest rows; none on their page.
    pub(crate) newest: Option<String>,
    pub(crate) newer: Option<String>,
    pub(crate) older: Option<String>,
    /// What the three are called.
    pub(crate) words: [&'static str; 3],
}

impl Pager {
    /// Lists are read one way, from newer to older; the way back is a trail of cursors in the URL.
    pub(crate) fn new(query: &ListQuery, path: &str, next: Option<Cursor>) -> Self {
        let after = query.get("after");
        let mut trail: Vec<&str> =
            query.get("trail").map(|trail| trail.split(STEP).collect()).unwrap_or_default();
        let newest = after.map(|_| query.url(path, &[("after", None), ("trail", None)]));
        let older = next.map(|next| {
            let mut further = trail.clone();
            further.extend(after);
            let further = &further[further.len().saturating_sub(TRAIL)..];
            let further = further.join(&STEP.to_string());
            let trail = Some(further.as_str()).filter(|trail| !trail.is_empty());
            query.url(path, &[("after", Some(&next.to_string())), ("trail", trail)])
        });
        let newer = after.map(|_| {
            let before = trail.pop();
            let trail = trail.join(&STEP.to_string());
            let trail = Some(trail.as_str()).filter(|trail| !trail.is_empty());
            query.url(path, &[("after", before), ("trail", trail)])
        });
        Self { newest, newer, older, words: WORDS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_the_way_there() {
        let cursor = |n: i64| Cursor {
            at: chrono::DateTime::from_timestamp_micros(n).unwrap(),
            id: uuid::Uuid::from_u128(n.unsigned_abs().into()),
        };
        let mut urls = vec!["/t?state=held".to_owned()];
        for n in 1..=30 {
            let url = urls.last().unwrap();
            let query = ListQuery::read(url.split_once('?').unwrap().1);
            urls.push(Pager::new(&query, "/t", Some(cursor(n))).older.unwrap());
        }
        let mut here = urls.pop().unwrap();
        for expected in urls.iter().rev().take(TRAIL) {
            let query = ListQuery::read(here.split_once('?').unwrap().1);
            here = Pager::new(&query, "/t", None).newer.unwrap();
            let place =
                |url: &str| ListQuery::read(url.split_once('?').unwrap().1).get("after").map(str::to_owned);
            assert_eq!(place(&here), place(expected));
        }
        let first = Pager::new(&ListQuery::read("state=held"), "/t", None);
        assert_eq!(first, Pager { newest: None, newer: None, older: None, words: WORDS });
    }
}
