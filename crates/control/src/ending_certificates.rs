//! Certificates in use that end soon: which they are, and their warnings.

use crate::{CertificateDetail, CertificateList, CertificateUse, Control};
use model::{EventKind, Result, Timestamp};
use std::collections::BTreeSet;

/// How many days before its end a certificate is warned of.
pub const CERTIFICATE_WARNINGS: [i64; 4] = [60, 30, 7, 1];

/// A certificate that ends within the longest of [`CERTIFICATE_WARNINGS`], or has ended, and that no other one replaces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndingCertificate {
    /// The certificate; `used_by` has the uses of every definition that holds it.
    pub detail: CertificateDetail,
    /// The threshold that it has reached: one of [`CERTIFICATE_WARNINGS`], or 0 when it has ended.
    pub threshold: i64,
}

impl EndingCertificate {
    /// What it is used by; HTTP servers of `waybill.toml` use their own.
    #[must_use]
    pub fn uses(&self) -> String {
        if self.detail.used_by.is_empty() {
            return self.detail.holder();
        }
        let uses: Vec<String> = self.detail.used_by.iter().map(ToString::to_string).collect();
        uses.join(", ")
    }
}

impl CertificateList {
    /// The certificates in use that end soon and are not replaced yet; the first to end first.
    ///
    /// A certificate is replaced in a list of keys or certificates when the list has another one that is valid and used for
    /// the same by then, and ends later than the longest threshold. One whose use ends before it does needs none.
    #[must_use]
    pub fn ending(&self, now: Timestamp) -> Vec<EndingCertificate> {
        let mut found: Vec<EndingCertificate> = Vec::new();
        // A key's authorities are its issuer's matter.
        for one in self.certificates.iter().filter(|one| one.position == 0) {
            let Some(threshold) = threshold(one.facts.not_after, now) else { continue };
            let left: Vec<_> = one
                .used_by
                .iter()
                .filter(|by| !is_over(one, by) && !self.is_replaced(one, by, now))
                .cloned()
                .collect();
            if left.is_empty() && !one.is_of_server() {
                continue;
            }
            match found.iter_mut().find(|other| other.detail.facts.sha256 == one.facts.sha256) {
                Some(same) => {
                    let uses: BTreeSet<CertificateUse> = same.detail.used_by.drain(..).chain(left).collect();
                    same.detail.used_by = uses.into_iter().collect();
                }
                None => {
                    let detail = CertificateDetail { used_by: left, ..one.clone() };
                    found.push(EndingCertificate { detail, threshold });
                }
            }
        }
        found.sort_by_key(|ending| ending.detail.facts.not_after);
        found
    }

    fn is_replaced(&self, ending: &CertificateDetail, by: &CertificateUse, now: Timestamp) -> bool {
        let is_list = matches!(by.field.rsplit('.').next(), Some("keys" | "certificates" | "pgp_keys"));
        let mut others = self.certificates.iter().filter(|other| other.position == 0);
        is_list
            && others.any(|other| {
                other.facts.sha256 != ending.facts.sha256
                    && other.facts.not_before <= ending.facts.not_after
                    && threshold(other.facts.not_after, now).is_none()
                    && other.used_by.iter().any(|named| {
                        named.definition == by.definition
                            && named.field == by.field
                            && serves_for(&named.uses, &by.uses)
                            && named.from.is_none_or(|from| from <= ending.facts.not_after)
                            && named.until.is_none_or(|until| until > ending.facts.not_after)
                    })
            })
    }
}

/// Whether the time for which it is named ends before the certificate does.
fn is_over(ending: &CertificateDetail, by: &CertificateUse) -> bool {
    by.until.is_some_and(|until| until <= ending.facts.not_after)
}

/// Whether what is named for some uses serves for others; none stands for all.
fn serves_for(uses: &[String], wanted: &[String]) -> bool {
    uses.is_empty() || !wanted.is_empty() && wanted.iter().all(|wanted| uses.contains(wanted))
}

/// The smallest threshold that an end has reached; `None` where it is far.
fn threshold(end: Timestamp, now: Timestamp) -> Option<i64> {
    if end < now {
        return Some(0);
    }
    let reached = CERTIFICATE_WARNINGS.iter().filter(|days| (end - now).num_seconds() <= **days * 86_400);
    reached.copied().min()
}

