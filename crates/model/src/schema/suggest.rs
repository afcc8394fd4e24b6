//! What a misspelt word may have meant.

/// The candidate that a misspelt word most likely meant.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    nearest_of(word, candidates, 1).pop()
}

/// The candidates that a misspelt word most likely meant, the nearest first, `most` of them at most.
#[must_use]
pub fn nearest_of<'a>(word: &str, candidates: impl Iterator<Item = &'a str>, most: usize) -> Vec<&'a str> {
    // Two letters swapped in a short word ("evn" for "env") look unlike by share of common letters.
    let swapped = |candidate: &str| word.len() > 2 && strsim::osa_distance(word, candidate) == 1;
    let mut near: Vec<(f64, &str)> = candidates
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, candidate)| *likeness > 0.75 || swapped(candidate))
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    near.dedup_by(|a, b| a.1 == b.1);
    near.truncate(most);
    near.into_iter().map(|(_, candidate)| candidate).collect()
}

/// The advice for an unknown word: `; did you mean 'a', 'b' or 'c'?`, or nothing when
/// none is near.
#[must_use]
pub fn did_you_mean<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> String {
    let near: Vec<String> =
        nearest_of(word, candidates, 3).into_iter().map(|candidate| format!("'{candidate}'")).collect();
    match near.split_last() {
        None => String::new(),
        Some((last, [])) => format!("; did you mean {last}?"),
        Some((last, others)) => format!("; did you mean {} or {last}?", others.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_named() {
        assert_eq!(nearest("evn", ["env", "file"].into_iter()), Some("env"));
        assert_eq!(nearest("zz", ["env", "file"].into_iter()), None);
        let names = ["orders-in", "orders-out", "invoices", "order", "orders-old"];
        assert_eq!(did_you_mean("zz", names.into_iter()), "");
        assert_eq!(did_you_mean("invoice", names.into_iter()), "; did you mean 'invoices'?");
        let three = did_you_mean("orders", names.into_iter());
        assert!(
            three.starts_with("; did you mean 'order', 'orders-") && three.matches('\'').count() == 6,
            "{three}"
        );
    }
}
