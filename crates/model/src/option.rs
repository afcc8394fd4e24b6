//! Options as data: a transport declares them once; validation, forms, reference pages and the JSON
//! Schema are made from that declaration.

use crate::Secret;
use std::collections::BTreeMap;
use std::time::Duration;

/// One option of a transport.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// Its key in a document.
    pub name: &'static str,
    /// What it may hold.
    pub kind: OptionKind,
    /// The value when it is left out, as it would be written; `None` when it has none.
    pub default: Option<&'static str>,
    /// Whether it must be given.
    pub required: bool,
    /// One paragraph for the reference page and the form.
    pub doc: &'static str,
}

/// What an option may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OptionKind {
    /// Any text.
    Text,
    /// Text that is never shown again.
    Secret,
    /// What anybody may see and files hold: the one kind of field beside a secret that may refer to a file.
    Public(PublicMaterial),
    /// `true` or `false`.
    Bool,
    /// A whole number within bounds, both included.
    Integer {
        /// Smallest value.
        min: i64,
        /// Largest value.
        max: i64,
    },
    /// A duration with its unit, such as `"30s"`, `"5m"`, `"12h"`, `"7d"`; `"0s"` means none.
    Duration,
    /// A number of bytes, such as `4096`, `"64KiB"`, `"1GiB"`.
    Size,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of texts.
    List,
}

/// What a file holds that anybody may see. Its content is compared with this before it is used, so that
/// no other file is shown through such a field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PublicMaterial {
    /// Certificates in PEM form.
    Certificate,
    /// A list of host keys: fingerprints or public keys of SSH.
    HostKeys,
    /// OpenSSH's `known_hosts`.
    KnownHosts,
}

impl OptionKind {
    /// The kind in words, for a reference page or an error.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::Text => "text".into(),
            Self::Secret => "a secret".into(),
            Self::Public(PublicMaterial::Certificate) => "a certificate in PEM form".into(),
            Self::Public(PublicMaterial::HostKeys) => "a host key or a list of them".into(),
            Self::Public(PublicMaterial::KnownHosts) => "the content of a known_hosts file".into(),
            Self::Bool => "true or false".into(),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Duration => "a duration such as \"30s\"".into(),
            Self::Size => "a size such as \"64KiB\"".into(),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::List => "a list of texts".into(),
        }
    }
}

/// A value that fits its [`OptionKind`].
#[derive(Clone, Debug)]
pub enum OptionValue {
    /// Text, or a choice.
    Text(String),
    /// A secret.
    Secret(Secret<String>),
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A duration.
    Duration(Duration),
    /// A number of bytes.
    Size(u64),
    /// A list.
    List(Vec<String>),
}

impl OptionValue {
    /// Reads a scalar as it stands in a document.
    ///
    /// # Errors
    /// Says what the option takes.
    pub fn parse(kind: OptionKind, text: &str) -> Result<Self, String> {
        let wrong = || format!("takes {}, not {text:?}", kind.describe());
        Ok(match kind {
            OptionKind::List | OptionKind::Public(PublicMaterial::HostKeys) => {
                Self::List(vec![text.to_owned()])
            }
            OptionKind::Text | OptionKind::Public(_) => Self::Text(text.to_owned()),
            OptionKind::Secret => Self::Secret(Secret::new(text.to_owned())),
            OptionKind::Bool => Self::Bool(text.parse().map_err(|_| wrong())?),
            OptionKind::Integer { min, max } => {
                let number: i64 = text.parse().map_err(|_| wrong())?;
                if !(min..=max).contains(&number) {
                    return Err(wrong());
                }
                Self::Integer(number)
            }
            OptionKind::Duration => Self::Duration(parse_duration(text)?),
            OptionKind::Size => Self::Size(parse_size(text)?),
            OptionKind::Choice(words) => {
                if !words.contains(&text) {
                    return Err(match nearest(text, words.iter().copied()) {
                        Some(word) => format!("{}; did you mean {word:?}?", wrong()),
                        None => wrong(),
                    });
                }
                Self::Text(text.to_owned())
            }
        })
    }
}

