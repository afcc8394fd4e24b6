//! Putting proposed certificates into a partner's list: by a revision where the partner was defined in the console, else by
//! what is to be written into the directory that it comes from.

use super::{is_of_messages, list_words};
use crate::{Caller, CertificateList, Control};
use config::{Outline, Plan, Side};
use model::schema::{Section, parse_time};
use model::{
    CertificateProposal, EDITED, Error, ErrorKind, ProposedCertificate, Result, RevisionKind,
    StoredDefinition, Timestamp,
};
use serde_json::{Map, Value, json};
use std::fmt;

/// The operation's name in errors.
const OPERATION: &str = "put the certificates of a partner in force";

/// What is to be written into the files of a directory.
pub(super) struct ToWrite {
    /// The directory, and the file in it that has the partner.
    directory: String,
    file: String,
    /// The new definitions.
    certificates: Vec<StoredDefinition>,
    /// The partner's table of the transport.
    table: String,
    /// Its new list.
    list: Value,
}

/// A partner's new list, and the certificates that it names and that are not defined yet.
struct NewList {
    partner: StoredDefinition,
    list: Vec<Value>,
    certificates: Vec<StoredDefinition>,
}

impl NewList {
    fn of(
        stored: &[StoredDefinition],
        known: &CertificateList,
        proposal: &CertificateProposal,
        now: Timestamp,
    ) -> Result<Self> {
        let CertificateProposal { partner, transport, .. } = proposal;
        let is_partner =
            |one: &&StoredDefinition| one.section == Section::PARTNER.as_str() && one.name == *partner;
        let found = stored.iter().find(is_partner).ok_or_else(|| {
            Error::permanent(ErrorKind::NotFound, OPERATION)
                .with("partner", partner)
                .advice("this partner is not defined any more")
        })?;
        let mut list = match found.document.get(transport).and_then(|table| table.get("certificates")) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(list)) => list.clone(),
            Some(one) => vec![one.clone()],
        };
        let mut certificates: Vec<StoredDefinition> = Vec::new();
        for proposed in proposal.certificates.iter().filter(|one| is_of_messages(one)) {
            let name = match named(known, proposed).or_else(|| stored_as(stored, proposed)) {
                Some(name) => name,
                None => {
                    let new = definition(stored.iter().chain(&certificates), partner, proposed);
                    let name = new.name.clone();
                    certificates.push(new);
                    name
                }
            };
            let is_named = |entry: &Value| {
                entry.as_str().or_else(|| entry.get("name").and_then(Value::as_str)) == Some(name.as_str())
            };
            match list.iter_mut().find(|entry| is_named(entry)) {
                Some(known) => widen(known, proposed, now),
                None => list.push(entry(&name, proposed, now)),
            }
        }
        Ok(Self { partner: found.clone(), list, certificates })
    }
}

/// The name under which a certificate is defined already.
fn named(known: &CertificateList, proposed: &ProposedCertificate) -> Option<String> {
    let is_it = |one: &&crate::CertificateDetail| {
        one.section == Section::CERTIFICATE.as_str()
            && one.position == 0
            && one.facts.sha256 == proposed.fingerprint
    };
    known.certificates.iter().find(is_it).map(|one| one.name.clone())
}

/// The same in a revision that is not in force here yet, such as that of another proposal.
fn stored_as(stored: &[StoredDefinition], proposed: &ProposedCertificate) -> Option<String> {
    let is_it = |one: &&StoredDefinition| {
        one.section == Section::CERTIFICATE.as_str()
            && one.document.get("pem").and_then(Value::as_str) == Some(proposed.pem.as_str())
    };
    stored.iter().find(is_it).map(|one| one.name.clone())
}

/// A new definition, whose name none of these has.
fn definition<'a>(
    mut others: impl Iterator<Item = &'a StoredDefinition>,
    partner: &str,
    proposed: &ProposedCertificate,
) -> StoredDefinition {
    let short = proposed.fingerprint.get(..8).unwrap_or(&proposed.fingerprint);
    let mut name = format!("{partner}-{short}");
    if others.any(|one| one.section == Section::CERTIFICATE.as_str() && one.name == name) {
        name = format!("{partner}-{}", proposed.fingerprint);
    }
    StoredDefinition {
        section: Section::CERTIFICATE.as_str().to_owned(),
        name,
        origin: EDITED.to_owned(),
        file: String::new(),
        position: 0,
        document: json!({ "pem": proposed.pem }),
    }
}

/// The entry of the partner's list: used from now on, or from when the certificate is valid.
fn entry(name: &str, proposed: &ProposedCertificate, now: Timestamp) -> Value {
    let from = time(now.max(proposed.not_before));
    let mut entry = Map::from_iter([("name".to_owned(), name.into()), ("from".to_owned(), from.into())]);
    // Left out, both.
    if let [word] = list_words(proposed)[..] {
        entry.insert("uses".to_owned(), json!([word]));
    }
    Value::Object(entry)
}

