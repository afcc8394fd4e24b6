//! Certificates: those of partners and authorities, those of our keys, those of this node's HTTP servers; with what uses
//! each.

use crate::{Caller, Control, Inner, openpgp};
use config::{
    CertificateFacts, Documents, Environment, Facts, ProcessEnvironment, ReadCertificate, read_certificates,
};
use model::definition::Definitions;
use model::schema::{Section, parse_time};
use model::{Error, ErrorKind, Permission, Result, StoredDefinition, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Largest file of certificates that is read.
const LARGEST_FILE: u64 = 1 << 20;

/// The kind of holder that a table `[listen.http.NAME]` of `waybill.toml` is.
const HTTP_SERVER: &str = "listen.http";

/// Which certificates.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ListCertificates {
    /// Those of a directory of definitions; without it those in force, and those of this node's HTTP servers.
    pub directory: Option<PathBuf>,
}

/// The certificates, and those that could not be read.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct CertificateList {
    /// By kind and name of what holds them, each key's own before those of its authorities.
    pub certificates: Vec<CertificateDetail>,
    /// Why certificates of this node's HTTP servers are missing here.
    pub problems: Vec<String>,
}

/// A certificate.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CertificateDetail {
    /// The kind of what holds it: `certificate`, `key`, or `listen.http` of `waybill.toml`.
    pub section: String,
    /// The name of what holds it.
    pub name: String,
    /// Its place there, from 0: certificates of authorities follow that of a key.
    pub position: usize,
    /// Its data.
    #[serde(flatten)]
    pub facts: CertificateFacts,
    /// The certificate, PEM.
    #[serde(skip)]
    pub pem: String,
    /// What names its holder.
    pub used_by: Vec<CertificateUse>,
}

impl CertificateDetail {
    /// Kind and name of what holds it, such as `key.acme`.
    #[must_use]
    pub fn holder(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// Whether an HTTP server of `waybill.toml` holds it, which uses it itself.
    #[must_use]
    pub fn is_of_server(&self) -> bool {
        self.section == HTTP_SERVER
    }
}

/// A field that names a certificate or its key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct CertificateUse {
    /// The definition, such as `partner.globex`.
    pub definition: String,
    /// The field, such as `as2.certificates`.
    pub field: String,
    /// The begin of the time for which it is named there.
    pub from: Option<Timestamp>,
    /// The end of that time.
    pub until: Option<Timestamp>,
    /// What it is named for there, such as `encrypt`; empty for everything that the field is for.
    pub uses: Vec<String>,
}

/// Such as `partner.globex (as2.certificates)`.
impl fmt::Display for CertificateUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.definition, self.field)?;
        let day = |time: Timestamp| time.format("%Y-%m-%d %H:%MZ").to_string();
        if let Some(from) = self.from {
            write!(f, ", from {}", day(from))?;
        }
        if let Some(until) = self.until {
            write!(f, ", until {}", day(until))?;
        }
        f.write_str(")")
    }
}

/// What names the definitions of a kind, by their kind and name.
type Uses = BTreeMap<(&'static str, String), Vec<CertificateUse>>;

/// What names certificates and keys in one revision, with its number: pages ask for it at each refresh, and a revision does not
/// change.
#[derive(Default)]
pub(crate) struct KnownUses(Mutex<Option<(i64, Arc<Uses>)>>);

impl KnownUses {
    fn of(&self, revision: i64) -> Option<Arc<Uses>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().filter(|(number, _)| *number == revision).map(|(_, uses)| Arc::clone(uses))
    }

    fn keep(&self, revision: i64, uses: &Arc<Uses>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((revision, Arc::clone(uses)));
    }
}

impl Control {
    /// The certificates of a directory, or those in force.
    ///
    /// # Errors
    /// The caller may not see definitions; the definitions cannot be used on this machine; the database failed.
    pub async fn certificates(&self, caller: &Caller, request: &ListCertificates) -> Result<CertificateList> {
        caller.require(Permission::ViewDefinitions)?;
        if let Some(directory) = &request.directory {
            let documents = Documents::read(directory).0;
            let found = self.usable(&documents)?;
            let certificates = details(&found, &self.uses(&documents.definitions("")));
            return Ok(CertificateList { certificates, problems: Vec::new() });
        }
        let stored = self.0.store.current_definitions().await?.definitions;
        let found = self.resolve(&stored).await?;
        Ok(self.with_servers(details(&found, &self.uses(&stored))))
    }

    /// The certificates of definitions that this node has in force.
    ///
    /// # Errors
    /// The caller may not see definitions; the database failed.
    pub async fn certificates_of(
        &self,
        caller: &Caller,
        definitions: &Definitions,
    ) -> Result<CertificateList> {
        caller.require(Permission::ViewDefinitions)?;
        let uses = self.uses_in_newest().await?;
        Ok(self.with_servers(details(definitions, &uses)))
    }

    /// What names certificates and keys in the newest revision. Its definitions are read once.
    async fn uses_in_newest(&self) -> Result<Arc<Uses>> {
        let Inner { store, known_uses, .. } = &*self.0;
        let number = store.current_revision_number().await?;
        if let Some(known) = known_uses.of(number) {
            return Ok(known);
        }
        let found = Arc::new(self.uses(&store.definitions_at(number).await?.definitions));
        known_uses.keep(number, &found);
        Ok(found)
    }