/// The options of one endpoint: those given, and the defaults of those that were not.
#[derive(Clone, Debug, Default)]
pub struct Options(BTreeMap<&'static str, OptionValue>);

impl Options {
    /// Starts from a transport's declared defaults.
    ///
    /// # Errors
    /// A default that does not fit its own kind: a mistake in the declaration, found by its test.
    pub fn defaults(specs: &[OptionSpec]) -> Result<Self, String> {
        let mut values = BTreeMap::new();
        for spec in specs {
            if let Some(text) = spec.default {
                let value = OptionValue::parse(spec.kind, text)
                    .map_err(|e| format!("default of option {}: {e}", spec.name))?;
                values.insert(spec.name, value);
            }
        }
        Ok(Self(values))
    }

    /// Sets a value that was checked against its declaration.
    pub fn set(&mut self, spec: &OptionSpec, value: OptionValue) {
        self.0.insert(spec.name, value);
    }

    /// A text or choice.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.0.get(name) {
            Some(OptionValue::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A secret.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<&Secret<String>> {
        match self.0.get(name) {
            Some(OptionValue::Secret(secret)) => Some(secret),
            _ => None,
        }
    }

    /// True or false; false when not declared.
    #[must_use]
    pub fn bool(&self, name: &str) -> bool {
        matches!(self.0.get(name), Some(OptionValue::Bool(true)))
    }

    /// A whole number.
    #[must_use]
    pub fn integer(&self, name: &str) -> Option<i64> {
        match self.0.get(name) {
            Some(OptionValue::Integer(number)) => Some(*number),
            _ => None,
        }
    }

    /// A duration; `None` when left out or zero ("none").
    #[must_use]
    pub fn duration(&self, name: &str) -> Option<Duration> {
        match self.0.get(name) {
            Some(OptionValue::Duration(duration)) if !duration.is_zero() => Some(*duration),
            _ => None,
        }
    }

    /// A number of bytes.
    #[must_use]
    pub fn size(&self, name: &str) -> Option<u64> {
        match self.0.get(name) {
            Some(OptionValue::Size(bytes)) => Some(*bytes),
            _ => None,
        }
    }

    /// A list; empty when left out.
    #[must_use]
    pub fn list(&self, name: &str) -> &[String] {
        match self.0.get(name) {
            Some(OptionValue::List(list)) => list,
            _ => &[],
        }
    }
}

/// Reads a duration: a whole number and `ms`, `s`, `m`, `h` or `d`.
///
/// # Errors
/// Says how a duration is written.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("takes a duration such as \"30s\", \"5m\", \"12h\" or \"7d\", not {text:?}");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let millis = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    // A hundred years: more is a slip, and would overflow a date.
    number
        .checked_mul(millis)
        .filter(|ms| *ms <= 36_525 * 86_400_000)
        .map(Duration::from_millis)
        .ok_or_else(wrong)
}

/// Reads a size: a whole number of bytes, or with `KiB`, `MiB`, `GiB`, `TiB`.
///
/// # Errors
/// Says how a size is written.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("takes a size such as 4096, \"64KiB\", \"16MiB\" or \"1GiB\", not {text:?}");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let shift = match &text[digits..] {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err(wrong()),
    };
    number.checked_mul(1 << shift).filter(|n| i64::try_from(*n).is_ok()).ok_or_else(wrong)
}

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

/// What to say of a word that is none of the known ones: `; did you mean 'a', 'b' or 'c'?`, or nothing when
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

impl OptionSpec {
    /// Several declarations as one: what transports have in common, and what is a transport's own. `N` is how many
    /// options there are in all.
    ///
    /// # Panics
    /// `N` is another number: found by the compiler, as declarations are constants.
    #[must_use]
    pub const fn join<const N: usize>(parts: &[&[Self]]) -> [Self; N] {
        let mut all = [parts[0][0]; N];
        let (mut part, mut filled) = (0, 0);
        while part < parts.len() {
            let mut at = 0;
            while at < parts[part].len() {
                all[filled] = parts[part][at];
                filled += 1;
                at += 1;
            }
            part += 1;
        }
        assert!(filled == N, "N is not the number of options");
        all
    }

    /// The declared option of that name, or the nearest name there is.
    ///
    /// # Errors
    /// The nearest declared name, if any is near.
    pub fn find<'a>(specs: &'a [Self], name: &str) -> Result<&'a Self, Option<&'static str>> {
        specs
            .iter()
            .find(|spec| spec.name == name)
            .ok_or_else(|| nearest(name, specs.iter().map(|spec| spec.name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_need_their_units() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(604_800)));
        for wrong in ["", "90", "s", "-1s", "1.5h", "99999999999d", "1 s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_size("64KiB"), Ok(65_536));
        for wrong in ["", "KiB", "1kb", "99999999999TiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_choice_names_the_nearest() {
        let kind = OptionKind::Choice(&["aes128-cbc", "aes256-cbc"]);
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
        assert!(OptionValue::parse(kind, "aes256cbc").unwrap_err().contains("did you mean \"aes256-cbc\""));
    }
}