/// Lets an entry that the list has be used for what is proposed as well; one whose time is over begins again. A name alone is
/// used for everything, at any time.
fn widen(known: &mut Value, proposed: &ProposedCertificate, now: Timestamp) {
    let Value::Object(table) = known else { return };
    if let Some(Value::Array(uses)) = table.get_mut("uses") {
        for word in list_words(proposed) {
            if !uses.iter().any(|known| known.as_str() == Some(word)) {
                uses.push(word.into());
            }
        }
    }
    let until = table.get("until").and_then(Value::as_str).and_then(|text| parse_time(text).ok());
    if until.is_some_and(|until| until <= now) {
        table.remove("until");
        table.insert("from".to_owned(), time(now.max(proposed.not_before)).into());
    }
}

fn time(at: Timestamp) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

impl ToWrite {
    /// What is to be written for a proposal; `None` where the partner comes from no directory.
    ///
    /// # Errors
    /// The partner is not defined any more.
    pub(super) fn of(
        stored: &[StoredDefinition],
        known: &CertificateList,
        proposal: &CertificateProposal,
        now: Timestamp,
    ) -> Result<Option<Self>> {
        let NewList { partner, list, certificates } = NewList::of(stored, known, proposal, now)?;
        if partner.origin == EDITED {
            return Ok(None);
        }
        let table = format!("{}.{}", partner.key(), proposal.transport);
        let (directory, file) = (partner.origin, partner.file);
        Ok(Some(Self { directory, file, certificates, table, list: Value::Array(list) }))
    }
}

/// As a person copies it into a file of definitions.
impl fmt::Display for ToWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "# for {} of {}, then `waybill apply`", self.file, self.directory)?;
        for new in &self.certificates {
            let pem = new.document.get("pem").and_then(Value::as_str).unwrap_or_default();
            writeln!(f, "[{}]\npem = \"\"\"\n{}\"\"\"\n", new.key(), pem)?;
        }
        writeln!(f, "# in place of the present list\n[{}]\ncertificates = {}", self.table, toml(&self.list))
    }
}

/// A value of a definition as TOML writes it, in one line.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(name, value)| format!("{name} = {}", toml(value))).collect();
            format!("{{ {} }}", fields.join(", "))
        }
        // Texts, numbers and truth values are written as in JSON.
        other => other.to_string(),
    }
}