    fn uses(&self, stored: &[StoredDefinition]) -> Uses {
        let facts = Facts::new(&self.0.catalogue);
        let mut uses = Uses::new();
        for definition in stored {
            for reference in facts.reference_fields(definition) {
                if ![Section::CERTIFICATE.as_str(), Section::KEY.as_str()].contains(&reference.section) {
                    continue;
                }
                let moment = |field: &str| {
                    let text = reference.entry.and_then(|entry| entry.get(field)).and_then(Value::as_str);
                    text.and_then(|text| parse_time(text).ok())
                };
                let (from, until) = (moment("from"), moment("until"));
                let words = reference.entry.and_then(|entry| entry.get("uses")).and_then(Value::as_array);
                let words = words.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
                let named = uses.entry((reference.section, reference.name)).or_default();
                named.push(CertificateUse {
                    definition: definition.key(),
                    field: reference.field,
                    from,
                    until,
                    uses: words.collect(),
                });
            }
        }
        for named in uses.values_mut() {
            named.sort();
            named.dedup();
        }
        uses
    }

    /// Adds those of this node's HTTP servers.
    fn with_servers(&self, mut certificates: Vec<CertificateDetail>) -> CertificateList {
        let mut problems = Vec::new();
        let environment = ProcessEnvironment::at((self.0.now)());
        for (name, server) in &self.0.settings.listen.http {
            let Some(files) = server.tls.as_ref().and_then(|tls| tls.files.as_ref()) else { continue };
            match from_file(&environment, &files.certificate) {
                Ok(bytes) => certificates.extend(held(HTTP_SERVER, name, &bytes, &[])),
                Err(problem) => problems.push(format!("[listen.http.{name}]: {problem}")),
            }
        }
        CertificateList { certificates, problems }
    }
}

impl CertificateList {
    /// Those that a holder has, by its name, or by its kind and name.
    ///
    /// # Errors
    /// `NotFound`, also where keys and certificates have the same name: `advice` says how to tell them apart.
    pub fn find(&self, name: &str) -> Result<Vec<&CertificateDetail>> {
        let wrong = |kind| Error::permanent(kind, "find the certificate").with("name", name);
        let whole: Vec<_> = self.certificates.iter().filter(|one| one.holder() == name).collect();
        if !whole.is_empty() {
            return Ok(whole);
        }
        let named: Vec<_> = self.certificates.iter().filter(|one| one.name == name).collect();
        let Some(first) = named.first() else {
            let names = self.certificates.iter().map(|one| one.name.as_str());
            return Err(match model::nearest(name, names) {
                Some(near) => wrong(ErrorKind::NotFound).advice(format!("did you mean '{near}'?")),
                None => wrong(ErrorKind::NotFound)
                    .advice("`waybill cert show` lists all; a key without a certificate has none to show"),
            });
        };
        if let Some(other) = named.iter().find(|other| other.section != first.section) {
            let advice = format!("two have this name: write {} or {}", first.holder(), other.holder());
            return Err(wrong(ErrorKind::ConfigInvalid).advice(advice));
        }
        Ok(named)
    }
}

fn details(definitions: &Definitions, uses: &Uses) -> Vec<CertificateDetail> {
    let used = |section: Section, name: &str| {
        uses.get(&(section.as_str(), name.to_owned())).map(Vec::as_slice).unwrap_or_default()
    };
    let partners = definitions.certificates.values().flat_map(|one| {
        let uses = used(Section::CERTIFICATE, &one.name);
        held(Section::CERTIFICATE.as_str(), &one.name, one.pem.as_bytes(), uses)
    });
    let own = definitions.keys.values().flat_map(|key| {
        let uses = used(Section::KEY, &key.name);
        let read = match &key.certificate {
            Some(pem) => read_certificates(pem.as_bytes()).unwrap_or_default(),
            None => openpgp::of_own(key.private_key.reveal()).into_iter().collect(),
        };
        listed(Section::KEY.as_str(), &key.name, read, uses)
    });
    partners.chain(own).collect()
}

/// The certificates of one holder, or its OpenPGP key.
fn held(section: &str, name: &str, bytes: &[u8], used_by: &[CertificateUse]) -> Vec<CertificateDetail> {
    let read = read_certificates(bytes);
    let read = read.unwrap_or_else(|| openpgp::of_partner(bytes).into_iter().collect());
    listed(section, name, read, used_by)
}

fn listed(
    section: &str,
    name: &str,
    read: Vec<ReadCertificate>,
    used_by: &[CertificateUse],
) -> Vec<CertificateDetail> {
    let read = read.into_iter().enumerate();
    read.map(|(position, read)| CertificateDetail {
        section: section.to_owned(),
        name: name.to_owned(),
        position,
        facts: read.facts,
        pem: read.pem,
        used_by: used_by.to_vec(),
    })
    .collect()
}

fn from_file(environment: &ProcessEnvironment, path: &Path) -> std::result::Result<Vec<u8>, String> {
    let failed = |error| format!("cannot read {}: {error}", path.display());
    let file = environment.read(path, LARGEST_FILE + 1).map_err(failed)?;
    if file.bytes.len() as u64 > LARGEST_FILE {
        return Err(format!("{} is larger than 1 MiB", path.display()));
    }
    if read_certificates(&file.bytes).is_none() {
        return Err(format!("{} holds no certificate", path.display()));
    }
    Ok(file.bytes)
}
