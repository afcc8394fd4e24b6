//! Scalars as they are written.

use super::{Kind, PublicMaterial, Value, nearest};
use crate::{Secret, Timestamp};
use std::time::Duration;

impl Value {
    /// Reads a scalar as it stands in a document, and a single text where a list of them is taken.
    ///
    /// # Errors
    /// Says what the field takes.
    pub fn parse(kind: Kind, text: &str) -> Result<Self, String> {
        parse(kind, text)
    }
}

/// A single text stands for a list of one.
fn parse(kind: Kind, text: &str) -> Result<Value, String> {
    let wrong = || format!("must be {}, not {text:?}", kind.describe());
    Ok(match kind {
        Kind::List(kind) => Value::List(vec![parse(*kind, text)?]),
        // Host keys come one or several to a text.
        Kind::Public(PublicMaterial::HostKeys) => Value::List(vec![Value::Text(text.to_owned())]),
        Kind::Text
        | Kind::Public(_)
        | Kind::Url
        | Kind::Directory
        | Kind::LocalDirectory
        | Kind::Name(_)
        | Kind::Server => Value::Text(text.to_owned()),
        Kind::Secret => Value::Secret(Secret::new(text.to_owned())),
        Kind::Bool => Value::Bool(text.parse().map_err(|_| wrong())?),
        Kind::Off if text == "false" => Value::Bool(false),
        Kind::Integer { min, max } => {
            let number: i64 = text.parse().map_err(|_| wrong())?;
            if !(min..=max).contains(&number) {
                return Err(wrong());
            }
            Value::Integer(number)
        }
        Kind::Duration => Value::Duration(parse_duration(text)?),
        Kind::Size => Value::Size(parse_size(text)?),
        Kind::Bandwidth => Value::Size(parse_bandwidth(text)?),
        Kind::Time => Value::Time(parse_time(text)?),
        Kind::Choice(words) => {
            if !words.contains(&text) {
                return Err(match nearest(text, words.iter().copied()) {
                    Some(word) => format!("{}; did you mean {word:?}?", wrong()),
                    None => wrong(),
                });
            }
            Value::Text(text.to_owned())
        }
        Kind::Template => {
            check_braces(text)?;
            Value::Text(text.to_owned())
        }
        Kind::NameOf(sections) => {
            let fits = text
                .split_once(':')
                .is_some_and(|(word, name)| !name.is_empty() && sections.iter().any(|s| s.as_str() == word));
            if !fits {
                return Err(wrong());
            }
            Value::Text(text.to_owned())
        }
        Kind::OneOf(kinds) => {
            let mut failed = None;
            for kind in
                kinds.iter().filter(|kind| kind.takes_text() || matches!(kind, Kind::Bool | Kind::Off))
            {
                match parse(*kind, text) {
                    Ok(value) => return Ok(value),
                    Err(message) => failed = Some(message),
                }
            }
            // One form alone can say it better.
            let alone = kinds.iter().filter(|kind| kind.takes_text()).count() == 1;
            return Err(failed.filter(|_| alone).unwrap_or_else(wrong));
        }
        Kind::Off | Kind::Table(_) | Kind::Map(_) => return Err(wrong()),
    })
}

/// Whether each brace has its other; `{{` and `}}` stand for braces themselves.
fn check_braces(text: &str) -> Result<(), String> {
    let mut open = false;
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '{' | '}' if !open && rest.peek() == Some(&character) => {
                rest.next();
            }
            '{' if open => return Err(format!("has a '{{' within a field: {text:?}")),
            '{' => open = true,
            '}' if open => open = false,
            '}' => return Err(format!("has a '}}' without '{{': {text:?}; write '}}}}' for a brace")),
            _ => {}
        }
    }
    if open {
        Err(format!("has a '{{' that is not closed: {text:?}; write '{{{{' for a brace"))
    } else {
        Ok(())
    }
}

