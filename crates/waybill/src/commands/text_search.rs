//! Text searches from the command line: of the last day by default, and stopped after some time.

use crate::cli::Span;
use chrono::TimeDelta;
use model::{Error, ErrorKind, Result, Timestamp};
use store::{Listing, Store, TextIndex};

/// A search through text looks through this unless `--from` says otherwise.
const UNLESS_CHOSEN: TimeDelta = TimeDelta::days(1);

/// The time that is looked through: what was chosen, or of a search through text the last day before its
/// end; then it says so on standard error, so that results can be piped.
pub(crate) fn span(
    chosen: &Span,
    through_text: bool,
    now: Timestamp,
) -> (Option<Timestamp>, Option<Timestamp>) {
    if !through_text || chosen.from.is_some() {
        return (chosen.from, chosen.to);
    }
    let from = chosen.to.map_or(now, |to| to.min(now)) - UNLESS_CHOSEN;
    eprintln!(
        "searching one day, from {} on; use --from to search further back",
        from.format("%Y-%m-%d %H:%M UTC")
    );
    (Some(from), chosen.to)
}

/// Says that a search may take long for want of an index.
pub(crate) fn tell_index(store: &Store, through_text: bool) {
    let why = match store.text_index() {
        TextIndex::Missing(why) => format!("PostgreSQL's extension pg_trgm is missing ({why})"),
        TextIndex::Off => "database.text_search_indexes is false".to_owned(),
        TextIndex::Trigrams | TextIndex::Scan => return,
    };
    if through_text {
        eprintln!("{why}: the search reads all rows of that time range");
    }
}

/// The list, if it was searched to its end.
///
/// # Errors
/// `Timeout`: it took too long.
pub(crate) fn whole<T>(listing: Listing<T>, what: &'static str) -> Result<Listing<T>> {
    match listing.ended_after {
        None => Ok(listing),
        Some(within) => Err(Error::permanent(ErrorKind::Timeout, what)
            .with("ended after", format_args!("{} s", within.as_secs()))
            .advice(
                "choose a shorter time range with --from and --to, or add a flow, an endpoint or a kind",
            )),
    }
}
