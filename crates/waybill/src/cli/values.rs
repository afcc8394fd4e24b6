//! Values of the command line that are more than text.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime};
use clap::builder::PossibleValuesParser;
use model::{Actor, EventKind, Mask, MaskSpec, Sha256, Timestamp, TransferState, did_you_mean};
use std::str::FromStr;

/// A seal as `audit verify` names it: `NUMBER:DIGEST`.
pub(crate) fn seal(text: &str) -> Result<(i64, Sha256), String> {
    let wrong = || "write a seal as NUMBER:DIGEST, as `audit verify` prints it".to_owned();
    let (number, digest) = text.split_once(':').ok_or_else(wrong)?;
    let number = number.parse().ok().filter(|number| *number > 0).ok_or_else(wrong)?;
    Ok((number, sha256(digest).ok_or_else(wrong)?))
}

/// Which protections a message must have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Protections {
    pub(crate) signed: bool,
    pub(crate) encrypted: bool,
}

/// `signed`, `encrypted`, both, or `none`.
pub(crate) fn protections(text: &str) -> Result<Protections, String> {
    let mut found = Protections { signed: false, encrypted: false };
    if text == "none" {
        return Ok(found);
    }
    for word in text.split(',') {
        match word.trim() {
            "signed" => found.signed = true,
            "encrypted" => found.encrypted = true,
            _ => return Err("use signed, encrypted, signed,encrypted or none".to_owned()),
        }
    }
    Ok(found)
}

/// A hash of 64 hexadecimal digits.
pub(crate) fn sha256(text: &str) -> Option<Sha256> {
    text.parse().ok()
}

/// A moment: RFC 3339, or a date with or without a time, in UTC.
pub(crate) fn moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(moment) = chrono::DateTime::parse_from_rfc3339(text) {
        return Ok(moment.to_utc());
    }
    let text = text.trim_end_matches('Z');
    let with_time = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"];
    with_time
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
        .or_else(|| Some(NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_time(NaiveTime::MIN)))
        .map(|moment| moment.and_utc())
        .ok_or_else(|| {
            "write a date with or without a time, in UTC (2027-01-31, \"2027-01-31 17:30\"), or an RFC 3339 \
            time"
                .into()
        })
}

/// A kind of event, or the group that several begin with: then with its dot, as the store wants it.
pub(crate) fn event_kind(text: &str) -> Result<String, String> {
    let known = || EventKind::ALL.iter().map(|kind| kind.as_str());
    let group = format!("{}.", text.trim_end_matches('.'));
    if known().any(|kind| kind == text) {
        return Ok(text.to_owned());
    }
    if known().any(|kind| kind.starts_with(&group)) {
        return Ok(group);
    }
    let groups = known().filter_map(|kind| kind.split_once('.')).map(|(group, _)| group);
    let near = did_you_mean(text, known().chain(groups));
    let near = if near.is_empty() { "." } else { &near };
    Err(format!("there is no kind of event '{text}'{near} `waybill audit kinds` lists them all"))
}

/// A mask for file names.
pub(crate) fn file_mask(text: &str) -> Result<String, String> {
    let spec = MaskSpec { include: vec![text.to_owned()], ..MaskSpec::default() };
    Mask::new(&spec).map(|_| text.to_owned()).map_err(|error| error.reason)
}

/// The name of a definition.
pub(crate) fn definition_name(text: &str) -> Result<String, String> {
    if config::is_name(text) {
        return Ok(text.to_owned());
    }
    Err("a name has 1 to 64 lower-case letters, digits, '.', '-' and '_', and begins with a letter or digit"
        .to_owned())
}

/// An id.
pub(crate) fn id<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| {
        "an id has 32 hexadecimal digits, as lists show it: 01890a5d-ac96-774b-bcce-b302099a8057".to_owned()
    })
}

/// One of the words of an enumeration.
pub(crate) fn words(words: impl Iterator<Item = &'static str>) -> PossibleValuesParser {
    words.collect::<Vec<_>>().into()
}