impl Control {
    /// Puts the certificates of a proposal into the partner's list, from their time on. Answers the new revision, or what is to
    /// be written where the partner comes from a directory; neither if the list has them already.
    ///
    /// # Errors
    /// The definitions would have mistakes; another person changed them at the same time; the database failed.
    pub(super) async fn put_in_force(
        &self,
        caller: &Caller,
        known: &CertificateList,
        proposal: &CertificateProposal,
    ) -> Result<(Option<i64>, Option<String>)> {
        let current = self.current().await?;
        let now = (self.0.now)();
        if let Some(to_write) = ToWrite::of(&current.definitions, known, proposal, now)? {
            return Ok((None, Some(to_write.to_string())));
        }
        let NewList { mut partner, list, certificates } =
            NewList::of(&current.definitions, known, proposal, now)?;
        if let Some(table) = partner.document.get_mut(&proposal.transport).and_then(Value::as_object_mut) {
            table.insert("certificates".to_owned(), Value::Array(list));
        }
        let key = partner.key();
        let mut target: Vec<StoredDefinition> =
            current.definitions.iter().filter(|one| one.key() != key).cloned().collect();
        target.push(partner);
        target.extend(certificates);
        let (found, problems) = self.check(&self.open_documents(&target).await?);
        if found.is_none() {
            return Err(Error::permanent(ErrorKind::ConfigInvalid, OPERATION)
                .with("partner", &proposal.partner)
                .advice(format!("the definitions would have mistakes:\n{}", Outline::of(&problems))));
        }
        let side = Side { definitions: &target, files: &current.files };
        let (plan, changes) = Plan::between(current.number, current.side(), side, self.facts());
        if plan.is_empty() {
            return Ok((None, None));
        }
        let mut new = self.revision(caller, RevisionKind::Edit, None, &plan, changes);
        new.summary = format!("accept certificates of partner {}: {}", proposal.partner, new.summary);
        match self.0.store.apply_revision(new).await? {
            store::Applied::Made(revision) => Ok((Some(revision), None)),
            store::Applied::Stale(_) => Err(Error::transient(ErrorKind::Rejected, OPERATION)
                .with("partner", &proposal.partner)
                .advice(
                    "another person changed the definitions at the same time: accept the certificates again",
                )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{CertificateUsage, ExchangePolicy, ProposalState};

    fn at(day: i64) -> Timestamp {
        Timestamp::from_timestamp(1_800_000_000 + day * 86_400, 0).unwrap()
    }

    fn proposal(usages: &[CertificateUsage]) -> CertificateProposal {
        CertificateProposal {
            id: uuid::Uuid::nil(),
            transport: "as2".into(),
            partner: "globex".into(),
            identity: "acme".into(),
            request_id: "r1".into(),
            message_id: "<1@globex>".into(),
            signed_with: "globex".into(),
            received_at: at(0),
            policy: ExchangePolicy::Ask,
            certificates: vec![ProposedCertificate {
                usages: usages.to_vec(),
                pem: "-----BEGIN CERTIFICATE-----\nQQ==\n-----END CERTIFICATE-----\n".into(),
                fingerprint: "ab12cd34ef".into(),
                subject: "CN=Globex".into(),
                issuer: "CN=Globex".into(),
                serial: "7".into(),
                not_before: at(3),
                not_after: at(300),
                respond_by: None,
                response_url: None,
            }],
            state: ProposalState::Waiting,
            decided_by: None,
            decided_at: None,
            reason: None,
            response: None,
        }
    }

    fn partner(certificates: Value) -> StoredDefinition {
        StoredDefinition {
            section: "partner".into(),
            name: "globex".into(),
            origin: "/etc/waybill/definitions".into(),
            file: "partners.toml".into(),
            position: 0,
            document: json!({ "as2": { "id": "GLOBEX", "certificates": certificates } }),
        }
    }

    #[test]
    fn what_is_to_be_written_keeps_the_present_list() {
        let list = CertificateList::default();
        for (present, written) in [
            (json!("globex"), r#"certificates = ["globex", { "#),
            (json!(["globex"]), r#"certificates = ["globex", { "#),
            (json!([{ "name": "globex" }]), r#"certificates = [{ name = "globex" }, { "#),
            (Value::Null, "certificates = [{ "),
        ] {
            let stored = [partner(present)];
            let found = ToWrite::of(&stored, &list, &proposal(&[CertificateUsage::KeyEncipherment]), at(1));
            let text = found.unwrap().unwrap().to_string();
            assert!(text.contains("partners.toml of /etc/waybill/definitions"), "{text}");
            assert!(text.contains("[certificate.globex-ab12cd34]\npem = \"\"\"\n-----BEGIN"), "{text}");
            assert!(text.contains("[partner.globex.as2]") && text.contains(written), "{text}");
            // It is used from the time at which it is valid, for what it was proposed.
            assert!(text.contains("from = \"2027-01-18T08:00:00Z\""), "{text}");
            assert!(text.contains("uses = [\"encrypt\"]"), "{text}");
        }
    }

    #[test]
    fn an_entry_is_widened_and_begins_again() {
        let both = [CertificateUsage::KeyEncipherment, CertificateUsage::DigitalSignature];
        let proposed = &proposal(&both).certificates[0];
        for (present, expected) in [
            (json!("next"), json!("next")),
            (json!({ "name": "next" }), json!({ "name": "next" })),
            (
                json!({ "name": "next", "uses": ["verify"] }),
                json!({ "name": "next", "uses": ["verify", "encrypt"] }),
            ),
            (
                json!({ "name": "next", "until": "2020-01-01T00:00:00Z" }),
                json!({ "name": "next", "from": "2027-01-18T08:00:00Z" }),
            ),
            (
                json!({ "name": "next", "until": "2099-01-01T00:00:00Z" }),
                json!({ "name": "next", "until": "2099-01-01T00:00:00Z" }),
            ),
        ] {
            let mut entry = present;
            widen(&mut entry, proposed, at(1));
            assert_eq!(entry, expected);
        }
    }

    #[test]
    fn certificates_that_begin_alike_have_names_of_their_own() {
        let mut two = proposal(&[CertificateUsage::DigitalSignature]);
        let other = ProposedCertificate {
            fingerprint: "ab12cd34ff".into(),
            pem: "other".into(),
            ..two.certificates[0].clone()
        };
        two.certificates.push(other);
        let stored = [partner(json!(["globex"]))];
        let new = NewList::of(&stored, &CertificateList::default(), &two, at(1)).unwrap();
        let names: Vec<&str> = new.certificates.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["globex-ab12cd34", "globex-ab12cd34ff"]);
        assert_eq!(new.list.len(), 3);
        // One that a newer revision has is not defined again.
        two.certificates.truncate(1);
        let [stored, defined] = [&new.partner, &new.certificates[0]].map(Clone::clone);
        let again = NewList::of(&[stored, defined], &CertificateList::default(), &two, at(1)).unwrap();
        assert!(again.certificates.is_empty() && again.list.len() == 2);
    }

    #[test]
    fn a_list_that_has_the_certificate_stays() {
        let stored = [partner(json!(["globex-ab12cd34"]))];
        let both = [CertificateUsage::KeyEncipherment, CertificateUsage::DigitalSignature];
        let new = NewList::of(&stored, &CertificateList::default(), &proposal(&both), at(1)).unwrap();
        assert_eq!(new.list, [json!("globex-ab12cd34")]);
        // For TLS alone nothing goes into the list.
        let tls = proposal(&[CertificateUsage::TlsServer]);
        let new = NewList::of(&stored, &CertificateList::default(), &tls, at(1)).unwrap();
        assert!(new.certificates.is_empty() && new.list.len() == 1);
    }
}