impl Control {
    /// Reports the thresholds that no node has reported before.
    ///
    /// # Errors
    /// The database failed.
    pub async fn warn_of_ends(&self, ending: &[EndingCertificate]) -> Result<()> {
        for one in ending {
            let kind = match one.threshold {
                0 => EventKind::CertificateExpired,
                _ => EventKind::CertificateExpires,
            };
            let facts = &one.detail.facts;
            let event = self
                .event(kind)
                .detail("certificate", one.detail.holder())
                .detail("subject", facts.subject.as_str())
                .detail("fingerprint", facts.sha256.as_str())
                .detail("not_after", facts.not_after.to_rfc3339())
                .detail("threshold_days", one.threshold)
                .detail("used_by", one.uses());
            self.0.store.warn_of_certificate(&facts.sha256, one.threshold, (self.0.now)(), event).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use config::CertificateFacts;

    fn at(day: i64) -> Timestamp {
        Timestamp::from_timestamp(1_800_000_000 + day * 86_400, 0).unwrap()
    }

    fn certificate(name: &str, sha256: &str, end: i64, used_by: &[(&str, &str)]) -> CertificateDetail {
        let facts = CertificateFacts {
            subject: format!("CN={name}"),
            issuer: String::new(),
            self_signed: true,
            serial: String::new(),
            sha256: sha256.to_owned(),
            sha1: String::new(),
            not_before: at(-100),
            not_after: at(end),
            key: String::new(),
            signature: String::new(),
            uses: Vec::new(),
            names: Vec::new(),
        };
        let used = |(definition, field): &(&str, &str)| CertificateUse {
            definition: (*definition).to_owned(),
            field: (*field).to_owned(),
            from: None,
            until: None,
            uses: Vec::new(),
        };
        CertificateDetail {
            section: "certificate".to_owned(),
            name: name.to_owned(),
            position: 0,
            facts,
            pem: String::new(),
            used_by: used_by.iter().map(used).collect(),
        }
    }

    fn ending(certificates: Vec<CertificateDetail>) -> Vec<(String, i64)> {
        let list = CertificateList { certificates, problems: Vec::new() };
        list.ending(at(0)).into_iter().map(|one| (one.detail.name, one.threshold)).collect()
    }

    const GLOBEX: (&str, &str) = ("partner.globex", "as2.certificates");

    #[test]
    fn each_end_has_the_smallest_threshold_that_it_reached() {
        for (end, expected) in [
            (61, None),
            (60, Some(60)),
            (31, Some(60)),
            (30, Some(30)),
            (7, Some(7)),
            (2, Some(7)),
            (1, Some(1)),
            (0, Some(1)),
            (-1, Some(0)),
        ] {
            assert_eq!(threshold(at(end), at(0)), expected, "{end}");
            let found = ending(vec![certificate("globex", "a", end, &[GLOBEX])]);
            assert_eq!(found.first().map(|(_, threshold)| *threshold), expected, "{end}");
        }
    }

    #[test]
    fn what_nobody_uses_and_what_is_replaced_is_not_told() {
        assert_eq!(ending(vec![certificate("spare", "a", 3, &[])]), []);
        let server =
            CertificateDetail { section: "listen.http".to_owned(), ..certificate("partners", "a", 3, &[]) };
        assert_eq!(ending(vec![server]), [("partners".to_owned(), 7)]);
        let old = || certificate("old", "a", 3, &[GLOBEX]);
        assert_eq!(ending(vec![old(), certificate("new", "b", 400, &[GLOBEX])]), []);
        let pgp = |name, print, end| certificate(name, print, end, &[("partner.globex", "as2.pgp_keys")]);
        assert_eq!(ending(vec![pgp("old", "a", 3), pgp("new", "b", 400)]), []);
        // A new one that ends soon as well, one of another partner, and another authority replace nothing.
        assert_eq!(ending(vec![old(), certificate("new", "b", 20, &[GLOBEX])]).len(), 2);
        let other = certificate("new", "b", 400, &[("partner.initech", "as2.certificates")]);
        assert_eq!(ending(vec![old(), other]), [("old".to_owned(), 7)]);
        let authority =
            |name, print, end| certificate(name, print, end, &[("endpoint.e", "trust.authorities")]);
        assert_eq!(ending(vec![authority("a", "a", 3), authority("b", "b", 400)]), [("a".to_owned(), 7)]);
        // One whose time begins after the old one's end leaves a gap.
        let mut late = certificate("new", "b", 400, &[GLOBEX]);
        late.used_by[0].from = Some(at(5));
        assert_eq!(ending(vec![old(), late]), [("old".to_owned(), 7)]);
        let mut unborn = certificate("new", "b", 400, &[GLOBEX]);
        unborn.facts.not_before = at(5);
        assert_eq!(ending(vec![old(), unborn]), [("old".to_owned(), 7)]);
        // One for another use replaces nothing; one for both does. One whose use ends before it does is not missed.
        let named_for = |name, print, end, words: &[&str]| {
            let mut one = certificate(name, print, end, &[GLOBEX]);
            one.used_by[0].uses = words.iter().map(|word| (*word).to_owned()).collect();
            one
        };
        let both = || named_for("both", "c", 400, &["encrypt", "verify"]);
        let encrypts = || named_for("enc", "a", 3, &["encrypt"]);
        assert_eq!(
            ending(vec![encrypts(), named_for("sig", "b", 400, &["verify"])]),
            [("enc".to_owned(), 7)]
        );
        assert_eq!(ending(vec![old(), named_for("sig", "b", 400, &["verify"])]), [("old".to_owned(), 7)]);
        assert_eq!(ending(vec![encrypts(), both()]), []);
        let mut over = old();
        over.used_by[0].until = Some(at(2));
        assert_eq!(ending(vec![over]), []);
    }

    #[test]
    fn the_same_certificate_under_two_names_is_told_once_with_all_uses() {
        let list = CertificateList {
            certificates: vec![
                certificate("a", "same", 3, &[GLOBEX]),
                certificate("b", "same", 3, &[("endpoint.e", "trust.authorities")]),
            ],
            problems: Vec::new(),
        };
        let found = list.ending(at(0));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].uses(), "endpoint.e (trust.authorities), partner.globex (as2.certificates)");
    }
}