/// A transfer's state.
pub(crate) fn transfer_state(text: &str) -> Result<TransferState, String> {
    TransferState::parse(text).ok_or_else(|| {
        let words: Vec<&str> = TransferState::ALL.iter().map(|state| state.as_str()).collect();
        let near = did_you_mean(text, words.iter().copied());
        let near = if near.is_empty() { "." } else { &near };
        format!("there is no state '{text}'{near} All are: {}", words.join(", "))
    })
}

/// An actor, as the audit trail writes it.
pub(crate) fn actor(text: &str) -> Result<String, String> {
    let known = Actor::from_text(text);
    known.map(|actor| actor.to_text()).ok_or_else(|| {
        format!("'{text}' is not an actor: write system, peer, user:NAME (a user of the console) or cli:NAME (a person at the command line)")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_is_its_number_and_its_digest() {
        let digest = "0123456789abcdef".repeat(4);
        let (number, found) = seal(&format!("17:{digest}")).unwrap();
        assert_eq!((number, found.to_string()), (17, digest.clone()));
        for wrong in ["", "17", &digest, "0:", &format!("0:{digest}"), "17:abc", &format!("17:{digest}0")] {
            assert!(seal(wrong).unwrap_err().contains("NUMBER:DIGEST"), "{wrong}");
        }
        assert!(seal(&format!("17:{}", "ü".repeat(32))).is_err());
    }

    #[test]
    fn protections_are_words_with_commas() {
        let of = |signed, encrypted| Ok(Protections { signed, encrypted });
        assert_eq!(protections("signed,encrypted"), of(true, true));
        assert_eq!(protections("encrypted, signed"), of(true, true));
        assert_eq!(protections("signed"), of(true, false));
        assert_eq!(protections("none"), of(false, false));
        for wrong in ["", "signed,", "none,signed", "sgined"] {
            assert!(protections(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_moment_is_utc_unless_it_says_otherwise() {
        for (text, expected) in [
            ("2027-01-31", "2027-01-31T00:00:00+00:00"),
            ("2027-01-31 17:30", "2027-01-31T17:30:00+00:00"),
            ("2027-01-31 17:30:05Z", "2027-01-31T17:30:05+00:00"),
            ("2027-01-31T17:30:05.25+02:00", "2027-01-31T15:30:05.250+00:00"),
        ] {
            assert_eq!(moment(text).unwrap().to_rfc3339(), expected, "{text}");
        }
        assert!(moment("yesterday").is_err() && moment("2027-02-30").is_err());
    }

    #[test]
    fn a_kind_is_whole_or_a_group() {
        assert_eq!(event_kind("login.failed").unwrap(), "login.failed");
        assert_eq!(event_kind("login").unwrap(), "login.");
        assert_eq!(event_kind("login.").unwrap(), "login.");
        assert!(event_kind("logn").unwrap_err().contains("did you mean 'login', 'login."));
        assert!(event_kind("delivery.delivred").unwrap_err().contains("did you mean 'delivery.delivered', "));
        let unknown = event_kind("nosuch").unwrap_err();
        assert!(unknown.contains("`waybill audit kinds` lists them all"), "{unknown}");
        assert!(event_kind("NOSUCHTHINGATALL").unwrap_err().len() < 120);
        assert!(event_kind("").is_err() && event_kind(".").is_err());
    }

    #[test]
    fn a_wrong_state_or_actor_is_told_what_there_is() {
        assert_eq!(transfer_state("failed"), Ok(TransferState::Failed));
        let wrong = transfer_state("faild").unwrap_err();
        assert!(wrong.contains("did you mean 'failed'") && wrong.contains("partly_failed"), "{wrong}");
        assert_eq!(actor("user:ada").unwrap(), "user:ada");
        assert!(actor("ada").unwrap_err().contains("user:NAME"));
    }
}