/// Reads a moment: date and time with `Z` or an offset (RFC 3339), cut to microseconds.
///
/// # Errors
/// Says how a time is written.
pub fn parse_time(text: &str) -> Result<Timestamp, String> {
    use chrono::SubsecRound as _;
    chrono::DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc().trunc_subsecs(6))
        .map_err(|_| format!("must be a time such as \"2027-01-01T00:00:00Z\", not {text:?}"))
}

/// Reads a duration: a whole number and `ms`, `s`, `m`, `h` or `d`.
///
/// # Errors
/// Says how a duration is written.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("must be a duration such as \"30s\", \"5m\", \"12h\" or \"7d\", not {text:?}");
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

/// A duration as documents write it, such as `30d`; read back by [`parse_duration`]. Less than a millisecond is left out.
#[must_use]
pub fn duration_text(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let whole = units.iter().find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit));
    match whole {
        Some((unit, name)) => format!("{}{name}", millis / unit),
        None if millis == 0 => "0s".to_owned(),
        None => format!("{millis}ms"),
    }
}

/// Reads a size: a whole number of bytes, or with `KiB`, `MiB`, `GiB`, `TiB`.
///
/// # Errors
/// Says how a size is written.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("must be a size such as 4096, \"64KiB\", \"16MiB\" or \"1GiB\", not {text:?}");
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

/// Reads a bandwidth: a size and `/s`, at least 1 KiB/s, so that no silence of a slow transfer looks like an end.
///
/// # Errors
/// Says how a bandwidth is written.
pub fn parse_bandwidth(text: &str) -> Result<u64, String> {
    let size = text.strip_suffix("/s").and_then(|size| parse_size(size).ok());
    match size {
        Some(bytes) if bytes >= 1024 => Ok(bytes),
        Some(_) => Err(format!("must be at least \"1KiB/s\", not {text:?}")),
        None => Err(format!("must be a bandwidth such as \"512KiB/s\" or \"10MiB/s\", not {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Section;

    #[test]
    fn durations_and_sizes_need_their_units() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(604_800)));
        for wrong in ["", "90", "s", "-1s", "1.5h", "99999999999d", "1 s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
        for text in ["0s", "250ms", "90s", "5m", "36h", "30d"] {
            assert_eq!(duration_text(parse_duration(text).unwrap()), text);
        }
        assert_eq!(parse_size("64KiB"), Ok(65_536));
        for wrong in ["", "KiB", "1kb", "99999999999TiB"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_bandwidth("10MiB/s"), Ok(10 << 20));
        for wrong in ["10MiB", "0/s", "1000/s", "/s", "fast/s"] {
            assert!(parse_bandwidth(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wrong_choice_names_the_nearest() {
        let kind = Kind::Choice(&["aes128-cbc", "aes256-cbc"]);
        assert!(parse(kind, "aes256cbc").unwrap_err().contains("did you mean \"aes256-cbc\""));
    }

    #[test]
    fn each_form_of_a_field_is_tried() {
        let kind = Kind::OneOf(&[Kind::Choice(&["none"]), Kind::Duration]);
        assert_eq!(parse(kind, "none"), Ok(Value::Text("none".into())));
        assert_eq!(parse(kind, "5s"), Ok(Value::Duration(Duration::from_secs(5))));
        assert!(parse(kind, "five").unwrap_err().contains("\"none\", or a duration"));
        assert!(parse(Kind::NameOf(&[Section::LISTENER]), "listener:as2").is_ok());
        assert!(parse(Kind::NameOf(&[Section::LISTENER]), "flow:as2").is_err());
        for text in ["{a", "a}", "{a{b}"] {
            assert!(parse(Kind::Template, text).is_err(), "{text}");
        }
        for text in ["{a}", "{{a}}", "{a:-b}c", ""] {
            assert!(parse(Kind::Template, text).is_ok(), "{text}");
        }
        assert!(
            parse(Kind::Time, "2027-01-01T00:00:00Z").is_ok() && parse(Kind::Time, "2027-01-01").is_err()
        );
    }
}
