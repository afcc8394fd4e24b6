//! Acme and Globex for a measurement.

use suites::fresh_database;
pub(crate) use suites::pair::Pair;
use suites::pair::Terms;

/// Both, with the settings and the timing that a person would begin with.
pub(crate) fn pair(postgres: bool) -> Pair {
    let database = |name: &str| postgres.then(|| fresh_database(name));
    let (acme, globex) = (database("acme"), database("globex"));
    Pair::new(&Terms {
        database: acme.as_deref(),
        receivers_database: globex.as_deref(),
        settings: "",
        source: r#"mask = "*", every = "2s", stable_for = "0s", read_limit = 0, after = "delete""#,
        ..Terms::default()
    })
}
