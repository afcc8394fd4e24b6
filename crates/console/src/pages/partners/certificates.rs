//! The certificates of a partnership, ours and theirs, with what changes next.

use crate::pages::certificates::standing;
use crate::web::badge::Badge;
use crate::web::format::Moment;
use control::{CertificateDetail, CertificateList, CertificateUse};
use model::Timestamp;
use url::form_urlencoded::byte_serialize;

/// A certificate as the page of a partner shows it.
pub(super) struct Shown {
    pub(super) ours: bool,
    pub(super) holder: String,
    pub(super) subject: String,
    pub(super) sha256: String,
    pub(super) standing: Badge,
    pub(super) distance: String,
    pub(super) until: Moment,
    /// From when and until when it is used here, where that is limited.
    pub(super) window: Option<String>,
    /// Its place in the list of certificates.
    pub(super) url: String,
}

/// The certificates that a partner and the identities of its endpoints name, theirs first.
pub(super) fn shown(
    list: &CertificateList,
    partner: &str,
    identities: &[&str],
    now: Timestamp,
) -> Vec<Shown> {
    let theirs = format!("partner.{partner}");
    let ours: Vec<String> = identities.iter().map(|name| format!("identity.{name}")).collect();
    let used = |one: &CertificateUse| one.definition == theirs || ours.contains(&one.definition);
    let named = list.certificates.iter().filter(|detail| detail.position == 0);
    let found = named.filter_map(|detail| Some((detail, detail.used_by.iter().find(|one| used(one))?)));
    let mut shown: Vec<Shown> =
        found.map(|(detail, one)| line(detail, one, one.definition != theirs, now)).collect();
    shown.sort_by_key(|one| (one.ours, one.until.0));
    shown
}

fn line(detail: &CertificateDetail, used: &CertificateUse, ours: bool, now: Timestamp) -> Shown {
    let (standing, distance) = standing(detail.facts.not_before, detail.facts.not_after, now);
    let search: String = byte_serialize(detail.facts.sha256.as_bytes()).collect();
    Shown {
        ours,
        holder: detail.holder(),
        subject: detail.facts.subject.clone(),
        sha256: detail.facts.sha256.clone(),
        standing,
        distance,
        until: Moment(detail.facts.not_after),
        window: window(used),
        url: format!("/certificates?search={search}"),
    }
}

fn window(used: &CertificateUse) -> Option<String> {
    let day = |at: Timestamp| at.format("%Y-%m-%d %H:%M UTC").to_string();
    let times =
        [used.from.map(|at| format!("from {}", day(at))), used.until.map(|at| format!("until {}", day(at)))];
    let limit = (!used.uses.is_empty()).then(|| format!("to {}", used.uses.join(" and ")));
    let words: Vec<String> = times.into_iter().flatten().chain(limit).collect();
    (!words.is_empty()).then(|| words.join(" "))
}

/// What changes next by the windows and the dates of the certificates: the first moment from now on, and what happens then.
pub(super) fn next_change(
    list: &CertificateList,
    partner: &str,
    identities: &[&str],
    now: Timestamp,
) -> Option<(Moment, String)> {
    let names: Vec<String> = identities
        .iter()
        .map(|name| format!("identity.{name}"))
        .chain([format!("partner.{partner}")])
        .collect();
    let mut changes: Vec<(Timestamp, String)> = Vec::new();
    for detail in &list.certificates {
        for used in detail.used_by.iter().filter(|used| names.contains(&used.definition)) {
            let holder = detail.holder();
            changes.extend(used.from.map(|at| (at, format!("{holder} is used"))));
            changes.extend(used.until.map(|at| (at, format!("{holder} is used no longer"))));
            changes.push((detail.facts.not_after, format!("{holder} expires")));
        }
    }
    let next = changes.into_iter().filter(|(at, _)| *at > now).min();
    next.map(|(at, what)| (Moment(at), what))
}
