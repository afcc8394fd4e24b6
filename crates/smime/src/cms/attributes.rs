//! Signed attributes (RFC 5652 section 5.3 and 11): three are written, and read back leniently.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::algorithm::oid;
use crate::der::{self, Element, Elements};

/// The SET OF Attribute that is signed: contentType, signingTime, messageDigest. Others are left
/// out on purpose: some receivers refuse CMSAlgorithmProtection.
pub(crate) fn encode(signing_time: SystemTime, digest: &[u8]) -> Vec<u8> {
    let attribute =
        |kind: &[u8], value: Vec<u8>| der::sequence(&[&der::oid(kind), &der::element(der::SET, &[&value])]);
    der::set_of(
        der::SET,
        vec![
            attribute(oid::CONTENT_TYPE, der::oid(oid::DATA)),
            attribute(oid::SIGNING_TIME, time(signing_time)),
            attribute(oid::MESSAGE_DIGEST, der::octet_string(digest)),
        ],
    )
}

/// UTCTime through 2049, GeneralizedTime from then on (RFC 5652 section 11.3).
fn time(time: SystemTime) -> Vec<u8> {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = civil_date(seconds / 86_400);
    let second = seconds % 86_400;
    let rest = format!("{month:02}{day:02}{:02}{:02}{:02}Z", second / 3600, second / 60 % 60, second % 60);
    if year < 2050 {
        der::element(der::UTC_TIME, &[format!("{:02}{rest}", year % 100).as_bytes()])
    } else {
        der::element(der::GENERALIZED_TIME, &[format!("{year:04}{rest}").as_bytes()])
    }
}

/// Gregorian date of a day counted from 1970-01-01 (years are counted from March, so that the
/// leap day comes last).
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// What the signed attributes say of the content. Attributes that cannot be read are passed over:
/// the signature covers their bytes, and only these two matter.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) message_digest: Option<Vec<u8>>,
    pub(crate) content_type: Option<Vec<u8>>,
}

pub(crate) fn read(content: &[u8]) -> Read {
    let octets = |kind| value(content, kind)?.octets().ok().map(std::borrow::Cow::into_owned);
    Read {
        message_digest: octets(oid::MESSAGE_DIGEST),
        content_type: value(content, oid::CONTENT_TYPE).map(|kind| kind.content.to_vec()),
    }
}

/// The first value of the first attribute of a kind, by its object identifier.
pub(crate) fn value<'a>(content: &'a [u8], wanted: &[u8]) -> Option<Element<'a>> {
    let mut attributes = Elements::new(content);
    while let Ok(Some(attribute)) = attributes.next() {
        let mut fields = attribute.children();
        let (Ok(Some(kind)), Ok(Some(values))) = (fields.next(), fields.next()) else { continue };
        if kind.content == wanted {
            return values.children().next().ok().flatten();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn text(seconds: u64) -> String {
        let encoded = time(UNIX_EPOCH + Duration::from_secs(seconds));
        format!("{:02x} {}", encoded[0], String::from_utf8_lossy(&encoded[2..]))
    }

    #[test]
    fn times_are_written_by_the_year() {
        assert_eq!(text(0), "17 700101000000Z");
        assert_eq!(text(951_782_400), "17 000229000000Z");
        assert_eq!(text(1_700_000_000), "17 231114221320Z");
        assert_eq!(text(2_524_608_000), "18 20500101000000Z");
    }

    #[test]
    fn unreadable_attributes_are_passed_over() {
        let good = encode(UNIX_EPOCH, b"digest");
        let content = [&[0x30, 0x03, 0x06, 0x05, 0x01][..], &good[2..]].concat();
        let found = read(&content);
        assert_eq!(found.message_digest.as_deref(), Some(&b"digest"[..]));
        assert_eq!(found.content_type.as_deref(), Some(oid::DATA));
    }
}
